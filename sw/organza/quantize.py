"""Post-training quantisation of folded layers to a `Program`.

Layers are quantised in order, each against the integers that its quantised predecessors make of the
calibration inputs. Weights have a scale per output channel, activations one per tensor, chosen for
the least squared error. Three corrections cost nothing on the chip: channels between two layers are
equalised (a scale moved from one weight tensor to the next), and gain and bias of every channel are
fitted by least squares to the floating-point sums, because each channel has a multiplier and a bias
anyway.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from organza.calibration import METHODS, activation_scale
from organza.codes import CODES, Binary, Code, Flexpoint, Linear
from organza.codes.code import by_channel, from_channels
from organza.codes.flexpoint import MANAGED
from organza.codes.spec import CodeSpec
from organza.epilogue import MAX_SHIFT, Epilogue
from organza.equalise import equalise
from organza.errors import UserError
from organza.exponents import covering_exponent
from organza.float_layers import activate, linear, scale_outputs
from organza.fold import FloatLayer
from organza.formats import Fixed, Flex, Format, Sign
from organza.manage import manage
from organza.program import Convolve, Program
from organza.reference import BATCH, accumulate

ACTIVATION_BITS = 8
# 2048 entries of 8 bits fill one 16-kbit block RAM of the common FPGA families.
TABLE_BITS = 11
CALIBRATION_IMAGES = 256
# A bias beyond this many weight steps of 8-bit inputs would widen every lane's accumulator for one channel.
_BIAS_BITS = 24
# Sums of 16-bit factors are wide already.
_FLEX_BIAS_BITS = 44
_LEAST_SCALE = 2.0**-200
# Other inputs may reach further than the calibration's: twice, as Autoflex has it (alpha = 2).
_FLEX_HEADROOM = 2.0


def quantize(
    layers: Sequence[FloatLayer],
    inputs: np.ndarray,
    *,
    weight_bits: int = 8,
    calibration: str = "mse",
    codes: Mapping[str, CodeSpec] | None = None,
) -> Program:
    """Integer Program of `layers`, calibrated on real `inputs` (N, ci, height, width).

    `weight_bits` is 2…16; `codes` gives layers by name another weight code. `calibration` chooses
    the clipping of activations: "mse" (least squared error), "percentile" (99.99 %) or "max". The
    first 256 inputs are used.

    Raises `UserError` for values that cannot be quantised, TypeError / ValueError for wrong
    arguments.
    """
    if not layers:
        raise ValueError("layers must not be empty")
    if isinstance(weight_bits, bool) or not isinstance(weight_bits, int):
        raise TypeError(f"weight_bits must be an integer, not {weight_bits!r}")
    if not 2 <= weight_bits <= 16:
        raise ValueError(f"weight_bits must be between 2 and 16, not {weight_bits}")
    if calibration not in METHODS:
        raise UserError(f"calibration must be one of {', '.join(METHODS)}, not {calibration!r}")
    x = np.asarray(inputs, dtype=np.float64)[:CALIBRATION_IMAGES]
    if x.ndim != 4 or x.shape[1:] != layers[0].input_shape or not len(x):
        raise UserError(
            f"calibration inputs must have shape (N, {', '.join(map(str, layers[0].input_shape))}) "
            f"with N ≥ 1, not {x.shape}"
        )
    if not np.isfinite(x).all():
        raise UserError("calibration inputs must be finite, but hold NaN or an infinity")
    for layer in layers:
        for what, values in (("weights", layer.weights), ("bias", layer.bias)):
            if not np.isfinite(values).all():
                raise UserError(f"{layer.name}: {what} must be finite after folding, but are not")

    # Single precision is far finer than 8 bits, and twice as fast.
    real = torch.from_numpy(x.astype(np.float32))
    layers = [layer.folded() for layer in layers]
    specs = [
        layer.coded.spec if layer.coded else (codes or {}).get(layer.name, CodeSpec("linear", {"bits": weight_bits}))
        for layer in layers
    ]
    if _wants_signs(layers, specs, 0):
        raise UserError(f"{layers[0].name}: binary:1 must not be the code of the first layer, whose input is the latents")
    if _wants_flex(layers, specs, 0):
        fmt: Format = _flex(layers[0].name, x)
    else:
        fixed = Fixed(ACTIVATION_BITS, bool((x < 0).any()), 1.0)
        fmt = dataclasses.replace(fixed, scale=activation_scale(x, fixed, calibration))
    integers = fmt.quantize(x)
    nodes: list[Convolve] = []
    for index, layer in enumerate(layers):
        sums = linear(layer, real)
        values = activate(layer, sums)
        output: Any = layer.output or _output_format(layer)
        if layer.passthrough or layer.output:
            pass
        elif _wants_flex(layers, specs, index + 1):
            output = _flex(layer.name, values.numpy())
        elif _wants_signs(layers, specs, index + 1):
            output = Sign(float((values - values.mean((0, 2, 3), keepdim=True)).abs().mean()) or 1.0)
        elif layer.activation.kind != "slope":
            pass
        elif index + 1 < len(layers):
            factors, scale = equalise(
                layer,
                layers[index + 1],
                values.numpy(),
                output,
                weight_bits=weight_bits,
                calibration=calibration,
            )
            output = dataclasses.replace(output, scale=scale)
            layer, layers[index + 1] = _move(factors, layer, layers[index + 1])
            scaling = torch.from_numpy(factors).float()[:, None, None]
            sums = sums * scaling
            values = values * scaling
        else:
            scale = activation_scale(values.numpy(), output, calibration)
            output = dataclasses.replace(output, scale=scale)
        if layer.passthrough:
            node = _passthrough(layer, fmt, weight_bits)
            integers = Program((node,)).run(integers)
        else:
            node, integers = quantize_layer(layer, fmt, output, integers, sums.numpy(), specs[index])
        nodes.append(node)
        real = values
        if not layer.passthrough:
            fmt = output
    program = Program(tuple(nodes))
    managed = [node.name for k, node in enumerate(nodes) if k and type(node.input) is Flex and _manages(layers, specs, k)]
    try:
        return manage(program, managed)
    except ValueError as error:
        raise UserError(f"{error}; give it frozen exponents") from error


def _output_format(layer: FloatLayer) -> Any:
    """Bits and sign of a layer's results; the scale of tanh and sigmoid is known, others get 1."""
    signed = not layer.activation.unsigned
    made = Fixed(layer.bits or ACTIVATION_BITS, signed, 1.0)
    return made if layer.activation.kind == "slope" else dataclasses.replace(made, scale=1 / made.high)


