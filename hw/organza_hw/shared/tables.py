"""The layers of a time-shared engine as rows of constant tables: what they read, where it goes, and a descriptor of each."""

from abc import ABC, abstractmethod
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from amaranth import *

from organza.blocks import BlockTap
from organza.schedule import Schedule
from organza_hw.output_rows import Columns
from organza_hw.shared.frames import FrameLayout


class Finished(NamedTuple):
    """What is to know of the sums that leave the accumulators in this cycle.

    layer : number. constant : first word of constants of the tile. row : first word of the pixel's row in the frames or the
    output rows. place : of the tile's first pixel in `SharedTables.places`. pixels : of the tile. done : with them the layer is
    complete, or the output unit of the last one.
    """

    layer: Value
    constant: Value
    row: Value
    place: Value
    pixels: Value
    done: Value


class SharedTables(ABC):
    """Rows and columns of all layers, one after the other, as in `organza_hw.orders`; what differs else is in `descriptors`.

    Parameters
    ----------
    frames : where inputs lie. pixel_beats, unit_words, columns : words of an output pixel and an output unit of the last layer in the
    output rows, and how pixels share them.

    Attributes
    ----------
    reads : (turn, P, pitch) of every way in which pixel lanes are dealt to banks. issue_fields : by name the amaranth shapes of what an
    issue says of its sums, in this order only. most_drain : most cycles in which the epilogue empties a tile. first_drain : of
    those less one, how many an image pays for what was before it although there was nothing.
    """

    issue_fields: dict[str, Any]
    most_drain: int
    first_drain: int

    def __init__(self, frames: FrameLayout, *, pixel_beats: int, unit_words: int = 0, columns: Columns | None = None):
        self.frames, self.shared, self.pixel_beats, self.together = frames, frames.shared, pixel_beats, columns
        self.unit_words = unit_words
        self.reads: list[tuple[int, int, int]] = []
        self.rows, self.columns, self.descriptors, self.places = self._tables()
        self.layers = range(max(len(self.shared.layers), 2))

    def _tables(self) -> tuple[list[dict], list[dict], list[dict], list[dict]]:
        rows: list[dict] = []
        columns: list[dict] = []
        descriptors: list[dict] = []
        places = list(self.frames.output_places)
        weights = place = 0
        for number, schedule in enumerate(self.shared.layers):
            node, final = schedule.node, number == len(self.shared.layers) - 1
            if final:
                words = [self.together.place(x)[0] if self.together else x for x in range(node.x.output)]
                places += [{"bank": 0, "word": word * self.pixel_beats} for word in words]
            descriptors.append({
                "rows": len(rows), "columns": len(columns), "weights": weights,
                "tile_step": schedule.ci_tiles * node.y.kernel * node.x.kernel, "tiles": schedule.co_tiles - 1,
                "channels": schedule.ci_tiles - 1, "final": int(final), **self._descriptor(schedule),
            })  # fmt: skip
            rows += self._rows(number, schedule, len(rows))
            columns += self._columns(number, schedule, len(columns), place)
            weights += schedule.words
            place += node.x.output
        return rows, columns, descriptors, places

    def _descriptor(self, schedule: Schedule) -> dict:
        """What else is to know of a layer, in this order only."""
        return {}

    @abstractmethod
    def _rows(self, number: int, schedule: Schedule, start: int) -> list[dict]:
        """Entries of a layer's rows, the first of which is at `start`."""

    @abstractmethod
    def _columns(self, number: int, schedule: Schedule, start: int, place: int) -> list[dict]:
        """Entries of a layer's columns; place : of its first output column in `places`."""

    @abstractmethod
    def create(self) -> Any:
        """The gateware that issues what the tables say, a `SharedSequencer`."""

    @abstractmethod
    def accumulators(self, **options) -> Any:
        """Component that adds up what the lanes make of the issues, see `organza_hw.accumulators.Accumulators`."""

    @abstractmethod
    def finish(self, m, accumulators, sequencer, issue, *, stages: int) -> Finished:
        """Tell the `accumulators` where the sums of an `issue` belong, `stages` cycles after the `sequencer` gave it; what becomes of them."""

    def _column_reads(self, number: int, schedule: Schedule, tap: BlockTap | None) -> dict:
        """What a block reads for one horizontal tap; None for a block that has none."""
        banks, node = self.frames.banks, schedule.node
        address, mask = [0] * banks, [0] * self.shared.p
        if tap is None:
            return {"weight": 0, "address": address, "read": 0, "mask": mask, "none": 1}
        for lane, exists in enumerate(tap.mask):
            if exists:
                bank, word = self.frames.rings[number].place(tap.position + lane * node.x.pitch)
                address[bank], mask[lane] = word, 1
        read = tap.position % banks, schedule.p, node.x.pitch
        if read not in self.reads:
            self.reads.append(read)
        return {
            "weight": tap.k * schedule.ci_tiles, "address": address, "read": self.reads.index(read), "mask": mask, "none": 0,
        }  # fmt: skip

    @cached_property
    def constants(self) -> list[int]:
        """By layer its first word of constants."""
        return [0, *accumulate(schedule.co_tiles * schedule.chunks for schedule in self.shared.layers[:-1])]

    @cached_property
    def output_rows(self) -> list[tuple[int, int]]:
        """By layer: first word of its output in the frames, and words from one row to the next; 0 for the last layer's."""
        rings = zip(self.frames.bases[1:], self.frames.rings[1:], strict=True)
        return [*((base, ring.row_words) for base, ring in rings), (0, 0)]

    @cached_property
    def most_channels(self) -> int:
        """Most reads that cover a pixel."""
        return max(schedule.ci_tiles for schedule in self.shared.layers)

    @property
    def most_tiles(self) -> int:
        """Most co tiles of a layer."""
        return max(schedule.co_tiles for schedule in self.shared.layers)
