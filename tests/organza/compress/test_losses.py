"""The terms of a recipe's losses, against values worked out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from organza.compress.losses import LOSSES, Pair, check_networks
from organza.errors import UserError
from organza.losses import LOSSES as ADVERSARIAL

torch.manual_seed(0)
CRITIC, JUDGE = (nn.Sequential(nn.Flatten(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)) for _ in range(2))
FAKE, TARGET, REAL = (torch.randn(5, 2, 2, 2) for _ in range(3))
MIX = torch.rand(5, 1, 1, 1)


def pair(loss: str, fake: torch.Tensor = FAKE) -> Pair:
    return Pair(fake, TARGET, CRITIC, JUDGE, loss, REAL, MIX)


def penalty(images: torch.Tensor) -> float:
    """(‖∇‖ − 1)² by hand: the critic is tanh between two matrices."""
    first, last = CRITIC[1], CRITIC[3]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    points = (MIX * REAL + (1 - MIX) * images).flatten(1)
    slope = 1 - torch.tanh(first(points)) ** 2
    gradient = (slope * last.weight) @ first.weight
    return float((gradient.norm(dim=1) - 1).square().mean().detach())


@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_self_supervision_compares_the_terms_of_one_discriminator(loss):
    with torch.no_grad():
        real, fake, target = (CRITIC(images) for images in (REAL, FAKE, TARGET))
    generator, judged = {
        "dcgan": (
            lambda s: F.softplus(-s).mean(),
            lambda s: (0.9 * F.softplus(-real) + 0.1 * F.softplus(real)).mean() + F.softplus(s).mean(),
        ),
        "lsgan": (lambda s: 0.5 * ((s - 1) ** 2).mean(), lambda s: 0.5 * ((real - 1) ** 2).mean() + 0.5 * (s**2).mean()),
        "wgan-gp": (lambda s: -s.mean(), lambda s: s.mean() - real.mean()),
    }[loss]

    def relative(term) -> float:
        return float(((term(target) - term(fake)) / term(target)).abs())

    wanted = relative(generator) + 0.5 * relative(judged)
    if loss == "wgan-gp":
        wanted += 0.5 * 10 * abs(penalty(TARGET) - penalty(FAKE)) / penalty(TARGET)
    assert float(LOSSES["selfsup"](pair(loss)).detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("loss", ADVERSARIAL)
@pytest.mark.parametrize("name", LOSSES)
def test_terms_have_gradients_and_are_least_where_student_and_teacher_agree(name, loss):
    fake = FAKE.clone().requires_grad_()
    value = LOSSES[name](pair(loss, fake))
    value.backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0
    if name != "adversarial":
        assert float(LOSSES[name](pair(loss, TARGET)).detach()) == 0 < float(value.detach())


def test_the_survey_form_is_pixel_and_class():
    """Its equations 4 and 5: mean squared differences of images and of the teacher discriminator's scores."""
    with torch.no_grad():
        images, scores = F.mse_loss(FAKE, TARGET), F.mse_loss(JUDGE(FAKE), JUDGE(TARGET))
        assert float(LOSSES["pixel"](pair("dcgan"))) == pytest.approx(float(images))
        assert float(LOSSES["class"](pair("dcgan"))) == pytest.approx(float(scores))


@pytest.mark.parametrize("name, there", [("selfsup", {"judge": True, "critic": False}), ("class", {"judge": False, "critic": True})])
def test_losses_name_the_discriminator_that_they_miss(name, there):
    with pytest.raises(UserError, match=f"^loss {name} needs a discriminator; name one in "):
        check_networks({name: 1.0}, **there)
    check_networks({name: 0.0}, **there)