def _wants_flex(layers: Sequence[FloatLayer], specs: Sequence[CodeSpec], index: int) -> bool:
    """Whether layer `index` reads flexpoint tensors; layers that only move values take what the next one wants.

    A joint has its consumer's format. What leaves the last layer is flexpoint if that layer is, unless tanh or sigmoid
    make a picture of it.
    """
    for layer, spec in zip(layers[index:], specs[index:], strict=True):
        if not layer.passthrough:
            return spec.kind == Flexpoint.kind
    return layers[-1].activation.kind == "slope" and specs[-1].kind == Flexpoint.kind


def _manages(layers: Sequence[FloatLayer], specs: Sequence[CodeSpec], index: int) -> bool:
    """Whether the exponent of what layer `index` reads is picked at run time; layers that only move values want what the next does."""
    for layer, spec in zip(layers[index:], specs[index:], strict=True):
        if not layer.passthrough:
            return spec.options.get("exponents") == MANAGED
    return False


def _wants_signs(layers: Sequence[FloatLayer], specs: Sequence[CodeSpec], index: int) -> bool:
    """Whether layer `index` reads signs. Raises `UserError` for one that only moves values in front of it."""
    for number, (layer, spec) in enumerate(zip(layers[index:], specs[index:], strict=True)):
        if not layer.passthrough:
            spec = spec.options.get("inner", spec)
            signs = spec.kind == Binary.kind and spec.options.get("activations") == 1
            if signs and number:
                raise UserError(f"{layer.name}: binary:1 must follow a layer with weights, not {layers[index].name}")
            return signs
    return False


def _flex(name: str, values: np.ndarray) -> Flex:
    """The format for `values` with room for twice as much. Raises `UserError` beyond what exponents can say."""
    try:
        return Flex(covering_exponent(float(np.abs(values).max()), headroom=_FLEX_HEADROOM))
    except ValueError as error:
        raise UserError(f"{name}: {error}; give it another weight code than flexpoint") from error


def _move(
    factors: np.ndarray, layer: FloatLayer, following: FloatLayer
) -> tuple[FloatLayer, FloatLayer]:
    """Both layers, the channels between them times `factors`; the function is unchanged."""
    if (factors == 1).all():
        return layer, following
    coded = layer.coded and dataclasses.replace(layer.coded, scales=layer.coded.scales * factors)
    return (
        dataclasses.replace(
            layer,
            weights=scale_outputs(layer.weights, layer.groups, factors),
            bias=layer.bias * factors,
            coded=coded,
        ),
        dataclasses.replace(following, weights=following.weights / factors[:, None, None, None]),
    )


