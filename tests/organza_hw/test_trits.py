# amaranth: UnusedElaboratable=no
"""Five trits in a byte: every number, the decoder on every byte, the memory image, whole layers."""

import dataclasses
import itertools

import numpy as np
import pytest

from organza.codes import Huffman, Linear, Sparse, Ternary
from organza.codes.trits import bytes_of, trit_bytes
from organza.program import Program
from organza_hw.build import memory_words
from organza_hw.trits import TritDecoder
from organza_sim.pysim import trace_cycles
from tests.organza_sim.layer_cases import Case, case
from tests.organza_sim.test_cycles import check_free, check_stalled
from tests.plans import random_plan
from tests.strategies import random_convolve, random_input

DIGITS = np.array(list(itertools.product(range(3), repeat=5)))
FIELD = {0: 0, 1: 1, 2: 3}


def test_every_number_has_its_byte():
    made = trit_bytes(DIGITS)[:, 0]
    assert len(set(made.tolist())) == 243
    assert made.min() >= 0
    assert made.max() <= 255
    for byte, digits in zip(made.tolist(), DIGITS.tolist(), strict=True):
        rest = byte
        for digit in digits:
            assert (rest * 3) >> 8 == digit
            rest = rest * 3 & 255


def test_decoder_on_every_byte():
    made = trit_bytes(DIGITS)[:, 0].tolist()
    seen = trace_cycles(TritDecoder(), [{"i": byte} for byte in made] + [{}] * TritDecoder.LATENCY, ["o"])
    wanted = [sum(FIELD[digit] << 2 * k for k, digit in enumerate(digits)) for digits in DIGITS.tolist()]
    assert [o for (o,) in seen[TritDecoder.LATENCY :]] == wanted


def ternary_case(seed: int) -> Case:
    """A layer whose weights are five in a byte."""
    rng = np.random.default_rng(seed)
    node = random_convolve(rng, code="ternary")
    node = dataclasses.replace(node, code=Ternary(node.code.integers(), 5))
    program = Program((node,))
    return Case(program, random_plan(rng, program), random_input(rng, program, 2))


@pytest.mark.parametrize("seed", range(4))
def test_layers(seed):
    chosen = ternary_case(seed)
    check_free(chosen)
    check_stalled(chosen, seed)


@pytest.mark.parametrize("seed", range(4))
def test_memory_image_is_whole_bytes(seed):
    chosen = ternary_case(seed)
    (schedule,), code = chosen.schedules, chosen.program.nodes[0].code
    bits, words = memory_words(chosen.program, chosen.plan)["layer0_weights.hex"]
    assert bits == 8 * bytes_of(schedule.ti * schedule.to)
    assert len(words) == len(code.words(schedule.ti, schedule.to, schedule.node.groups))


def test_the_image_is_what_is_stored_where_words_are_whole_bytes():
    code = Ternary(np.random.default_rng(0).integers(-1, 2, (10, 6, 3, 3)), 5)
    assert code.stored_bits == code.image_bits(5, 6, 1) == code.buffer_bits(5, 6, 1) == 8 * 10 * 6 * 9 // 5
    assert 8 * code.byte_words(5, 2, 1).size == code.stored_bits


def test_what_is_refused():
    weights = np.ones((2, 2, 1, 1), int)
    with pytest.raises(ValueError, match=r"^Ternary weights in a byte must be 4 or 5, not 3$"):
        Ternary(weights, 3)
    for outer in (Huffman, lambda inner: Sparse(inner, np.ones((2, 2, 1, 1), bool))):
        with pytest.raises(ValueError, match=r"must be around ternary weights of 2 bits, not 5 in a byte$"):
            outer(Ternary(weights, 5))
    assert Huffman(Linear(weights)).integers().sum() == 4


def test_case_draws_both():
    seen = {case(seed, code="ternary").program.nodes[0].code.per_byte for seed in range(12)}  # type: ignore[attr-defined]
    assert seen == {4, 5}
