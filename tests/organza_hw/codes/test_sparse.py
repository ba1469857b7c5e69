"""Gather lanes of every inner code, exhaustively: every index with every field."""

# amaranth: UnusedElaboratable=no
import itertools

import numpy as np
import pytest
from amaranth.hdl import Shape, signed, unsigned

from organza.codes import Binary, Codebook, Linear, PowerOfTwo, Sparse, Ternary
from organza_hw.codes import term_of
from organza_hw.lanes.dot import DotLanes
from organza_hw.lanes.gather import GatherLanes
from organza_sim.pysim import trace_cycles


def column(values):
    """Weights as a layer of that many input channels."""
    return np.asarray(values).reshape(-1, 1, 1, 1)


INNER = [
    Linear(column(range(-7, 8)), 4),
    Ternary(column([-1, 0, 1])),
    Binary(column([-1, 1])),
    PowerOfTwo(column([0, 1, 2, 4, -1, -2, -4]), 3),
    Codebook(column(range(4)), np.array([-128, -9, 3, 127])),
    Codebook(column(range(3)), np.array([-5, 0, 7])),
]


def sparse(inner, block):
    return Sparse(inner, np.ones(inner.shape, bool), block)


def check(code, activations, fields, *, span, activation):
    """Sums of gathered products, exactly `latency` cycles after the operands, one set a cycle.

    activations (n, p, span), fields (n, to, ti) with the value low.
    """
    n, to, ti = fields.shape
    lanes = GatherLanes(
        term_of(code),
        activation=activation,
        ti=ti,
        to=to,
        p=activations.shape[1],
        sum_bits=24,
        span=span,
    )
    bits = code.inner.field_bits
    assert Shape.cast(lanes.term.field_shape).width == code.field_bits
    limit = 1 << (bits - 1)
    value_signed = Shape.cast(term_of(code.inner).field_shape).signed

    def stored(field):
        index, value = divmod(int(field), 1 << bits)
        return {"value": value - 2 * limit * (value_signed and value >= limit), "index": index}

    inputs = [{"activations": a.tolist(), "weights": [[stored(f) for f in row] for row in w]}
              for a, w in zip(activations, fields, strict=True)]  # fmt: skip
    latency = lanes.term.latency(ti)
    assert latency == term_of(code.inner).product_latency + DotLanes.latency(ti)
    seen = trace_cycles(lanes, inputs + [{}] * latency, ["sums"])[latency:]
    meaning = dict(
        zip(
            code.inner.fields().ravel().tolist(),
            code.inner.integers().ravel().tolist(),
            strict=True,
        )
    )
    for (sums,), a, w in zip(seen, activations, fields, strict=True):
        for p, o in itertools.product(range(len(a)), range(to)):
            expected = 0
            for field in w[o].tolist():
                index, value = divmod(field, 1 << bits)
                expected += int(a[p, index]) * meaning[value] if index < span else 0
            assert sums[p][o] == expected


@pytest.mark.parametrize("block", [2, 3, 5, 8, 16])
@pytest.mark.parametrize("inner", INNER, ids=lambda code: f"{code.kind}{code.field_bits}")
def test_every_index_and_field(inner, block):
    code = sparse(inner, block)
    rng = np.random.default_rng(block)
    values = inner.fields().ravel().tolist()
    fields = [v + (k << inner.field_bits) for v in values for k in range(block)] + [code.idle]
    fields = np.array(fields).reshape(-1, 1, 1)
    for activation, low in ((signed(8), -128), (unsigned(8), 0)):
        check(
            code,
            rng.integers(low, low + 256, (len(fields), 1, block)),
            fields,
            span=block,
            activation=activation,
        )


@pytest.mark.parametrize("ti, to, p", [(1, 3, 2), (2, 2, 1), (5, 1, 3)])
def test_every_lane_has_its_own_choice(ti, to, p):
    rng = np.random.default_rng(ti)
    for inner in INNER:
        code = sparse(inner, 7)
        fields = rng.choice(inner.fields().ravel(), (40, to, ti)) + (
            rng.integers(0, 7, (40, to, ti)) << inner.field_bits
        )
        fields[rng.random(fields.shape) < 0.3] = code.idle
        check(code, rng.integers(-128, 128, (40, p, 7)), fields, span=7, activation=signed(8))


def test_idle_lanes_add_nothing():
    for inner in INNER:
        code = sparse(inner, 4)
        check(
            code,
            np.full((1, 1, 4), -128),
            np.full((1, 2, 3), code.idle),
            span=4,
            activation=signed(8),
        )


def test_product_is_the_inner_one():
    code = sparse(Ternary(column([-1, 0, 1])), 4)
    term = term_of(code)
    assert (term.fraction, term.offset) == (0, 0)
    assert Shape.cast(term.field_shape).width == 4
