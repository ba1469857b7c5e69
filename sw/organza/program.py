"""The Program: the integer meaning of a generator, and the only thing that software and hardware share.

A Program is a chain of Convolve nodes. Each carries a weight code and an epilogue; tensors between nodes have a `Format`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from organza.checks import check_integer
from organza.codes import Code
from organza.epilogue import MAX_BIAS_BITS, MAX_SHIFT, MULTIPLIER_BITS, Epilogue
from organza.exponents import History
from organza.formats import Format, Managed, Sign
from organza.geometry import Axis
from organza.managed_epilogue import ManagedEpilogue

if TYPE_CHECKING:
    from organza.reference import Trace

# Of every node the history of its output's exponents, None for a tensor that is not managed.
State = tuple[History | None, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolve:
    """Every linear layer: convolution, transposed convolution or fully connected.

    Parameters
    ----------
    name : where it came from, e.g. the module path; unique in a Program.
    y, x : vertical and horizontal `Axis`.
    groups : channel groups; divides both channel counts.
    code : weight code; integers of shape (ci, co // groups, ky, kx).
    epilogue : requantisation, one entry per output channel; a `ManagedEpilogue` if input or output is `Managed`.
    input, output : formats of the tensors read and written.
    loads : weights and the epilogue's constants are loaded at run time, biases of so many bits; None if they are in the bitstream.
        Sums are then as wide as the worst weights need, see `organza.loadable`.

    Raises
    ------
    TypeError, ValueError : naming the node and the rule that does not hold.
    """

    name: str
    y: Axis
    x: Axis
    groups: int
    code: Code
    epilogue: Epilogue
    input: Format
    output: Format
    loads: int | None = None

    def __post_init__(self) -> None:
        ci, cog, ky, kx = self.code.shape
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"node name must be text, not {self.name!r}")
        if isinstance(self.groups, bool) or not isinstance(self.groups, int):
            raise TypeError(f"{self.name}: groups must be an integer, not {self.groups!r}")
        if self.groups < 1 or ci % self.groups:
            raise ValueError(f"{self.name}: groups must divide the {ci} input channels, not {self.groups}")
        if self.code.groups not in (None, self.groups):
            raise ValueError(f"{self.name}: code is for {self.code.groups} groups, not {self.groups}")
        ti, to = self.code.lane_shape
        if (ti or 1) > ci // self.groups or (to or 1) > cog:
            raise ValueError(f"{self.name}: code is for {ti or 'any'}×{to or 'any'} lanes, a group has {ci // self.groups}×{cog} channels")
        if not self.code.lanes_for(self.input):
            need = self.code.needs(self.code.arithmetics[0], self.input)
            raise ValueError(f"{self.name}: {self.code.kind} code must have {need}, not {self.input}")
        if (ky, kx) != (self.y.kernel, self.x.kernel):
            raise ValueError(
                f"{self.name}: weights must be {self.y.kernel}×{self.x.kernel} taps, not {ky}×{kx}"
            )
        if len(self.epilogue.bias) != self.co:
            raise ValueError(
                f"{self.name}: epilogue must have {self.co} entries, not {len(self.epilogue.bias)}"
            )
        if not self.output.holds(self.epilogue.values):
            low, high = self.epilogue.range
            raise ValueError(
                f"{self.name}: epilogue range {low}…{high} must fit the output format "
                f"{self.output.low}…{self.output.high}{' (without 0)' if isinstance(self.output, Sign) else ''}"
            )
        self._check_exponents()
        self._check_loads()
        if self.sum_bound.max() >= 1 << 52:
            raise ValueError(f"{self.name}: sums must stay below 2**52, not reach {self.sum_bound.max()}")
        # Python integers: this product is what may not fit 64 bits.
        most = np.abs(self.multipliers).max(0) if self.loads is None else np.full(self.co, 1 << (MULTIPLIER_BITS - 1))
        factors = np.maximum(1, most).tolist()
        widest = max(s * m for s, m in zip(self.sum_bound.tolist(), factors, strict=True))
        if widest >= 1 << 62:
            raise ValueError(f"{self.name}: products must stay below 2**62, not reach {widest}")

    def _check_loads(self) -> None:
        """Raise TypeError / ValueError unless the weights can be loaded and the biases fit, if they are."""
        if self.loads is None:
            return
        check_integer(f"{self.name}: bits of a loaded bias", self.loads, 1, MAX_BIAS_BITS)
        managed = isinstance(self.epilogue, ManagedEpilogue)
        if managed:
            raise ValueError(f"{self.name}: weights of layers with managed exponents cannot be loaded at run time")
        if not self.code.loads:
            raise ValueError(f"{self.name}: {self.code.kind} weights cannot be loaded at run time")
        bound = 1 << (self.loads - 1)
        least, most = int(self.epilogue.bias.min()), int(self.epilogue.bias.max())
        if least < -bound or most >= bound:
            raise ValueError(f"{self.name}: bias must be within the {self.loads} bits of a loaded one, not {least}…{most}")

    def _check_exponents(self) -> None:
        """Raise TypeError / ValueError unless every exponent that the formats allow has a bias and shifts in range."""
        managed = isinstance(self.input, Managed) or isinstance(self.output, Managed)
        if managed != isinstance(self.epilogue, ManagedEpilogue):
            wanted = "a ManagedEpilogue" if managed else "an Epilogue without exponents"
            raise TypeError(f"{self.name}: formats {self.input} and {self.output} need {wanted}")
        if not managed:
            return
        form = self.output
        if isinstance(form, Managed) and (self.epilogue.range != (form.low, form.high) or self.epilogue.table is not None):
            raise ValueError(f"{self.name}: epilogue of a managed output must clamp to {form.low}…{form.high} and have no table")
        try:
            for e in self.input_exponents:
                self.epilogue.aligned_bias(e)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        for e in self.input_exponents:
            low, high = self.output_exponents(e)
            if low > high:
                raise ValueError(
                    f"{self.name}: shifts must be between 0 and {MAX_SHIFT} at every exponent, but are not at {e} of the input"
                )

    @property
    def input_exponents(self) -> range:
        """Exponents that an image's input can have; 0 for an input that is not managed."""
        return range(self.input.rule.low, self.input.rule.high + 1) if isinstance(self.input, Managed) else range(1)

    def output_exponents(self, e_in: int) -> tuple[int, int]:
        """Smallest and largest exponent of the output of an image whose input has `e_in`; both 0 if it is not managed."""
        low, high = (self.output.rule.low, self.output.rule.high) if isinstance(self.output, Managed) else (0, 0)
        if isinstance(self.epilogue, ManagedEpilogue):
            least, most = self.epilogue.outputs(e_in)
            low, high = max(low, least), min(high, most)
        return low, high

    @property
    def multipliers(self) -> np.ndarray:
        """Positive and negative multipliers, shape (2, co)."""
        return np.stack([self.epilogue.positive, self.epilogue.negative])

    @property
    def ci(self) -> int:
        """Input channels."""
        return self.code.shape[0]

    @property
    def co(self) -> int:
        """Output channels."""
        return self.code.shape[1] * self.groups

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(ci, height, width)"""
        return self.ci, self.y.size, self.x.size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(co, height, width)"""
        return self.co, self.y.output, self.x.output

    @property
    def macs(self) -> int:
        """Effectual MACs per image: weights that were not pruned × positions where they meet a real input."""
        return int(self.y.uses @ self.code.effectual() @ self.x.uses)

    @property
    def macs_output_counted(self) -> int:
        """MACs per image counted at output positions (inserted zeros and padding included)."""
        ci, cog, ky, kx = self.code.shape
        return ci * cog * ky * kx * self.y.output * self.x.output

    @cached_property
    def dot_bound(self) -> np.ndarray:
        """Largest |acc| that inputs of the input format can cause, shape (co,); with whatever weights, if they are loaded."""
        if self.loads is not None:
            ci, _, ky, kx = self.code.shape
            most = ci // self.groups * ky * kx * self.code.loaded_magnitude * self.input.magnitude
            return np.full(self.co, most + self.code.sum_error(self.groups), np.int64)
        weights = np.abs(self.code.integers())
        ci, cog, ky, kx = weights.shape
        per_output = weights.reshape(self.groups, ci // self.groups, cog, ky, kx).sum((1, 3, 4)).reshape(-1)
        return per_output * self.input.magnitude + self.code.sum_error(self.groups)

    @cached_property
    def sum_bound(self) -> np.ndarray:
        """Largest |acc + bias| that inputs of the input format can cause, shape (co,); with whatever is loaded, too."""
        if self.loads is not None:
            return self.dot_bound + (1 << (self.loads - 1))
        # The bias is largest, in steps of the sums, at the smallest exponent.
        return self.dot_bound + np.abs(self.epilogue.aligned_bias(self.input_exponents[0]))

    @property
    def accumulator_bits(self) -> int:
        """Signed accumulator width that cannot overflow, bias included."""
        return int(self.sum_bound.max()).bit_length() + 1

    @property
    def dot_bits(self) -> int:
        """The same without the bias."""
        return int(self.dot_bound.max()).bit_length() + 1

    @property
    def stored_bits(self) -> int:
        """Bits the chip must hold: weights, bias, multipliers, shifts and the table."""
        return self.code.stored_bits + self.constant_bits

    @property
    def buffer_bits(self) -> int:
        """The same with the weights as they are after any expansion, for one lane or those that the code is made for."""
        ti, to = self.code.lane_shape
        return self.code.buffer_bits(ti or 1, to or 1, self.groups) + self.constant_bits

    @property
    def constant_bits(self) -> int:
        """The part of both that is not weights."""
        e = self.epilogue
        table = 0 if e.table is None else len(e.table) * self.output.bits
        if isinstance(e, ManagedEpilogue):  # base shifts have a sign and 7 bits, and there is one exponent for the biases
            return self.co * (e.bias_bits + 2 * 16 + 8) + 7 + table
        return self.co * (self.accumulator_bits + 2 * 16 + 6) + table


@dataclass(frozen=True, eq=False)
class Program:
    """A chain of nodes.

    Raises ValueError when it is empty, a name repeats, or neighbours disagree on shape or format.
    """

    nodes: tuple[Convolve, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        if not self.nodes:
            raise ValueError("Program must have at least one node")
        for what, made in (("input", self.input), ("output", self.output)):
            if isinstance(made, (Sign, Managed)):
                kind = "signs" if isinstance(made, Sign) else "managed"
                message = f"Program {what} must not be {kind}; only tensors between nodes can be"
                raise ValueError(message)  # noqa: TRY004
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError(f"Program node names must be unique, not {names}")
        for left, right in zip(self.nodes, self.nodes[1:], strict=False):
            if left.output_shape != right.input_shape:
                raise ValueError(
                    f"{right.name}: input must be {left.output_shape} as {left.name} makes it, "
                    f"not {right.input_shape}"
                )
            if left.output != right.input:
                raise ValueError(
                    f"{right.name}: input format must be {left.output} as {left.name} makes it, "
                    f"not {right.input}"
                )

    @property
    def input(self) -> Format:
        """Format of the input tensor."""
        return self.nodes[0].input

    @property
    def output(self) -> Format:
        """Format of the output tensor."""
        return self.nodes[-1].output

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        return self.nodes[0].input_shape

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one output."""
        return self.nodes[-1].output_shape

    @property
    def loads(self) -> bool:
        """Some weights are loaded at run time."""
        return any(node.loads is not None for node in self.nodes)

    @property
    def macs(self) -> int:
        """Effectual MACs per image."""
        return sum(node.macs for node in self.nodes)

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Input integers, int64, of real inputs of shape (N, channels, height, width)."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 4 or x.shape[1:] != self.input_shape:
            raise ValueError(f"Inputs must have shape (N, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        return self.input.quantize(x)

    def dequantize(self, y: np.ndarray) -> np.ndarray:
        """Real outputs of integer outputs."""
        return self.output.dequantize(y)

    @property
    def start(self) -> State:
        """What a chip knows of exponents after reset."""
        return tuple(node.output.rule.start() if isinstance(node.output, Managed) else None for node in self.nodes)

    @overload
    def run(self, x: np.ndarray) -> np.ndarray: ...

    @overload
    def run(self, x: np.ndarray, state: State) -> tuple[np.ndarray, State]: ...

    def run(self, x: np.ndarray, state: State | None = None) -> np.ndarray | tuple[np.ndarray, State]:
        """Integer outputs (N, co, height, width) of integer inputs (N, ci, height, width); the reference.

        With a `state`, the outputs and the state after them. It matters with managed exponents only, where images are in
        order; without one they come after `start`.
        """
        made = self.trace(x, state)
        return made.layers[-1] if state is None else (made.layers[-1], made.state)

    def run_layers(self, x: np.ndarray) -> list[np.ndarray]:
        """Integer outputs of every node, in order, from `start`."""
        return self.trace(x).layers

    def trace(self, x: np.ndarray, state: State | None = None) -> Trace:
        """Everything that the reference knows about integer inputs; see `organza.reference.trace`."""
        from organza.reference import trace

        return trace(self, x, self.start if state is None else state)
