"""The layers of a time-shared engine as rows of constant tables: what they read, where it goes, and a descriptor of each."""

from functools import cached_property
from itertools import accumulate

from amaranth import *

from organza.blocks import BlockTap
from organza.schedule import Schedule
from organza_hw.output_rows import Columns
from organza_hw.shared.frames import FrameLayout


class SharedTables:
    """Rows and columns of all layers, one after the other, as in `organza_hw.orders.row`; what differs else is in `descriptors`.

    Parameters
    ----------
    frames : where inputs lie. pixel_beats, columns : words of an output pixel of the last layer in the
    output rows, and how pixels share them.

    Attributes
    ----------
    reads : (turn, P, pitch) of every way in which pixel lanes are dealt to banks. tile_fields : amaranth shapes of what an issue says
    of its tile.
    """

    def __init__(self, frames: FrameLayout, *, pixel_beats: int, columns: Columns | None = None):
        self.frames, self.shared, self.pixel_beats, self.together = frames, frames.shared, pixel_beats, columns
        self.reads: list[tuple[int, int, int]] = []
        self.rows, self.columns, self.descriptors, self.places = self._tables()
        self.layers = range(max(len(self.shared.layers), 2))
        self.tile_fields = {
            "column_end": 1,  # last of the row with these channels
            "row_end": 1,
            "end": 1,  # of the layer
            "place": range(max(len(self.places), 2)),  # of the first pixel
            "pixels": range(self.shared.p + 1),
        }

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
                "channels": schedule.ci_tiles - 1, "drain": schedule.drain - 1, "final": int(final),
            })  # fmt: skip
            rows += self._rows(number, schedule, len(rows))
            columns += self._columns(number, schedule, len(columns), place)
            weights += schedule.words
            place += node.x.output
        return rows, columns, descriptors, places

    def _rows(self, number: int, schedule: Schedule, start: int) -> list[dict]:
        """One entry a (row, vertical tap); one for a row without taps."""
        ring, node, made = self.frames.rings[number], schedule.node, []
        for y, taps in enumerate(node.y.table):
            following = start + len(made) + max(len(taps), 1)
            for position, (k, row) in enumerate(taps or [(0, 0)]):
                made.append({
                    "address": self.frames.bases[number] + row * ring.row_words,
                    "weight": k * node.x.kernel * schedule.ci_tiles, "none": int(not taps),
                    "last": int(position == max(len(taps), 1) - 1), "final": int(y == node.y.output - 1),
                    "next": following if y < node.y.output - 1 else start,
                })  # fmt: skip
        return made

    def _columns(self, number: int, schedule: Schedule, start: int, place: int) -> list[dict]:
        """One entry a (block, horizontal tap); one for a block without taps."""
        made = []
        for block_number, block in enumerate(schedule.blocks):
            final = block_number == len(schedule.blocks) - 1
            for position, tap in enumerate(block.taps or [None]):
                made.append({
                    **self._column_reads(number, schedule, tap), "last": int(position == max(len(block.taps), 1) - 1),
                    "place": place + block.first, "pixels": block.pixels, "final": int(final),
                    "next": start if final else start + len(made) - position + max(len(block.taps), 1),
                })  # fmt: skip
        return made

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
