"""How one engine runs a layer: with which lanes, in which order, its weights held in which way.

An engine has Ti × To × P lanes: Ti input channels, To output channels and P consecutive same-phase pixels of one output
row. It is output stationary and visits only taps that exist, in one of two orders (`organza.visits`):

    row: for every output row: for every output-channel tile (groups outermost): for every block of P pixels:
        for every vertical tap, horizontal tap, input-channel tile: one issue
    weight: for every output-channel tile: for every phase: for every vertical tap, horizontal tap, input-channel tile:
        for every row that has the tap, block of P pixels that has it: one issue

Codes that gather have no input-channel tiles but as many issues a tap as the weights need (`Code.tap_issues`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from organza.blocks import Block, blocks
from organza.program import Convolve
from organza.visits import VISITS, Needs, RowVisit, WeightVisit

# Every Verilog tool must take vectors of this many bits (IEEE 1364-2005, 4.3.1), and need not take wider ones.
MOST_WORD_BITS = 1 << 16
# Lane words of an external memory that have come and are not yet used. One a cycle can be: from its coming to its use it takes six.
EXTERNAL_WORDS = 8


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedule:
    """A layer on Ti × To × P lanes with E epilogue units; Ti inputs at once are Ti non-zeros for codes that gather.

    g : pixels of a tile whose sums leave at once, each with its E units, where layers share an engine.
    arithmetic : one of the code's `arithmetics`, "" for the first.
    order : "row" or "weight". memory : one of the code's `supplies` in this order, "" for the first.

    Raises ValueError for lane counts below 1 or beyond the layer's channels and pixels, lanes that the code lacks, and an
    order or a memory that they cannot have.
    """

    node: Convolve
    ti: int
    to: int
    p: int = 1
    e: int = 1
    g: int = 1
    arithmetic: str = ""
    order: str = "row"
    memory: str = ""

    def __post_init__(self) -> None:
        node = self.node
        known = node.code.arithmetics
        if not self.arithmetic:
            object.__setattr__(self, "arithmetic", node.code.lanes_for(node.input)[0])
        if self.arithmetic not in known:
            raise ValueError(
                f"{node.name}: arithmetic of this {node.code.kind} code must be {' or '.join(map(repr, known))}, "
                f"not {self.arithmetic!r}"
            )
        need = node.code.needs(self.arithmetic, node.input)
        if need is not None:
            raise ValueError(f"{node.name}: {self.arithmetic!r} lanes must have {need}, not {node.input}")
        self._check_order()
        group = node.ci // node.groups
        for name, most in (
            ("ti", node.code.most_ti(self.arithmetic, group)),
            ("to", node.co // node.groups),
            ("p", node.x.output),
            ("e", self.to),
            ("g", self.p),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{node.name}: {name} must be an integer, not {value!r}")
            if not 1 <= value <= most:
                few = name == "ti" and most < node.code.span(group, group)
                wanted = f"{most} for {self.arithmetic!r} lanes" if few else f"between 1 and {most}"
                raise ValueError(f"{node.name}: {name} must be {wanted}, not {value}")

        if self.word_bits > MOST_WORD_BITS:
            raise ValueError(f"{node.name}: lane word must have at most {MOST_WORD_BITS} bits, not {self.word_bits}")
        ti, to = node.code.lane_shape
        if ti not in (None, self.ti) or to not in (None, self.to):
            raise ValueError(f"{node.name}: code is for {ti or 'any'}×{to or 'any'} lanes, not {self.ti}×{self.to}")

    def _check_order(self) -> None:
        node, code = self.node, self.node.code
        if self.order not in VISITS:
            raise ValueError(f"{node.name}: order must be {' or '.join(map(repr, VISITS))}, not {self.order!r}")
        known = code.orders(self.arithmetic)
        if self.order not in known:
            raise ValueError(
                f"{node.name}: order of {self.arithmetic!r} lanes must be {' or '.join(map(repr, known))}, not {self.order!r}"
            )
        known = code.supplies(self.order)
        if not self.memory:
            object.__setattr__(self, "memory", known[0])
        if self.memory not in known:
            raise ValueError(
                f"{node.name}: memory of a {code.kind} code in {self.order} order must be {' or '.join(map(repr, known))}, "
                f"not {self.memory!r}"
            )
        if self.external and self.loads:
            raise ValueError(f"{node.name}: weights of an external memory must not be loaded too: that memory can be written instead")

    @property
    def external(self) -> bool:
        """Lane words come from a memory beside the chip."""
        return self.memory == "external"

    @property
    def loads(self) -> bool:
        """Weights and constants are loaded at run time."""
        return self.node.loads is not None

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.ti * self.to * self.p

    @property
    def span(self) -> int:
        """Input channels of one pixel that are read at once."""
        return self.node.code.span(self.ti, self.node.ci // self.node.groups)

    @property
    def ci_tiles(self) -> int:
        """Reads of `span` channels that cover one pixel of a group."""
        return ceil_div(self.node.ci // self.node.groups, self.span)

    @property
    def co_tiles(self) -> int:
        """Output-channel tiles of all groups."""
        return self.node.groups * ceil_div(self.node.co // self.node.groups, self.to)

    @property
    def chunks(self) -> int:
        """Epilogue steps per pixel of a tile."""
        return ceil_div(self.to, self.e)

    @cached_property
    def blocks(self) -> list[Block]:
        """Blocks of a row."""
        return blocks(self.node.x, self.p)

    @cached_property
    def tap_issues(self) -> np.ndarray:
        """Issues of every (co tile, vertical tap, horizontal tap)."""
        return self.node.code.tap_issues(self.ti, self.to, self.node.groups)

    @cached_property
    def visit(self) -> RowVisit | WeightVisit:
        """What depends on the order."""
        return VISITS[self.order](self)

    @property
    def units(self) -> int:
        """Output units of an image, see `organza.visits`."""
        return self.node.y.output // self.visit.unit_rows

    @property
    def needs(self) -> list[Needs]:
        """Input rows of every output unit."""
        return self.visit.needs

    @property
    def unit_costs(self) -> list[int]:
        """Cycles of every output unit while it waits for nothing outside the lanes."""
        return self.visit.unit_costs

    @property
    def drain(self) -> int:
        """Cycles in which the epilogue empties the last tile of a unit."""
        return self.visit.drain

    @property
    def pause(self) -> int:
        """Cycles before every tile in which the lanes of the tile before are emptied and nothing is issued."""
        return self.visit.pause

    @property
    def issues(self) -> int:
        """Issues per image."""
        return self.visit.issues

    @property
    def cycles(self) -> int:
        """Cycles per image while the lanes wait for nothing: the closed form."""
        return sum(self.unit_costs)

    @property
    def least_depth(self) -> int:
        """Rows a ring must hold so that every output unit can start."""
        return max(1, *(unit.window for unit in self.needs))

    @property
    def streams(self) -> bool:
        """Lane words come one after the other, each once an image, instead of out of a memory with addresses."""
        return self.memory == "stream" or self.external

    @cached_property
    def streamed_words(self) -> np.ndarray | None:
        """Numbers of the lane words of a stream, as `Code.words` counts them, in the order of their use: each once.

        None for a memory that holds all words in the order of `Code.words`.
        """
        if not self.streams:
            return None
        assert isinstance(self.visit, WeightVisit)
        counts = self.tap_issues
        starts = (np.cumsum(counts) - counts.reshape(-1)).reshape(counts.shape)
        rows, columns = np.array(self.visit.taps).T
        runs = zip(starts[:, rows, columns].reshape(-1), counts[:, rows, columns].reshape(-1), strict=True)
        return np.concatenate([np.arange(start, start + count) for start, count in runs])

    @property
    def words(self) -> int:
        """Lane words of the layer."""
        return int(self.tap_issues.sum()) if self.streamed_words is None else len(self.streamed_words)

    @property
    def word_bits(self) -> int:
        """Bits of a lane word."""
        return self.ti * self.to * self.node.code.field_bits

    @property
    def image_bits(self) -> int:
        """Bits of the engine's memory images of weights, on the chip or beside it, to the last place of the last word."""
        if self.external:
            return self.words * self.word_bits
        return self.node.code.image_bits(self.ti, self.to, self.node.groups, self.streamed_words)

    @property
    def buffer_bits(self) -> int:
        """Bits of the weights where the lanes read them: the images themselves, a buffer, or the lane words of a stream that wait."""
        if self.external:
            return EXTERNAL_WORDS * self.word_bits
        return 2 * self.word_bits if self.streams else self.node.code.buffer_bits(self.ti, self.to, self.node.groups)
