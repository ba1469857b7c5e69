"""What a Program refuses, and what it says about itself."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza.formats import Fixed
from organza.geometry import Axis
from organza.program import Convolve, Program
from tests.strategies import random_convolve, random_program


def _epilogue(co: int = 3, **changes: Any) -> Epilogue:
    ones = np.ones(co, np.int64)
    given: dict[str, Any] = {
        "bias": 0 * ones,
        "positive": ones,
        "negative": ones,
        "shift": 0 * ones,
    }
    given |= {"low": -128, "high": 127} | changes
    return Epilogue(**given)


def _node(**changes: Any) -> Convolve:
    given: dict[str, Any] = {
        "name": "net.0",
        "y": Axis(size=4, kernel=4, up=2, crop_before=1, crop_after=1),
        "x": Axis(size=5, kernel=3),
        "groups": 1,
        "code": Linear(np.ones((2, 3, 4, 3), np.int64)),
        "epilogue": _epilogue(),
        "input": Fixed(8, False, 0.5),
        "output": Fixed(8, True, 0.25),
    }
    given |= changes
    return Convolve(**given)


def test_shapes_and_counts():
    node = _node()
    assert (node.ci, node.co) == (2, 3)
    assert node.input_shape == (2, 4, 5) and node.output_shape == (3, 8, 7)
    # 2 taps at each of 8 rows, but 1 at the two border rows; 3 columns fed by all 5 inputs.
    assert node.macs == 2 * 3 * (8 * 2 - 2) * (3 * 5)
    assert node.macs_output_counted == 2 * 3 * (4 * 3) * (8 * 7)
    assert node.sum_bound.tolist() == [2 * 4 * 3 * 255] * 3
    assert node.accumulator_bits == (2 * 4 * 3 * 255).bit_length() + 1
    assert node.stored_bits == 72 * 8 + 3 * (node.accumulator_bits + 32 + 6)


def test_sums_never_exceed_the_bound():
    for seed in range(30):
        node = random_convolve(np.random.default_rng(seed))
        weights = node.code.integers()
        extremes = node.input.low, node.input.high
        worst = [
            sum(
                max(abs(int(w) * e) for e in extremes)
                for w in weights[g * cig : (g + 1) * cig, c].flat
            )
            for cig in [node.ci // node.groups]
            for g in range(node.groups)
            for c in range(weights.shape[1])
        ]
        bound = [w + abs(int(b)) for w, b in zip(worst, node.epilogue.bias, strict=True)]
        assert node.sum_bound.tolist() == bound


@pytest.mark.parametrize(
    "changes, kind, message",
    [
        ({"name": 5}, TypeError, r"node name must be text, not 5"),
        ({"name": ""}, TypeError, r"node name must be text, not ''"),
        ({"groups": 1.0}, TypeError, r"net\.0: groups must be an integer, not 1\.0"),
        ({"groups": 0}, ValueError, r"net\.0: groups must divide the 2 input channels, not 0"),
        ({"groups": 3}, ValueError, r"net\.0: groups must divide the 2 input channels, not 3"),
        ({"groups": 2}, ValueError, r"net\.0: epilogue must have 6 entries, not 3"),
        (
            {"y": Axis(size=4, kernel=3)},
            ValueError,
            r"net\.0: weights must be 3×3 taps, not 4×3",
        ),
        ({"epilogue": _epilogue(2)}, ValueError, r"net\.0: epilogue must have 3 entries, not 2"),
        (
            {"output": Fixed(8, False, 1.0)},
            ValueError,
            r"net\.0: epilogue range -128…127 must fit the output format 0…255",
        ),
        (
            {"epilogue": _epilogue(high=128)},
            ValueError,
            r"net\.0: epilogue range -128…128 must fit the output format -128…127",
        ),
        (
            {
                "epilogue": _epilogue(
                    bias=np.full(3, (1 << 47) - 1), positive=np.full(3, -(1 << 15))
                )
            },
            ValueError,
            r"net\.0: products must stay below 2\*\*62, not reach 4611\d+",
        ),
        (
            {"epilogue": _epilogue(low=0, high=0, table=np.array([300]))},
            ValueError,
            r"net\.0: epilogue range 300…300 must fit the output format -128…127",
        ),
    ],
)
def test_refused_nodes(changes, kind, message):
    with pytest.raises(kind, match=rf"^{message}$"):
        _node(**changes)


@pytest.mark.parametrize("name", ["bias", "positive", "negative", "shift"])
def test_epilogue_wrong_kind(name):
    with pytest.raises(TypeError, match=rf"^Epilogue {name} must hold integers, not float64$"):
        _epilogue(3, **{name: np.zeros(3)})


@pytest.mark.parametrize(
    "name, value, low, high",
    [
        ("positive", 1 << 15, -(1 << 15), (1 << 15) - 1),
        ("negative", -(1 << 15) - 1, -(1 << 15), (1 << 15) - 1),
        ("shift", 48, 0, 47),
        ("shift", -1, 0, 47),
        ("bias", 1 << 47, -(1 << 47), (1 << 47) - 1),
    ],
)
def test_epilogue_wrong_value(name, value, low, high):
    message = rf"^Epilogue {name} must be between {low} and {high}, not {value}…{value}$"
    with pytest.raises(ValueError, match=message):
        _epilogue(3, **{name: np.full(3, value)})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"shift": np.zeros(2, np.int64)}, r"shift must have 3 entries like the bias, not 2"),
        (
            {"bias": np.zeros((3, 1), np.int64)},
            r"bias must be one-dimensional, not of shape \(3, 1\)",
        ),
        ({"low": 4, "high": 3}, r"low must not exceed high, not 4 > 3"),
        (
            {"low": 0, "high": 4096, "table": np.zeros(4097, np.int64)},
            r"table must span at most 4096 values",
        ),
        (
            {"table": np.zeros(255, np.int64)},
            r"table must have one entry for each of -128…127, not 255",
        ),
    ],
)
def test_epilogue_shapes(changes, message):
    with pytest.raises(ValueError, match=rf"^Epilogue {message}$"):
        _epilogue(**changes)


@pytest.mark.parametrize("low", [0.0, True, "0"])
def test_epilogue_bounds_are_integers(low):
    with pytest.raises(TypeError, match=rf"^Epilogue low must be an integer, not {low!r}$"):
        _epilogue(low=low)


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ((8.0, True, 1.0), TypeError, r"Fixed bits must be an integer, not 8\.0"),
        ((8, 1, 1.0), TypeError, r"Fixed signed must be a bool, not 1"),
        ((8, True, "1"), TypeError, r"Fixed scale must be a number, not '1'"),
        ((0, True, 1.0), ValueError, r"Fixed bits must be between 1 and 16, not 0"),
        ((17, True, 1.0), ValueError, r"Fixed bits must be between 1 and 16, not 17"),
        ((8, True, 0.0), ValueError, r"Fixed scale must be positive and finite, not 0\.0"),
        ((8, True, float("nan")), ValueError, r"Fixed scale must be positive and finite, not nan"),
    ],
)
def test_refused_formats(arguments, kind, message):
    with pytest.raises(kind, match=rf"^{message}$"):
        Fixed(*arguments)


def test_quantize_rounds_half_up_and_clamps():
    fixed = Fixed(4, True, 0.5)
    values = np.array([-9.0, -0.75, -0.25, 0.0, 0.25, 0.74, 9.0])
    assert fixed.quantize(values).tolist() == [-8, -1, 0, 0, 1, 1, 7]
    assert fixed.dequantize(np.array([-8, 7])).tolist() == [-4.0, 3.5]
    with pytest.raises(
        ValueError, match=r"^Values to quantize must be finite, not NaN or infinite$"
    ):
        fixed.quantize(np.array([np.nan]))


@pytest.mark.parametrize(
    "weights, bits, kind, message",
    [
        (
            np.zeros((1, 1, 1, 1)),
            8,
            TypeError,
            r"Linear weights must be integers, not float64",
        ),
        (
            np.zeros((1, 1, 1), int),
            8,
            ValueError,
            r".*shape \(ci, co/groups, ky, kx\), not \(1, 1, 1\)",
        ),
        (np.zeros((1, 0, 1, 1), int), 8, ValueError, r".*shape .*, not \(1, 0, 1, 1\)"),
        (
            np.full((1, 1, 1, 1), -128),
            8,
            ValueError,
            r"Linear weights of 8 bits must be within ±127",
        ),
        (np.full((1, 1, 1, 1), 2), 2, ValueError, r"Linear weights of 2 bits must be within ±1"),
        (
            np.zeros((1, 1, 1, 1), int),
            1,
            ValueError,
            r"Linear bits must be between 2 and 16, not 1",
        ),
        (np.zeros((1, 1, 1, 1), int), "8", TypeError, r"Linear bits must be an integer, not '8'"),
    ],
)
def test_refused_weights(weights, bits, kind, message):
    with pytest.raises(kind, match=rf"^{message}$"):
        Linear(weights, bits)


@pytest.mark.parametrize("ti, to", [(1, 1), (2, 2), (3, 2), (4, 16)])
@pytest.mark.parametrize("groups", [1, 2])
def test_memory_image_holds_every_weight_at_its_address(ti, to, groups):
    rng = np.random.default_rng(0)
    code = Linear(rng.integers(-127, 128, (6, 5, 2, 3)))
    words = code.words(ti, to, groups)
    cig = 6 // groups
    ci_tiles, co_tiles = -(-cig // ti), -(-5 // to)
    assert words.shape == (groups * co_tiles * 6 * ci_tiles, to, ti)
    left = words.copy()
    for c, o, y, x in np.ndindex(6, 5, 2, 3):
        group, i = divmod(c, cig)
        address = ((group * co_tiles + o // to) * 6 + y * 3 + x) * ci_tiles + i // ti
        assert words[address, o % to, i % ti] == code.integers()[c, o, y, x] & 0xFF
        left[address, o % to, i % ti] = 0
    assert not left.any()


def test_a_chain_must_fit_together():
    program = random_program(np.random.default_rng(3), 3)
    first, second, _ = program.nodes
    assert program.input == first.input and program.input_shape == first.input_shape
    assert program.macs == sum(n.macs for n in program.nodes)
    with pytest.raises(ValueError, match=r"^.*must.*$"):
        Program(())
    with pytest.raises(ValueError, match=r"^.*layer0.*$"):
        Program((first, dataclasses.replace(second, name="layer0")))
    other = dataclasses.replace(second.input, scale=second.input.scale * 2)
    with pytest.raises(
        ValueError, match=r"^layer1: input format must be .* as layer0 makes it, not .*$"
    ):
        Program((first, dataclasses.replace(second, input=other)))
    stranger = random_convolve(
        np.random.default_rng(0), input=first.output, input_shape=(first.co + 1, 2, 2), name="b"
    )
    with pytest.raises(
        ValueError, match=r"^b: input must be \(.*\) as layer0 makes it, not \(.*\)$"
    ):
        Program((first, stranger))


@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 2, 5, 4), (1, 40)])
def test_quantize_wants_the_shape_of_the_input(shape):
    program = Program((_node(),))
    with pytest.raises(ValueError, match=r"^Inputs must have shape \(N, 2, 4, 5\), not \("):
        program.quantize(np.zeros(shape))


def test_real_values_in_and_out():
    program = Program((_node(),))
    x = np.full((1, 2, 4, 5), 1.0)
    assert (program.quantize(x) == 2).all()
    assert program.dequantize(np.array([4, -4])).tolist() == [1.0, -1.0]


def test_products_beyond_64_bits_are_refused():
    """The bound itself does not fit 64 bits here: 2**48 sums times 2**15."""
    code = Linear(np.full((1 << 17, 1, 1, 1), (1 << 15) - 1), 16)
    one, point = np.ones(1, np.int64), Axis(size=1, kernel=1)
    message = r"^wide: products must stay below 2\*\*62, not reach \d{19,}$"
    with pytest.raises(ValueError, match=message):
        Convolve(
            name="wide",
            y=point,
            x=point,
            groups=1,
            code=code,
            epilogue=Epilogue(0 * one, -(one << 15), one, 0 * one, -128, 127),
            input=Fixed(16, False, 1.0),
            output=Fixed(8, True, 1.0),
        )
