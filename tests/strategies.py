"""Random small layers, inputs and Programs that every test of a layer shares.

Everything is drawn from one numpy generator, so a seed names a case:

    node = random_convolve(np.random.default_rng(7))
    x = random_input(np.random.default_rng(8), node, 2)

The defaults keep a layer tiny, because RTL tests pay for every issue.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from organza.adders import Adder
from organza.codes import (
    CODES,
    Affine,
    Binary,
    BlockHash,
    Code,
    Codebook,
    Flexpoint,
    Hashed,
    Huffman,
    Linear,
    MultiHash,
    PowerOfTwo,
    RunLength,
    Sparse,
    Ternary,
    serial,
    sparse,
)
from organza.codes.multihash import side_of
from organza.epilogue import MAX_SHIFT, Epilogue
from organza.formats import Fixed, Flex, Format, Sign
from organza.geometry import Axis
from organza.manage import manage, with_rules
from organza.program import Convolve, Program

GEOMETRIES = ("transposed", "convolution", "mixed", "point")
EPILOGUES = ("identity", "relu", "leaky", "prelu", "free", "table")


def random_axis(
    rng: np.random.Generator,
    *,
    geometry: str | None = None,
    size: int | None = None,
    max_size: int = 5,
    max_output: int = 8,
    max_kernel: int = 5,
    max_stride: int = 3,
    tapless: bool = True,
) -> Axis:
    """One axis with 1…`max_output` outputs; crops run from output padding to more than the kernel.

    `geometry`: "transposed" (up), "convolution" (down), "mixed" (both) or "point" (1 tap a
    position, as in a Linear or 1×1 layer); None draws one. `size` fixes the input positions.
    `tapless=False` leaves out an axis where no position at all has a tap; single positions without
    a tap stay in.
    """
    while True:
        kind = geometry or str(rng.choice(GEOMETRIES, p=(0.5, 0.3, 0.1, 0.1)))
        n = size or int(rng.integers(1, max_size + 1))
        kernel = 1 if kind == "point" else int(rng.integers(1, max_kernel + 1))
        up = int(rng.integers(1, max_stride + 1)) if kind in ("transposed", "mixed") else 1
        down = int(rng.integers(1, max_stride + 1)) if kind in ("convolution", "mixed") else 1
        if kind == "point":
            before = after = 0
        else:
            # Mostly inside the kernel, where every position has taps; the rest is degenerate.
            low, high = (-up - 1, kernel + 2) if rng.random() < 0.3 else (0, kernel)
            before, after = (int(rng.integers(low, high)) for _ in range(2))
        try:
            axis = Axis(
                size=n, kernel=kernel, up=up, down=down, crop_before=before, crop_after=after
            )
        except ValueError:
            continue
        if axis.output <= max_output and (tapless or axis.tap_count):
            return axis


def random_epilogue(
    rng: np.random.Generator,
    sum_bound: np.ndarray,
    output: Format,
    *,
    kind: str | None = None,
    shift: int | None = None,
) -> Epilogue:
    """Requantisation of sums within ±`sum_bound` (one entry per channel) to `output`.

    `kind`: one of EPILOGUES ("free": two unrelated multipliers, "table": up to 12 bits of domain);
    None draws one. Most channels get a multiplier and shift that spread the sums over the output
    range with some clamping, the rest an arbitrary shift 0…47; `shift` fixes all of them.
    Roughly one channel in twelve has a bias that dwarfs the sums, the only way to see a
    shift of 47 give anything but 0 or -1.
    """
    kind = kind or str(rng.choice(EPILOGUES))
    co = len(sum_bound)
    low, high, table = output.low, output.high, None
    if kind == "table":
        bits = int(rng.integers(1, 13))
        entries = int(rng.integers(1 << (bits - 1), 1 << bits)) + 1
        low = -int(rng.integers(0, entries + 1))
        high = low + entries - 1
        table = rng.integers(output.low, output.high + 1, entries)
    elif rng.random() < 0.25:
        low, high = sorted(int(v) for v in rng.integers(output.low, output.high + 1, 2))
    bias, positive, shifts = (np.zeros(co, np.int64) for _ in range(3))
    for c, bound in enumerate(np.maximum(sum_bound, 1)):
        reach = int(bound) >> int(rng.integers(0, 5))
        bias[c] = rng.integers(-reach, reach + 1)
        free = rng.random() < 0.3
        shifts[c] = shift if shift is not None else int(rng.integers(0, MAX_SHIFT + 1))
        if rng.random() < 1 / 12 and shifts[c] > 24:
            bias[c] = int(rng.integers(-(1 << 40), 1 << 40))
            reach = 1 << 40
        if free:
            positive[c] = rng.integers(-(1 << 15), 1 << 15)
            continue
        # v * m / 2**shift should reach about the output range for sums of about `reach`.
        span = max(high - low, 1)
        if shift is None:
            top = int(rng.integers(1, 1 << int(rng.integers(1, 16))))
            shifts[c] = np.clip(int(np.log2(max(top * (reach + 1) / span, 1))), 0, MAX_SHIFT)
            positive[c] = top
        else:
            positive[c] = np.clip(span * 2.0 ** int(shifts[c]) / (reach + 1), 1, (1 << 15) - 1)
        if rng.random() < 0.1:
            positive[c] = -positive[c]
    if kind == "relu":
        negative = np.zeros(co, np.int64)
    elif kind == "leaky":
        negative = positive * 13 // 64
    elif kind == "prelu":
        negative = np.round(positive * rng.uniform(-1, 1, co)).astype(np.int64)
    elif kind == "free":
        negative = rng.integers(-(1 << 15), 1 << 15, co)
    else:
        negative = positive.copy()
    return Epilogue(
        bias=bias,
        positive=positive,
        negative=negative,
        shift=shifts,
        low=low,
        high=high,
        table=table,
    )


def random_convolve(
    rng: np.random.Generator,
    *,
    name: str = "layer",
    geometry: str | None = None,
    epilogue: str | None = None,
    shift: int | None = None,
    input: Format | None = None,
    output: Format | None = None,
    input_shape: tuple[int, int, int] | None = None,
    max_channels: int = 5,
    max_size: int = 5,
    max_positions: int = 40,
    max_kernel: int = 5,
    max_stride: int = 3,
    max_macs: int = 4000,
    code: str | None = "linear",
    weight_bits: int = 8,
    groups: bool = True,
    tapless: bool = True,
) -> Convolve:
    """One layer of any geometry: K < S, K mod S ≠ 0, output padding, uneven crops, H ≠ W, groups.

    Parameters
    ----------
    geometry, epilogue : see `random_axis` and `random_epilogue`; None draws them.
    shift : every channel's shift, or None for a mixture over 0…47.
    input, output : formats; None draws 8 bits, signed or unsigned.
    input_shape : (ci, height, width) to continue a chain; None draws one. max_channels, max_size,
    max_positions, max_kernel, max_stride, max_macs : largest input and output
        channels, input side, output positions (height × width), kernel side, up and down, effectual
        MACs.
    code : kind of weight code, see `random_code`; None draws one.
    weight_bits : of a linear code, 2…16. Weights are drawn with zeros, extremes and sometimes a dead channel.
    groups : whether channel groups, depthwise included, may occur.
    tapless : whether a layer in which no position has any tap may occur.
    """
    signed = bool(rng.integers(2))
    input = input or Fixed(8, signed, 2.0 ** -int(rng.integers(4, 8)))
    output = output or Fixed(8, bool(rng.integers(2)), 2.0 ** -int(rng.integers(4, 8)))
    while True:
        ci, height, width = input_shape or (int(rng.integers(1, max_channels + 1)), None, None)
        y, x = (
            random_axis(
                rng,
                geometry=geometry,
                size=size,
                max_size=max_size,
                max_output=max_positions,
                max_kernel=max_kernel,
                max_stride=max_stride,
                tapless=tapless,
            )
            for size in (height, width)
        )
        divisors = [g for g in range(1, ci + 1) if ci % g == 0 and g <= max_channels]
        g = int(rng.choice(divisors)) if groups and rng.random() < 0.4 else 1
        cog = int(rng.integers(1, max_channels // g + 1))
        if y.output * x.output > max_positions or ci * cog * y.tap_count * x.tap_count > max_macs:
            continue
        weights = random_code(rng, (ci, cog, y.kernel, x.kernel), code, weight_bits, groups=g)
        per_output = np.abs(weights.integers()).reshape(g, ci // g, cog, -1).sum((1, 3)).reshape(-1)
        bound = per_output * input.magnitude
        if isinstance(output, Sign):
            made = Epilogue.sign(rng.integers(-bound // 4 - 1, bound // 4 + 1))
        else:
            made = random_epilogue(rng, bound, output, kind=epilogue, shift=shift)
        return Convolve(
            name=name, y=y, x=x, groups=g, code=weights, epilogue=made, input=input, output=output
        )


def random_code(
    rng: np.random.Generator, shape: tuple[int, ...], kind: str | None = None, bits: int | None = None, *,
    groups: int = 1, inside: bool = False,
) -> Code:
    """Random weights in the code `kind` (a key of `organza.codes.CODES`, None draws one), bits and centroids drawn too.

    "approximate" is binary with approximate adders, for activations of 8 bits or more.
    inside : of another code, which not every way to store the weights allows.
    """
    kind = kind or str(rng.choice(list(CODES)))
    if kind == "linear":
        bits = bits or int(rng.integers(2, 17))
        return Linear(_weights(rng, shape, bits), bits)
    if kind == "affine":
        bits = int(rng.integers(1, 9))
        fraction = int(rng.integers(0, 9))
        offset = int(rng.integers(-(1 << 7), 1 << (bits + fraction)))
        return Affine(rng.integers(0, 1 << bits, shape), bits, offset, fraction)
    if kind == "power":
        bits = int(rng.integers(2, 6))
        exponents = rng.integers(0, (1 << (bits - 1)) - 1, shape)
        return PowerOfTwo(rng.integers(-1, 2, shape) << exponents, bits)
    if kind == "ternary":
        return Ternary(rng.integers(-1, 2, shape), 4 if inside else int(rng.integers(4, 6)))
    if kind == "binary":
        return Binary(rng.choice([-1, 1], shape))
    if kind == "approximate":  # binary
        adder = Adder(str(rng.choice(["loa", "notcarry"])), int(rng.integers(1, 9)))
        return Binary(rng.choice([-1, 1], shape), adder, int(rng.integers(1, shape[0] // groups + 1)))
    if kind == "flexpoint":
        return Flexpoint(_weights(rng, shape, 16), -int(rng.integers(0, 32)))
    if kind == "codebook":
        count = int(rng.integers(2, 20))
        centroids = np.sort(rng.choice(np.arange(-128, 128), count, replace=False))
        return Codebook(rng.integers(0, count, shape), centroids)
    if kind == "sparse":
        inner = random_code(rng, shape, str(rng.choice(sparse.INNER)), bits, inside=True)
        index = str(rng.choice(("bitmap", "relative")))
        return Sparse(inner, _mask(rng, shape), int(rng.integers(2, 17)), index, int(rng.integers(2, 9)))
    if kind in ("huffman", "rle"):
        inner = random_code(rng, shape, str(rng.choice(serial.INNER)), inside=True)
        return Huffman(inner) if kind == "huffman" else RunLength(inner, int(rng.integers(1, 9)))
    if kind == "hashed":
        buckets = rng.integers(-127, 128, int(rng.integers(1, np.prod(shape) + 1)))
        return Hashed(buckets, tuple(int(side) for side in shape), int(rng.integers(0, 1 << 32)))
    if kind == "multihash":
        n, m = side_of(shape), int(rng.integers(1, 4))
        size = tuple(int(side) for side in shape)
        left, right = rng.integers(-127, 128, (n, m)), rng.integers(-127, 128, (m, n))
        return MultiHash(left, right, size, int(rng.integers(0, 12)))
    if kind == "blockhash":
        ti, to = (int(rng.integers(1, min(most, 3) + 1)) for most in (shape[0] // groups, shape[1]))
        rows = rng.integers(-127, 128, (1 << int(rng.integers(0, 4)), to, ti))
        return BlockHash(rows, tuple(int(side) for side in shape), groups)
    raise ValueError(f"no random weights for the code {kind!r}")


def _mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Anything from nothing to everything kept; sometimes whole taps, input or output channels are pruned."""
    mask = rng.random(shape) < rng.choice([0, 0.1, 0.25, 0.5, 0.8, 1], p=[0.05, 0.2, 0.3, 0.2, 0.2, 0.05])
    for axis, size in enumerate(shape):
        if rng.random() < 0.15:
            np.moveaxis(mask, axis, 0)[int(rng.integers(size))] = False
    return mask


