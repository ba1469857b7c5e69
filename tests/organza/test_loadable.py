"""Which Programs a chip can load, and that no weights can overflow what it was built with."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from organza.codes import Affine, Binary, Codebook, Linear, PowerOfTwo, Sparse, Ternary
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.layer_options import parse_loadable
from organza.loadable import fitted, loadable, shape_hash
from organza.program import Convolve, Program
from organza.program_file import load_program, program_hash, save_program
from organza.time_sharing import TimeSharing
from organza_hw.shared.engine import sum_bits
from organza_sim.planner import plan_program
from tests.loadable_programs import KINDS, other_weights, random_loadable
from tests.plans import random_plan
from tests.shared_engines import shared_case
from tests.strategies import random_managed, random_program
from tests.tiny import LANES, tiny_program


def changed(node: int, **values: Any) -> Program:
    """The tiny Program with something else in a layer."""
    nodes = list(tiny_program().nodes)
    nodes[node] = replace(nodes[node], **values)
    return Program(tuple(nodes))


def epilogue(**values: Any) -> Program:
    return changed(1, epilogue=replace(tiny_program().nodes[1].epilogue, **values))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_sums_of_the_worst_weights(kind: str, seed: int) -> None:
    """Widths are those of any weights: of these, of others, and of the largest that there are at the largest input."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    program = random_loadable(rng, kind)
    other = other_weights(rng, program)
    for node, mine in zip(program.nodes, other.nodes, strict=True):
        assert (node.dot_bound >= mine.dot_bound).all() and (node.sum_bound >= mine.sum_bound).all()
        ci, _, ky, kx = node.code.shape
        most = ci // node.groups * ky * kx * node.code.loaded_magnitude * node.input.magnitude + node.code.sum_error(node.groups)
        assert node.dot_bound.tolist() == [most] * node.co
        assert most + (1 << (node.loads or 0) - 1) < 1 << node.accumulator_bits - 1
        assert (np.abs(node.code.integers()) <= node.code.loaded_magnitude).all()
    same = fitted(other, program)
    for node, mine in zip(program.nodes, same.nodes, strict=True):
        assert (node.loads, node.accumulator_bits, node.dot_bits) == (mine.loads, mine.accumulator_bits, mine.dot_bits)


