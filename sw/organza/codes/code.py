"""What every weight code is: integers for the reference, fields for the lanes, bits for the bill."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from organza.adders import EXACT

if TYPE_CHECKING:
    from organza.formats import Format


class Code(ABC):
    """Stored weights of one layer, shape (ci, co // groups, ky, kx).

    A *field* is what one lane gets of one weight, an unsigned integer of `field_bits`. A lane word is Ti × To fields.
    Lane words follow each other by co tile and tap (ky, then kx): `tap_issues` words for each, in the order of their
    use. `gathers`: every lane picks its input channel from a ring word, and `word_blocks` says from which.
    """

    kind: ClassVar[str]
    gathers: ClassVar[bool] = False
    loads: ClassVar[bool] = False  # memories and `fixed` are all that an engine needs to know: weights can be loaded at run time
    external: ClassVar[bool] = False  # lane words are fields as they are stored: they can come from a memory beside the chip
    groups: Any = None  # channel groups that the code is made for, None for any
    adder: Any = EXACT  # of the lanes' trees; sums are those of `integers` if it is exact, else `lane_sums`

    @property
    def label(self) -> str:
        """The code in tables: its kind, and what of it changes the sums, as in `--code`."""
        return self.kind

    @property
    def arithmetics(self) -> tuple[str, ...]:
        """Lanes that can run the code, all with the same integers, the planner's choice first."""
        return ("plain",)

    def needs(self, arithmetic: str, activation: Format) -> str | None:
        """What these lanes ask of the layer's input and `activation` is not; None if they can run."""
        return None

    def lanes_for(self, activation: Format) -> list[str]:
        """Those of `arithmetics` that can run on such an input, the planner's choice first."""
        return [name for name in self.arithmetics if self.needs(name, activation) is None]

    def orders(self, arithmetic: str) -> tuple[str, ...]:
        """Orders in which these lanes can run, see `organza.visits`."""
        return ("row", "weight")

    def memories(self, order: str) -> tuple[str, ...]:
        """How an engine may hold the weights in this order, the planner's choice first; see `EnginePlan`."""
        return ("rom",)

    def supplies(self, order: str) -> tuple[str, ...]:
        """Where the weights may come from in this order: `memories`, and what is beside the chip."""
        return (*self.memories(order), *(["external"] if self.external and order == "weight" else []))

    def sum_cycles(self, arithmetic: str) -> int:
        """Cycles for E sums at the end of a tile in which the lanes stand still; 0 if lanes and epilogue work together."""
        return 0

    @property
    def sharing(self) -> str | None:
        """What an engine's lanes are made for, in words: layers with the same can share an engine (`organza.time_sharing`). None
        for a code that keeps the lanes of one layer: they know its table, or weights cannot be left out by a field of 0."""
        return None

    def together(self, arithmetic: str) -> int:
        """Output channels whose lanes share what they are made of; any number can be had, but whole groups are cheaper."""
        return 1

    def most_ti(self, arithmetic: str, channels: int) -> int:
        """Most Ti of these lanes for a group of `channels`: 1, or whatever is of use."""
        return self.span(channels, channels)

    @property
    def lane_shape(self) -> tuple[int | None, int | None]:
        """Ti and To of the engines that can run the code, None for any."""
        return None, None

    def lane_sums(self, x: np.ndarray, channels: slice, ty: int, tx: int) -> np.ndarray:
        """What lanes with an `adder` that is not exact make of one tap, all issues added up: int64 (n, co // groups).

        x : integers (n, ci // groups) of the group that has these input `channels`.
        """
        raise NotImplementedError(f"{self.kind} lanes have exact adders only")

    def sum_error(self, groups: int) -> int:
        """How far a sum can be from that of the integers, all taps together."""
        return 0

    def check_inside(self, outer: str) -> None:
        """Raise ValueError when the code, as it is stored, cannot be inside one of kind `outer`."""
        return

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(ci, co // groups, ky, kx)"""

    @abstractmethod
    def integers(self) -> np.ndarray:
        """Dense integer weights, int64: what the code means."""

    @property
    @abstractmethod
    def field_bits(self) -> int:
        """Bits of a field."""

    @abstractmethod
    def fields(self) -> np.ndarray:
        """The field of every weight, int64 ≥ 0, of `shape`."""

    @property
    @abstractmethod
    def magnitude(self) -> int:
        """Largest |weight| that a field can stand for."""

    @property
    def loaded_magnitude(self) -> int:
        """The same of any weights that may be loaded in place of these."""
        return self.magnitude

    @property
    def fixed(self) -> dict[str, Any]:
        """What an engine is built for when weights are loaded, for JSON; others must have the same."""
        return self.parameters()

    def of_fields(self, fields: np.ndarray) -> Code:
        """The same but for `fields`; raises as the constructor does. Only of a code that `loads` and stores its fields."""
        raise NotImplementedError(f"{self.kind} weights cannot be loaded")

    @property
    @abstractmethod
    def stored_bits(self) -> int:
        """Everything the chip must hold for the weights, however many lanes it has: fields, positions, `table_bits`."""

    @property
    def table_bits(self) -> int:
        """The part of `stored_bits` that is wires and no memory: centroids, an offset, an exponent, lengths of codes, a seed."""
        return 0

    def image_bits(self, ti: int, to: int, groups: int, words: np.ndarray | None = None) -> int:
        """Bits of the memory images for Ti × To lanes: of a code that is read as it is stored, all lane words.

        words : numbers of the lane words in the order in which they are stored, None for all as `words` counts them.
        """
        assert words is None, "only serial codes are streamed"
        return self.lane_bits(ti, to, groups)

    def buffer_bits(self, ti: int, to: int, groups: int) -> int:
        """Bits of the memories that Ti × To lanes read: the images, or for a serial code what they are expanded into."""
        return self.image_bits(ti, to, groups)

    def lane_bits(self, ti: int, to: int, groups: int) -> int:
        """Bits of all lane words, places without a weight included."""
        return int(self.tap_issues(ti, to, groups).sum()) * ti * to * self.field_bits

    @property
    def zero_field(self) -> int | None:
        """The field of weight 0; None for a code that has no zero."""
        return 0

    def inside(self) -> Code:
        """The same weights, stored as a code around this one takes them."""
        return self

    def without_zeros(self) -> Code:
        """A code for inside a sparse one, which never looks at weights of 0: the same integers where they are not 0."""
        return self

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Everything but the arrays, for JSON."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the code by name."""

    @classmethod
    def restore(cls, parameters: dict[str, Any], arrays: dict[str, np.ndarray]) -> Code:
        """The code with these `parameters()` and `arrays()`; raises as the constructor does."""
        return cls(**arrays, **parameters)

    @classmethod
    @abstractmethod
    def encode(
        cls, weights: np.ndarray, groups: int, power: np.ndarray, **options: Any
    ) -> tuple[Code, np.ndarray]:
        """The code of real `weights` (ci, co // groups, ky, kx) and its scales (co,): weight ≈ integer * scale.

        `power` (ci,) is the mean square of every input channel: errors count by it. Raises ValueError for options that the
        code does not have.
        """

    def effectual(self) -> np.ndarray:
        """Weights of every tap that a lane has to multiply, int64, shape (ky, kx)."""
        ci, cog, ky, kx = self.shape
        return np.full((ky, kx), ci * cog, np.int64)

    def span(self, ti: int, channels: int) -> int:
        """Input channels of a ring word for Ti lanes and a group of `channels`; also the most Ti that is of use."""
        return min(ti, channels)

    def tap_issues(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Issues, and so lane words, of every co tile and tap: int64 ≥ 1, shape (co tiles, ky, kx)."""
        ci, cog, ky, kx = self.shape
        return np.full((groups * -(-cog // to), ky, kx), -(-ci // groups // ti), np.int64)

    def word_blocks(self, ti: int, to: int, groups: int) -> np.ndarray | None:
        """For every lane word the ring word, counted inside the group, that it reads; None: one after the other."""
        return None

    def words(self, ti: int, to: int, groups: int) -> np.ndarray:
        """Memory image for Ti × To lanes: int64 (words, to, ti) of fields, field 0 where a tile is not full.

        Word address = ((group * co tiles + co tile) * ky * kx + tap) * ci tiles + ci tile.
        """
        return lane_words(self.fields(), ti, to, groups)


def lane_words(values: np.ndarray, ti: int, to: int, groups: int) -> np.ndarray:
    """Values (ci, co // groups, ky, kx) as lane words (words, to, ti), see `Code.words`; 0 where a tile is not full."""
    ci, cog, ky, kx = values.shape
    cig = ci // groups
    nti, nto = -(-cig // ti), -(-cog // to)
    w = values.reshape(groups, cig, cog, ky * kx)
    w = np.pad(w, ((0, 0), (0, nti * ti - cig), (0, nto * to - cog), (0, 0)))
    w = w.reshape(groups, nti, ti, nto, to, ky * kx).transpose(0, 3, 5, 1, 4, 2)
    return np.ascontiguousarray(w.reshape(-1, to, ti))


def lane_order(shape: tuple[int, ...], ti: int, to: int, groups: int) -> np.ndarray:
    """Flat index of the weight at every place of the lane words, in their order; -1 where a tile is not full."""
    return lane_words(np.arange(1, np.prod(shape) + 1).reshape(shape), ti, to, groups).reshape(-1) - 1


class PlainCode(Code):
    """A code that holds its integers as `weights`, one field each and nothing else."""

    external = True
    weights: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        ci, co, ky, kx = self.weights.shape
        return ci, co, ky, kx

    def integers(self) -> np.ndarray:
        return self.weights

    @property
    def stored_bits(self) -> int:
        return self.field_bits * self.weights.size


def check_weights(kind: str, weights: np.ndarray) -> np.ndarray:
    """`weights` as int64; TypeError unless they hold integers, ValueError for another shape than four-dimensional."""
    weights = np.asarray(weights)
    if not np.issubdtype(weights.dtype, np.integer):
        raise TypeError(f"{kind} weights must be integers, not {weights.dtype}")
    if weights.ndim != 4 or not weights.size:
        raise ValueError(f"{kind} weights must have shape (ci, co/groups, ky, kx), not {weights.shape}")
    return weights.astype(np.int64)


def by_channel(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights (ci, co // groups, ky, kx) as (co, ci // groups * ky * kx), and back with `from_channels`."""
    ci, cog, ky, kx = weights.shape
    grouped = weights.reshape(groups, ci // groups, cog, ky, kx)
    return grouped.transpose(0, 2, 1, 3, 4).reshape(groups * cog, -1)


def from_channels(rows: np.ndarray, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """Inverse of `by_channel`."""
    ci, cog, ky, kx = shape
    grouped = rows.reshape(groups, cog, ci // groups, ky, kx)
    return grouped.transpose(0, 2, 1, 3, 4).reshape(shape)


def channel_power(power: np.ndarray, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """Input power (ci,) laid out like `by_channel`: (co, ci // groups * ky * kx)."""
    return by_channel(np.broadcast_to(power[:, None, None, None], shape), groups)


def no_options(kind: str, options: dict[str, Any]) -> None:
    """Raise ValueError for options of a code that has none (left)."""
    if options:
        raise ValueError(f"{kind} has no option {', '.join(map(repr, sorted(options)))}")