def _weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    top = (1 << (bits - 1)) - 1
    weights = rng.integers(-top, top + 1, shape)
    style = rng.random()
    if style < 0.2:
        weights = top * rng.integers(-1, 2, shape)
    elif style < 0.4:
        weights = np.where(rng.random(shape) < 0.6, 0, weights)
    if rng.random() < 0.15:
        weights[:, int(rng.integers(shape[1]))] = 0
    return weights


def random_input(rng: np.random.Generator, node: Convolve | Program, images: int = 1) -> np.ndarray:
    """Integer inputs, int64, shape (images, ci, height, width).

    A third of the images are uniform over the format, a third hold only its extremes and 0, a third
    are one constant extreme, which drives the sums to their bound.
    """
    low, high = node.input.low, node.input.high
    made = []
    for _ in range(images):
        style = int(rng.integers(3))
        if style == 0:
            made.append(rng.integers(low, high + 1, node.input_shape))
        elif style == 1:
            made.append(rng.choice([low, 0, high], node.input_shape))
        else:
            made.append(np.full(node.input_shape, rng.choice([low, high])))
    return np.stack(made).astype(np.int64)


def random_program(rng: np.random.Generator, layers: int = 2, **limits) -> Program:
    """A chain of `layers` nodes named layer0, layer1, …; `limits` go to `random_convolve`."""
    nodes: list[Convolve] = []
    for index in range(layers):
        if nodes:
            limits |= {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape}
        nodes.append(random_convolve(rng, name=f"layer{index}", **limits))
    return Program(tuple(nodes))


def random_managed(rng: np.random.Generator, layers: int = 2, *, code: str | None = "flexpoint", **limits) -> Program:
    """A chain like `random_program` in which every tensor between two nodes has managed exponents; the first may be anything.

    code : of all nodes but the first, None draws one for each. Rules start anywhere, far too small or large too.
    """
    nodes: list[Convolve] = []
    for index in range(layers):
        last = index == layers - 1
        more = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        output = None if last and rng.random() < 0.5 else Flex(-int(rng.integers(4, 20)))
        kind = str(rng.choice(["identity", "relu", "leaky", "prelu"])) if not last else None
        node = random_convolve(rng, name=f"layer{index}", code=code if index else None, output=output, epilogue=kind, **more, **limits)
        if not last:
            node = replace(node, epilogue=replace(node.epilogue, low=node.output.low, high=node.output.high))
        nodes.append(node)
    program = manage(Program(tuple(nodes)), window=int(rng.integers(1, 6)), delay=int(rng.integers(1, 4)))
    return with_rules(program, lambda rule: replace(rule, initial=int(rng.integers(rule.low, rule.high + 1))))