@pytest.mark.parametrize("kind", KINDS)
def test_one_shape_for_all_weights(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    program = random_loadable(rng, kind)
    plan = random_plan(rng, program)
    same = fitted(other_weights(rng, program), program)
    assert shape_hash(same, plan) == shape_hash(program, plan)
    assert program_hash(same) != program_hash(program)


@pytest.mark.parametrize("seed", range(4))
def test_one_shape_for_all_weights_of_shared_engines(seed: int) -> None:
    """And sums of the engine that hold the worst weights of any of its layers."""
    case = shared_case(seed, loads=True)
    same = fitted(other_weights(np.random.default_rng(seed), case.program), case.program)
    assert shape_hash(same, case.plan) == shape_hash(case.program, case.plan)
    (mine,), (theirs,) = (replace(case.plan, program=program_hash(program)).works(program) for program in (case.program, same))
    assert isinstance(mine, TimeSharing) and isinstance(theirs, TimeSharing) and mine.cycles == theirs.cycles
    most = max(int(node.sum_bound.max()) for node in same.nodes)
    assert sum_bits(mine) == sum_bits(theirs) == most.bit_length() + 1
    tiled = replace(case.plan, engines=(replace(case.plan.engines[0], rows=case.plan.engines[0].rows + 1),))
    assert shape_hash(case.program, tiled) != shape_hash(case.program, case.plan)


def test_what_a_shape_is() -> None:
    """Everything that hardware is made of, and nothing else."""
    program = loadable(tiny_program())
    plan = plan_program(program, LANES)
    shape = shape_hash(program, plan)
    others = [
        loadable(Program(tuple(replace(node, name=f"a{k}") for k, node in enumerate(tiny_program().nodes)))),
        loadable(changed(1, output=Fixed(8, True, 0.5))),
    ]
    assert [shape_hash(other, plan) for other in others] == [shape, shape]
    table = tiny_program().nodes[1].epilogue.table
    assert table is not None
    different = [
        loadable(tiny_program(), ["net.3"]),
        loadable(changed(1, code=Linear(tiny_program().nodes[1].code.integers() // 2, 7))),
        loadable(epilogue(low=-100, table=table[28:])),
        Program((replace(program.nodes[0], loads=30), program.nodes[1])),
    ]
    hashes = {shape, *(shape_hash(other, plan) for other in different), shape_hash(program, plan_program(program, LANES + 3))}
    assert len(hashes) == len(different) + 2
    first = tiny_program().nodes[0]
    mixed = [loadable(Program((node, tiny_program().nodes[1])), ["net.3"]) for node in (first, replace(first, code=Linear(-first.code.integers())))]
    assert shape_hash(mixed[0], plan) != shape_hash(mixed[1], plan)


REFUSED = {
    "layers": (Program(tiny_program().nodes[:1]), "Program to load must have the 2 layers of the chip, not 1"),
    "code": (changed(1, code=Ternary(np.ones((3, 1, 4, 4), np.int64))), "net.3: the chip is built for code linear, not ternary"),
    "bits": (
        changed(1, code=Linear(np.ones((3, 1, 4, 4), np.int64), 4)),
        "net.3: the chip is built for a code with {'bits': 8}, not {'bits': 4}",
    ),
    "no table": (epilogue(table=None), "net.3: the chip is built for a table"),
    "long table": (
        epilogue(high=128, table=np.zeros(257, np.int64)), "net.3: table must be within the chip's -128…127, not -128…128",
    ),
    "input": (
        Program((replace(tiny_program().nodes[0], input=Fixed(7, True, 1.0)), tiny_program().nodes[1])),
        "net.0: the chip is built for input signed integers of 8 bits, not signed integers of 7 bits",
    ),
    "clamp": (
        Program((
            replace(tiny_program().nodes[0], epilogue=replace(tiny_program().nodes[0].epilogue, high=99)), tiny_program().nodes[1],
        )),
        "net.0: the chip is built to clamp to 0…255, not 0…99",
    ),
    "bias": (epilogue(bias=np.array([1 << 21])), "net.3: bias must be within the 22 bits of a loaded one, not 2097152…2097152"),
    "geometry": (
        Program((tiny_program().nodes[0], replace(tiny_program().nodes[1], x=Axis(size=3, kernel=4, up=2, crop_before=1, crop_after=0)))),
        "net.3: the chip is built for horizontal geometry ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    """Naming the layer and the bound."""
    program, message = REFUSED[what]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        fitted(program, loadable(tiny_program()))


def test_bounds_of_an_image_are_those_of_constants() -> None:
    """Shifts above 47 and multipliers of 17 bits are in no Program."""
    one = tiny_program().nodes[1].epilogue
    with pytest.raises(ValueError, match=r"^Epilogue shift must be between 0 and 47, not 48…48$"):
        replace(one, shift=np.array([48]))
    with pytest.raises(ValueError, match=r"^Epilogue positive must be between -32768 and 32767, not 32768…32768$"):
        replace(one, positive=np.array([1 << 15]))


def test_a_shorter_table() -> None:
    """Goes on as it ends, which is what a narrower clamp does."""
    table = np.array([5, -7, 100, 3])
    short = epilogue(low=-1, high=2, table=table)
    same = fitted(short, loadable(tiny_program()))
    x = np.random.default_rng(0).integers(-128, 128, (20, 4, 1, 1))
    assert np.array_equal(same.run(x), short.run(x))
    made = same.nodes[1].epilogue.table
    assert made is not None and made.tolist() == [5] * 127 + table.tolist() + [3] * 125


def test_fewer_centroids() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        count, most = sorted(int(n) for n in rng.integers(2, 257, 2))
        code = Codebook(rng.integers(0, count, (3, 2, 4, 4)), np.sort(rng.choice(np.arange(-128, 128), count, replace=False)))
        made = code.padded(most)
        assert len(made.centroids) == most and np.array_equal(made.integers(), code.integers())
        assert len(code.padded(count - 1).centroids) == count


def test_weights_in_the_bitstream() -> None:
    """Some layers are loaded; the others must be what they are."""
    chip = loadable(tiny_program(), ["net.3"])
    assert [node.loads is None for node in chip.nodes] == [True, False] and chip.loads and not tiny_program().loads
    assert np.array_equal(fitted(tiny_program(), chip).nodes[0].code.integers(), chip.nodes[0].code.integers())
    code = Linear(-tiny_program().nodes[0].code.integers())
    with pytest.raises(ValueError, match=r"^net\.0: its weights are in the bitstream, and are others$"):
        fitted(changed(0, code=code), chip)


def test_what_cannot_be_loaded() -> None:
    for text, loads in (("all", [True, True]), ("layer1", [False, True]), ("net.0, layer1", [True, True])):
        assert [node.loads is not None for node in parse_loadable(text, tiny_program()).nodes] == loads
    with pytest.raises(ValueError, match=r"^Program has no layer 'net' to load; it has net\.0, net\.3$"):
        loadable(tiny_program(), ["net"])
    rng = np.random.default_rng(2)
    for kind in ("sparse", "huffman", "rle"):
        with pytest.raises(ValueError, match=rf"^layer0: {kind} weights cannot be loaded at run time$"):
            loadable(random_program(rng, 1, code=kind))
    with pytest.raises(ValueError, match=r"^layer0: weights of layers with managed exponents cannot be loaded at run time$"):
        loadable(random_managed(rng, 2))


def test_wrong_bounds() -> None:
    node = tiny_program().nodes[0]
    with pytest.raises(TypeError, match=r"^net\.0: bits of a loaded bias must be an integer, not True$"):
        replace(node, loads=True)
    with pytest.raises(ValueError, match=r"^net\.0: bits of a loaded bias must be between 1 and 48, not 49$"):
        replace(node, loads=49)
    least = max(int(abs(node.epilogue.bias).max()).bit_length(), 1)
    with pytest.raises(ValueError, match=rf"^net\.0: bias must be within the {least - 1} bits of a loaded one"):
        replace(node, loads=least - 1)


def test_a_file(tmp_path: Any) -> None:
    """Bounds are in it; a Program without any is as it was."""
    program = loadable(tiny_program())
    save_program(program, tmp_path / "program.safetensors")
    found = load_program(tmp_path / "program.safetensors")
    assert program_hash(found) == program_hash(program) != program_hash(tiny_program())
    assert [node.loads for node in found.nodes] == [node.loads for node in program.nodes]


@pytest.mark.parametrize(
    "code, fields",
    [
        (Linear(np.zeros((1, 1, 1, 1), int), 4), 8), (Ternary(np.zeros((1, 1, 1, 1), int)), 2),
        (PowerOfTwo(np.zeros((1, 1, 1, 1), int), 3), 4), (Codebook(np.zeros((1, 1, 1, 1), int), np.array([1, 2, 3])), 3),
    ],
)  # fmt: skip
def test_fields_of_no_weight(code: Any, fields: int) -> None:
    """The most negative number, a negative zero, an index without centroid."""
    with pytest.raises(ValueError, match=f"^{type(code).__name__} "):
        code.of_fields(np.full((1, 1, 1, 1), fields))


@pytest.mark.parametrize("code", [Affine(np.arange(4).reshape(1, 4, 1, 1), 2, 3), Binary(np.array([1, -1]).reshape(1, 2, 1, 1))])
def test_every_field(code: Any) -> None:
    assert np.array_equal(code.of_fields(code.fields()).integers(), code.integers())


def test_only_codes_that_store_fields() -> None:
    code = Sparse(Linear(np.ones((2, 2, 1, 1), np.int64)), np.ones((2, 2, 1, 1), bool), 2)
    with pytest.raises(NotImplementedError, match=r"^sparse weights cannot be loaded$"):
        code.of_fields(np.zeros((2, 2, 1, 1), np.int64))


def test_products_of_the_largest_multipliers() -> None:
    """A bound that 16-bit multipliers could pass is refused when the chip is planned, not when weights come."""
    ones = np.ones(1, np.int64)
    node = Convolve(
        name="wide", y=Axis(size=1, kernel=1), x=Axis(size=1, kernel=1), groups=1, code=Linear(np.ones((1, 1, 1, 1), np.int64)),
        epilogue=Epilogue(0 * ones, ones, ones, 0 * ones, -128, 127), input=Fixed(8, True, 1.0), output=Fixed(8, True, 1.0), loads=47,
    )  # fmt: skip
    assert node.accumulator_bits == 48
    with pytest.raises(ValueError, match=r"^wide: products must stay below 2\*\*62"):
        replace(node, loads=48)
