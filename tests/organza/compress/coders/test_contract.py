"""What holds for every coder: forward makes the exported code's weights to the last bit, and comes back from its options."""

import json

import numpy as np
import pytest
import torch

from organza.codes import CODES
from organza.codes.spec import parse_spec
from organza.compress.coders import CODERS
from tests.organza.compress.coders.cases import CASES, SHAPES, WEIGHTS, ready, real, weights

each_case = pytest.mark.parametrize("kind, options", CASES, ids=[f"{kind}-{k}" for k, (kind, _) in enumerate(CASES)])


def check(coder, weight, mask):
    own = None if coder.owns else weight
    coded = coder.coded(own, mask)
    assert np.isfinite(coded.scales).all() and (coded.scales != 0).all()
    assert coded.code.shape == coder.shape and coded.code.kind in CODES
    with torch.no_grad():
        made = coder(own, mask)
    assert torch.equal(made, real(coder, own, mask))
    if mask is not None:
        assert not coded.code.integers()[~mask.numpy()].any()


@each_case
@pytest.mark.parametrize("shape, groups", SHAPES)
def test_forward_is_the_code_to_the_last_bit(kind, options, shape, groups):
    for extreme in WEIGHTS:
        weight = weights(extreme, shape)
        for share in (None, 0.6, 0.0):
            mask = None if share is None else torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
            if mask is not None and not CODERS[kind].prunes:
                continue
            masked = weight if mask is None else weight * mask
            coder = ready(kind, options, weight, groups, mask)
            check(coder, masked, mask)
            coder.refit(None if coder.owns else masked, mask)
            coder.finish(None if coder.owns else masked, mask)
            check(coder.train(), masked, mask)


@each_case
def test_gradients_reach_what_is_trained(kind, options):
    weight = weights("normal", (4, 6, 3, 2), 5).mul_(0.3).requires_grad_()
    coder = ready(kind, options, weight.detach()).train()
    seed = torch.randn(4, 6, 3, 2, generator=torch.Generator().manual_seed(2))
    made = coder(None if coder.owns else weight, None)
    loss = (made * seed).sum()
    penalty = coder.penalty(None if coder.owns else weight, None)
    (loss if penalty is None else loss + penalty).backward()
    trained = [p for p in coder.parameters() if p.requires_grad] + ([] if coder.owns else [weight])
    for parameter in trained:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any()


@each_case
@pytest.mark.parametrize("masked", [False, True])
def test_coders_come_back_from_options_and_state(kind, options, masked):
    if masked and not CODERS[kind].prunes:
        pytest.raises(ValueError, refuse, kind, options)
        return
    shape = (4, 6, 3, 2)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6 if masked else None
    weight = weights("normal", shape)
    coder = ready(kind, options, weight, 2, mask)
    own = None if coder.owns else weight if mask is None else weight * mask
    coder.train()(own, mask)
    for _ in range(2):
        coder.eval()
        again = CODERS[kind](shape, 2, **json.loads(json.dumps(coder.options()))).eval()
        again.load_state_dict(coder.state_dict())
        assert torch.equal(again(own, mask), coder(own, mask))
        first, second = coder.coded(own, mask), again.coded(own, mask)
        assert np.array_equal(first.code.integers(), second.code.integers()) and np.array_equal(first.scales, second.scales)
        assert first.code.parameters() == second.code.parameters()
        assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in coder.parameters()]
        coder.finish(own, mask)


def refuse(kind, options):
    from organza.compress.chain import ChainLayer
    from organza.float_layers import FloatLayer
    from organza.geometry import Axis

    layer = ChainLayer(FloatLayer(
        name="a", weights=np.ones((4, 6, 3, 2)), bias=np.zeros(6), y=Axis(size=2, kernel=3), x=Axis(size=2, kernel=2)
    ))  # fmt: skip
    layer.mask = torch.ones(layer.shape, dtype=torch.bool)
    layer.code_with(CODERS[kind](layer.shape, 1, **options))


@each_case
def test_specs_are_what_a_user_could_type(kind, options):
    spec = CODERS[kind]((4, 6, 3, 2), 1, **options).spec()
    assert parse_spec(str(spec)).kind == spec.kind


@pytest.mark.parametrize("kind", CODERS)
def test_wrong_granularities_name_the_choices(kind):
    known = CODERS[kind].granularities
    error = TypeError if known == ("tensor",) else ValueError
    with pytest.raises(error, match="granularity" if error is TypeError else f"^{kind} granularity must be one of {', '.join(known)}, not 3$"):
        CODERS[kind]((4, 6, 3, 2), 1, granularity=3)