def _sums(node: Convolve, integers: np.ndarray) -> np.ndarray:
    """Exact integer sums without bias, (N, co, height, width)."""
    x = integers.transpose(0, 2, 3, 1)
    parts = [accumulate(node, x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    return np.concatenate(parts).transpose(0, 3, 1, 2)


def _encode(layer: FloatLayer, fmt: Any, power: np.ndarray, spec: CodeSpec) -> tuple[Code, np.ndarray]:
    """The layer's code and its scales (co,), not zero, whose bias is an integer of not too many bits."""
    encoder = CODES[spec.kind]
    # Channels without weights, or nearly so, still have a bias to represent.
    least = np.abs(layer.bias) / fmt.scale
    if layer.coded:
        code, scales = layer.coded.code, layer.coded.scales
        # The scale of a channel without weights only matters to its bias, and normalisation may have made it anything.
        dead = ~by_channel(code.integers(), layer.groups).any(1)
        scales = np.where(dead, least * 2.0**-_BIAS_BITS, scales)
        # A normalisation that training has made 0 leaves a scale of 0; what stands for it must not show.
        least = np.maximum(least * 2.0**-_FLEX_BIAS_BITS, _LEAST_SCALE)
        return code, np.where(np.abs(scales) < least, np.copysign(least, scales), scales)
    try:
        code, scales = encoder.encode(layer.weights, layer.groups, power, **spec.options)
        if isinstance(code, Flexpoint):
            least = least * 2.0**-_FLEX_BIAS_BITS
            if (scales < least).any():
                floor = int(np.frexp(least.max())[1])
                code, scales = encoder.encode(layer.weights, layer.groups, power, least=floor, **spec.options)
        else:
            least = least * 2.0 ** -(_BIAS_BITS + max(0, fmt.bits - ACTIVATION_BITS))
            if (scales < least).any():
                rows = by_channel(layer.weights, layer.groups)
                kept = np.where((scales < least)[:, None], 0, rows)
                kept = from_channels(kept, layer.weights.shape, layer.groups)
                code, scales = encoder.encode(kept, layer.groups, power, **spec.options)
    except ValueError as error:
        raise UserError(f"{layer.name}: {error}") from error
    scales = np.maximum(scales, least)
    scales[scales == 0] = scales.max() if scales.any() else 1.0
    return code, scales


def quantize_layer(
    layer: FloatLayer,
    fmt: Any,
    output: Any,
    integers: np.ndarray,
    sums: np.ndarray,
    spec: CodeSpec,
) -> tuple[Convolve, np.ndarray]:
    """One node from format `fmt` to `output`, made to match the real `sums` of the layer; and its
    results.

    `integers` (N, ci, height, width) are what the node will read, `sums` (N, co, height, width)
    what the layer makes before its activation.
    """
    power = (fmt.dequantize(integers) ** 2).mean((0, 2, 3))
    code, scales = _encode(layer, fmt, power, spec)
    flex = isinstance(code, Flexpoint)
    ones = np.ones(layer.co, np.int64)
    draft = Convolve(
        name=layer.name,
        y=layer.y,
        x=layer.x,
        groups=layer.groups,
        code=code,
        epilogue=Epilogue(0 * ones, ones, ones, 0 * ones, 0, 0),
        input=fmt,
        output=Fixed(ACTIVATION_BITS, True, 1.0),
    )
    unit = fmt.scale * scales
    made = _sums(draft, integers)
    if flex and isinstance(fmt, Flex):
        gain, offset = np.ones(layer.co), layer.bias  # finer than what a fit could find, and multipliers stay 2**14
    else:
        gain, offset = _fit(made * unit[:, None, None], sums)
    bias = np.round(offset / (gain * unit)).astype(np.int64)
    if isinstance(output, Sign):
        # Reached from below, or from above where the scale is negative.
        threshold = (_thresholds(layer, sums) - offset) / (gain * unit)
        least = np.where(unit > 0, np.ceil(threshold), np.floor(threshold)).astype(np.int64)
        epilogue = Epilogue.sign(-least, np.sign(unit).astype(np.int64))
        node = dataclasses.replace(draft, epilogue=epilogue, output=output)
        return node, epilogue.compute(made.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    low, high, step, table = _steps(layer, sums, output)
    ratio = gain * unit / step
    slopes = layer.slopes if layer.activation.kind == "slope" else np.ones(layer.co)
    positive, negative, shift = multipliers(ratio, slopes)
    epilogue = Epilogue(bias, positive, negative, shift, low, high, table)
    node = dataclasses.replace(draft, epilogue=epilogue, output=output)
    return node, epilogue.compute(made.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _thresholds(layer: FloatLayer, sums: np.ndarray) -> np.ndarray:
    """For every channel the smallest of the `sums` whose activation is not below the channel's mean.

    Below 0 where training has made the results signs.
    """
    if layer.output:
        return np.zeros(layer.co)
    values = activate(layer, torch.from_numpy(sums)).numpy()
    above = values >= values.mean((0, 2, 3), keepdims=True)
    return np.where(above, sums, np.inf).min((0, 2, 3))


def _fit(got: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-channel gain and offset with the least squared error: wanted ≈ gain * got + offset."""
    got = got.transpose(1, 0, 2, 3).reshape(got.shape[1], -1)
    wanted = wanted.transpose(1, 0, 2, 3).reshape(len(got), -1)
    centre, target = got.mean(1), wanted.mean(1)
    variance = ((got - centre[:, None]) ** 2).mean(1)
    covariance = ((got - centre[:, None]) * (wanted - target[:, None])).mean(1)
    # Few calibration values or a channel that never moves would make the gain meaningless.
    usable = (variance > 0) & (got.shape[1] >= 16)
    gain = np.where(usable, covariance / np.where(usable, variance, 1), 1.0)
    gain = np.where((gain > 0.8) & (gain < 1.25), gain, 1.0)
    return gain, target - gain * centre


def _steps(
    layer: FloatLayer, sums: np.ndarray, output: Any
) -> tuple[int, int, float, np.ndarray | None]:
    """Clamp bounds of q, the real value of its step, and the table that makes it `output`."""
    if layer.activation.kind == "slope":
        return output.low, output.high, output.scale, None
    half = 1 << (TABLE_BITS - 1)
    tanh = layer.activation.kind == "tanh"
    # Where the rounded function no longer changes: for 8 bits atanh(126.5 / 127) = 3.12, logit(254.5 / 255) = 6.24.
    edge = 1 - min(output.scale, 1.0) / 2
    saturation = math.ceil(100 * (math.atanh(edge) if tanh else math.log(edge / (1 - edge)))) / 100
    # Other inputs may reach a little further than the calibration's.
    reach = min(max(1.1 * float(np.abs(sums).max()), 2.0**-10), saturation)
    step = reach / (half - 1)
    argument = np.arange(-half, half) * step
    table = np.tanh(argument) if tanh else 1 / (1 + np.exp(-argument))
    return -half, half - 1, step, output.quantize(table)


def multipliers(ratio: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers (positive, negative, shift) with positive / 2**shift ≈ ratio, negative ≈ ratio *
    slope; a negative ratio has them the other way round, because its sums are negative where real ones are positive.

    The larger of the two lies in [2**14, 2**15) where the shift allows: 15 significant bits.
    """
    largest = np.abs(ratio) * np.maximum(1, np.abs(slopes))
    # frexp: largest = f * 2**e with f in [0.5, 1), so that f * 2**15 is in [2**14, 2**15).
    shift = 15 - np.frexp(largest)[1].astype(np.int64)
    # Rounding 32767.5 up would leave the range.
    shift -= np.round(np.ldexp(largest, shift)) >= 1 << 15
    # With a ratio beyond 32767 a single step of the sums clamps, and 32767 makes it clamp as well.
    shift = np.clip(shift, 0, MAX_SHIFT)
    top = (1 << 15) - 1
    above, below = np.where(ratio < 0, slopes, 1), np.where(ratio < 0, 1, slopes)
    positive, negative = (
        np.clip(np.round(np.ldexp(ratio * factor, shift)), -top, top).astype(np.int64) for factor in (above, below)
    )
    return positive, negative, shift


def _passthrough(layer: FloatLayer, fmt: Format, weight_bits: int) -> Convolve:
    """A layer that moves values: weights 0 and 1, multiplier 1, the same format on both sides."""
    ones = np.ones(layer.co, np.int64)
    return Convolve(
        name=layer.name,
        y=layer.y,
        x=layer.x,
        groups=layer.groups,
        code=Linear(layer.weights.astype(np.int64), weight_bits),
        epilogue=Epilogue(0 * ones, ones << 14, ones << 14, 14 * ones, fmt.low, fmt.high),
        input=fmt,
        output=fmt,
    )
