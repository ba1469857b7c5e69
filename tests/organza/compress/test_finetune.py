"""Fine-tuning moves a student towards its teacher, repeats itself, and stops at what is no number."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from organza.compress.chain import Chain
from organza.compress.coders.uniform import UniformCoder
from organza.compress.finetune import Diverged, FinetuneConfig, Networks, finetune
from organza.errors import UserError
from tests.organza.compress.test_chain import MODULES, randomised

Z = torch.randn(2, 6, 1, 1)


def networks() -> Networks:
    torch.manual_seed(1)
    judge = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4), nn.Flatten(0))
    return Networks(
        Chain.of(randomised(MODULES["dcgan"](), 1), Z), Chain.of(judge, torch.randn(2, 3, 8, 8)),
        Chain.of(randomised(MODULES["dcgan"](), 2), Z), Chain.of(judge, torch.randn(2, 3, 8, 8)),
    )  # fmt: skip


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)


def distance(nets: Networks) -> float:
    z = torch.randn(200, 6, 1, 1, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return float((nets.student.eval()(z) - nets.teacher.eval()(z)).square().mean())


@pytest.mark.parametrize("loss", ["dcgan", "wgan-gp", "lsgan"])
def test_a_coded_student_comes_nearer_and_the_teacher_stays(loss):
    nets = networks()
    for layer in nets.student.list:
        layer.code_with(UniformCoder(layer.shape, 1, bits=4))
    kept = deepcopy(nets.teacher.state_dict()), deepcopy(nets.judge.state_dict())
    before = distance(nets)
    config = FinetuneConfig(steps=60, batch=16, loss=loss, losses={"pixel": 10.0, "adversarial": 0.01}, lr=5e-3)
    result = finetune(nets, IMAGES, config)
    assert result["steps"] == 60 and np.isfinite(result["student_loss"])
    assert distance(nets) < 0.7 * before
    for chain, state in zip((nets.teacher, nets.judge), kept, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in chain.state_dict().items())


def test_the_same_seed_gives_the_same_weights():
    made = []
    for seed in (3, 3, 4):
        nets = networks()
        finetune(nets, IMAGES, FinetuneConfig(steps=3, batch=8, seed=seed))
        made.append(nets.student.state_dict())
    assert all(torch.equal(value, made[1][key]) for key, value in made[0].items())
    assert any(not torch.equal(value, made[2][key]) for key, value in made[0].items())


def test_a_frozen_critic_does_not_learn():
    nets = networks()
    kept = deepcopy(nets.critic.state_dict())
    finetune(nets, IMAGES, FinetuneConfig(steps=3, batch=8, critic="frozen"))
    assert all(torch.equal(value, kept[key]) for key, value in nets.critic.state_dict().items())


def test_what_is_no_number_stops_with_the_step():
    nets = networks()

    def spoil(step: int, steps: int) -> None:
        if step == 4:
            nets.student.list[0].weight.data.fill_(float("nan"))

    with pytest.raises(Diverged, match="^training diverged at step 5: a loss was nan") as caught:
        finetune(nets, IMAGES, FinetuneConfig(steps=9, batch=8), before_step=spoil)
    assert caught.value.step == 5


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="^images must have shape"):
        finetune(networks(), IMAGES[:, :1], FinetuneConfig(steps=1, batch=8))
    with pytest.raises(UserError, match="^images must be at least one batch"):
        finetune(networks(), IMAGES[:4], FinetuneConfig(steps=1, batch=8))


@pytest.mark.parametrize("change, message", [
    ({"losses": {"beauty": 1.0}}, "^loss must be one of adversarial, pixel, .*, not 'beauty'$"),
    ({"losses": {"pixel": -1.0}}, "^weight of loss pixel must be at least 0"),
    ({"losses": {"pixel": 0.0}}, "^losses must have a weight above 0$"),
    ({"critic": "gone"}, "^critic must be one of train, frozen, not 'gone'$"),
    ({"lr": 0.0}, "^lr must be in"),
])  # fmt: skip
def test_wrong_settings(change, message):
    with pytest.raises(ValueError, match=message):
        FinetuneConfig(**change)
