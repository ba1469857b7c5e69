"""Stage `search`: the bits that are found are those that the networks have."""

import pytest
from pydantic import ValidationError

from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.search import SearchStage
from organza.errors import UserError
from tests.organza.compress.nets import context, state

FEW = FinetuneStage(steps=1, batch=8)


def bits(chain) -> set:
    return {None if layer.coder is None else layer.coder.bits for layer in chain.list}


def scored(table):
    """Scores by bits of the generator; the discriminator's do not show in one."""
    return lambda chain: table[next(iter(bits(chain)))]


def test_qgan_takes_the_fewest_bits_that_are_good_enough():
    nets = state()
    made = context(score=scored({None: 10.0, 1: 30.0, 2: 12.0, 3: 10.5, 4: 10.0}))
    notes = SearchStage(code="em", bits=[1, 2, 3, 4], tolerance=0.1, finetune=FEW).apply(nets, made)
    assert (notes["generator"], notes["discriminator"]) == (3, 1)
    assert bits(nets.generator) == {3} and bits(nets.critic) == {1}
    assert notes["trials"] == {
        "generator float, discriminator float": 10.0, "generator float, discriminator 1": 10.0,
        "generator 1, discriminator 1": 30.0, "generator 2, discriminator 1": 12.0, "generator 3, discriminator 1": 10.5,
    }  # fmt: skip


def test_when_no_bits_are_enough_floats_stay():
    nets = state()
    notes = SearchStage(bits=[1, 2], finetune=FEW).apply(nets, context(score=scored({None: 1.0, 1: 9.0, 2: 9.0})))
    assert notes["generator"] is None and bits(nets.generator) == {None} and bits(nets.critic) == {1}


def test_the_sweep_takes_the_knee_of_psnr():
    nets = state()
    notes = SearchStage(method="sweep", code="uniform", bits=[2, 4, 8, 32], loss=3.0, finetune=FinetuneStage(steps=0, batch=8)).apply(nets, context())
    curve = {int(number): value for number, value in notes["psnr_db"].items()}
    assert list(curve) == [2, 4, 8, 32] and curve[2] < curve[4] < curve[8]
    assert notes["generator"] == min(number for number, value in curve.items() if value >= curve[32] - 3)
    assert bits(nets.critic) == {None}


def test_defaults_are_the_bits_that_a_code_has():
    assert SearchStage(code="em").numbers == [1, 2, 3, 4, 5, 6, 7, 8]
    assert SearchStage(code="uniform").numbers == [2, 3, 4, 5, 6, 7, 8]
    assert SearchStage(code="qmgan", method="sweep").numbers == [1, 2, 4, 6, 8, 16, 32]


@pytest.mark.parametrize("settings, message", [
    ({"code": "octal"}, "code must be one of uniform, .*, not 'octal'"),
    ({"code": "ternary"}, "code ternary has no bits to search"),
    ({"bits": [3, 2]}, "bits must be rising numbers"),
    ({"bits": [0, 2]}, "bits must be between 1 and 8"),
])  # fmt: skip
def test_wrong_settings(settings, message):
    with pytest.raises(ValidationError, match=message):
        SearchStage(**settings)


def test_a_discriminator_is_needed():
    nets = state()
    nets.critic = None
    with pytest.raises(UserError, match="^search: method qgan needs a discriminator"):
        SearchStage(finetune=FEW).apply(nets, context(judge=None))
