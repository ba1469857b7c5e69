"""Stage `finetune`: which discriminator it begins with, and what is done while it trains."""

from dataclasses import replace

import pytest
import torch

from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.stage import Stage
from organza.errors import UserError
from tests.organza.compress.nets import context, generator, state

FEW = {"steps": 2, "batch": 8}


def weights(chain) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in chain.parameters()])


@pytest.mark.parametrize("discriminator", ["current", "teacher", "fresh"])
def test_the_discriminator_is_the_one_that_was_asked_for(discriminator):
    nets, made = state(), context()
    with torch.no_grad():
        for parameter in nets.critic.parameters():
            parameter.mul_(0.5)  # as stages have left it
    current = weights(nets.critic)
    FinetuneStage(steps=0, batch=8, discriminator=discriminator).apply(nets, made)
    got = weights(nets.critic)
    assert torch.equal(got, current) == (discriminator == "current")
    assert torch.equal(got, weights(made.judge)) == (discriminator == "teacher")
    FinetuneStage(**FEW, discriminator=discriminator).apply(nets, made)
    assert not torch.equal(weights(nets.critic), got)
    assert torch.equal(weights(made.judge), weights(context().judge))  # it only judges


def test_a_discriminator_may_stay_as_it_is():
    nets = state()
    before = weights(nets.critic)
    FinetuneStage(**FEW, train_discriminator=False).apply(nets, context())
    assert torch.equal(weights(nets.critic), before)


def test_draws_belong_to_recipe_stage_and_seed():
    def trained(seed: int = 0, number: int = 1, own: int = 0) -> torch.Tensor:
        nets = state()
        FinetuneStage(**FEW, seed=own).apply(nets, context(seed=seed, number=number))
        return weights(nets.generator)

    first = trained()
    assert torch.equal(first, trained())
    for other in (trained(seed=1), trained(number=2), trained(own=1)):
        assert not torch.equal(first, other)


def test_training_is_capped_and_rehearsed_without_steps():
    assert FinetuneStage(**FEW).apply(state(), context(most_steps=1))["steps"] == 1
    assert FinetuneStage(**FEW).apply(state(), context(rehearsal=True))["steps"] == 0


def test_waiting_stages_act_before_every_step_and_at_the_end():
    calls = []

    class Waits(Stage):
        kind = "waits"

        def before_step(self, state, context):
            calls.append("begin")
            return lambda step, steps: calls.append((step, steps))

        def after_training(self, state, context):
            calls.append("end")

    class Idles(Stage):
        kind = "idles"

    FinetuneStage(**FEW).apply(state(), replace(context(), waiting=(Waits(), Idles())))
    assert calls == ["begin", (0, 2), (1, 2), "end"]


def test_without_a_discriminator_only_the_teacher_teaches():
    nets = state()
    nets.critic = None
    alone = context(judge=None, teacher=generator(5))
    before = weights(nets.generator)
    FinetuneStage(**FEW, losses={"pixel": 1.0}).apply(nets, alone)
    assert not torch.equal(weights(nets.generator), before)
    for losses, name in (({"adversarial": 1.0}, "adversarial"), ({"class": 1.0, "pixel": 1.0}, "class"), ({"selfsup": 1.0}, "selfsup")):
        with pytest.raises(UserError, match=f"^loss {name} needs a discriminator"):
            FinetuneStage(**FEW, losses=losses).apply(nets, alone)
    with pytest.raises(UserError, match="^finetune.discriminator: 'teacher' needs a discriminator"):
        FinetuneStage(**FEW, discriminator="teacher").apply(nets, alone)
