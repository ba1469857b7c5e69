# amaranth: UnusedElaboratable=no
"""Binary lanes with approximate adders against full adders in Python, for every shape of tree."""

import numpy as np
import pytest
from amaranth.hdl import Shape

from organza.adders import Adder
from organza.codes import Binary
from organza_hw.codes import term_of
from organza_hw.lanes.dot import DotLanes
from organza_sim.pysim import trace_cycles
from tests import bitwise

STEPS, TO, P = 16, 2, 2


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("ti", [1, 2, 3, 5, 8, 17])
@pytest.mark.parametrize("kind, low", [("loa", 1), ("loa", 5), ("notcarry", 1), ("notcarry", 3)])
def test_sums(kind, low, ti, signed):
    rng = np.random.default_rng([ti, low])
    least, most = (-128, 127) if signed else (0, 255)
    activations = rng.integers(least, most + 1, (STEPS, P, ti))
    activations[:2], activations[2:4] = least, most
    fields = rng.integers(0, 2, (STEPS, TO, ti))
    fields[0], fields[1] = 0, 1
    exists = rng.integers(0, 2, (STEPS, P))
    exists[:4] = 1
    activations[exists == 0] = 0  # what an engine gives to lanes whose tap is missing
    term = term_of(Binary(np.ones((ti, 1, 1, 1), int), Adder(kind, low), ti))
    lanes = DotLanes(term, activation=Shape(8, signed), ti=ti, to=TO, p=P, sum_bits=20)
    inputs = [
        {"activations": a.tolist(), "weights": w.tolist(), "exists": sum(int(e) << k for k, e in enumerate(there))}
        for a, w, there in zip(activations, fields, exists, strict=True)
    ]
    latency = term.latency(ti)
    assert latency == max((ti - 1).bit_length(), 1) + 1  # one for each level of adders
    seen = trace_cycles(lanes, inputs + [{}] * latency, ["sums"])[latency:]
    for step, (sums,) in enumerate(seen):
        for pixel in range(P):
            for channel in range(TO):
                wanted = bitwise.issue(
                    kind, low, activations[step, pixel].tolist(), fields[step, channel].tolist(), 8, signed
                )
                assert sums[pixel][channel] == wanted * exists[step, pixel], (step, pixel, channel)
