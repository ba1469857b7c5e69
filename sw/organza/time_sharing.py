"""How one engine runs several consecutive layers: one after the other, on the same lanes.

An engine of several layers has Ti × C lanes. Each layer uses them as Ti × To × P with its own To and P, To·P ≤ C, all in row or all in
weight order (`organza.visits`), and keeps its whole output in the engine's *frames* before the next layer begins; the last layer's output
units, rows or images, leave as they are finished. The input of the next image is taken while the last layer runs, because nothing else
is written then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from organza.formats import Fixed
from organza.program import Convolve
from organza.schedule import EXTERNAL_WORDS, Schedule
from organza.visits import WeightVisit

# Between the last issue of an image and the first of the next, for the descriptor of the first layer to be read.
IMAGE_GAP = 2
PIPELINES = ("deep", "short")
OUTPUT_ROWS = 2  # or images in weight order, that can wait to be sent, at least: one leaves while one is finished


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeSharing:
    """Consecutive layers on Ti × C lanes with E epilogue units.

    layers : their schedules, all with the same Ti. c : lanes of Ti. e : epilogue units; a layer with fewer uses the first ones.
    rows : of the last layer's output that can wait to be sent; in weight order images.
    pipeline : "deep", a register behind every memory, multiplier and choice, for the highest clock; "short", where no logic is in front
        of a register it is left out or holds an address instead of data, for small devices whose clock is slow.

    Raises ValueError, naming the layer, for what one engine cannot have: orders, memories, lanes or codes side by side,
    channel groups, formats other than fixed point, more lanes than C, weights that are loaded at run time beside others that are not.
    """

    layers: tuple[Schedule, ...]
    c: int
    e: int
    rows: int = OUTPUT_ROWS
    pipeline: str = PIPELINES[0]

    def __post_init__(self) -> None:
        if len(self.layers) < 2:
            raise ValueError(f"Time-shared engine must run at least two layers, not {len(self.layers)}")
        first = self.layers[0]
        wanted, last = lanes_of(first), self.layers[-1].node
        for schedule in self.layers:
            node = schedule.node
            check_shareable(node)
            if lanes_of(schedule) != wanted:
                raise ValueError(f"{node.name}: engine must have {wanted} like {first.node.name}, not {lanes_of(schedule)}")
            if schedule.loads != first.loads:
                kind = "loaded at run time" if first.loads else "in the bitstream"
                raise ValueError(f"{node.name}: weights must be {kind} like those of {first.node.name}, with which it shares an engine")
            if (schedule.order, schedule.memory) != (first.order, first.memory):
                raise ValueError(
                    f"{node.name}: engine must run in {first.order} order with the memory {first.memory!r} like {first.node.name}, "
                    f"not in {schedule.order} order with {schedule.memory!r}"
                )
            if schedule.ti != first.ti:
                raise ValueError(f"{node.name}: Ti must be {first.ti} like that of {first.node.name}, not {schedule.ti}")
            if schedule.to * schedule.p > self.c:
                raise ValueError(f"{node.name}: To·P must be at most C = {self.c}, not {schedule.to * schedule.p}")
            most = schedule.ti if schedule is not self.layers[-1] else schedule.to
            if schedule.e > most:
                raise ValueError(f"{node.name}: E must be at most {most}, not {schedule.e}")
            if schedule.g != 1 and (schedule is not self.layers[-1] or self.order == "weight"):
                raise ValueError(f"{node.name}: G must be 1 but in the last layer of an engine in row order, not {schedule.g}")
            if schedule.p % schedule.g:
                raise ValueError(f"{node.name}: G must divide P = {schedule.p}, not be {schedule.g}")
        if self.pipeline not in PIPELINES:
            raise ValueError(f"{first.node.name}: pipeline must be {' or '.join(PIPELINES)}, not {self.pipeline!r}")
        if self.c != max(schedule.to * schedule.p for schedule in self.layers):
            raise ValueError(f"{first.node.name}: C must be the most To·P that a layer of the engine has, not {self.c}")
        if not OUTPUT_ROWS <= self.rows <= self.most_rows:
            raise ValueError(f"{last.name}: rows must be {OUTPUT_ROWS} to {self.most_rows}, not {self.rows}")
        if self.e != max(schedule.e * schedule.g for schedule in self.layers):
            raise ValueError(f"{first.node.name}: E must be the most that a layer of the engine has, not {self.e}")

    @property
    def order(self) -> str:
        """Of all layers."""
        return self.layers[0].order

    @cached_property
    def weight_visits(self) -> list[WeightVisit]:
        """Of all layers in weight order, none in row order."""
        return [schedule.visit for schedule in self.layers if isinstance(schedule.visit, WeightVisit)]

    @property
    def sum_places(self) -> int:
        """In weight order: places of sums, the most that a layer has, in each of two halves."""
        return max(visit.places for visit in self.weight_visits)

    @property
    def most_rows(self) -> int:
        """The most rows that can be worth a place: an image, or in weight order two."""
        return max(self.layers[-1].units, OUTPUT_ROWS)

    @property
    def external(self) -> bool:
        """Lane words come from a memory beside the chip, each once an image."""
        return self.layers[0].external

    @property
    def short(self) -> bool:
        """Whether the pipeline is the short one."""
        return self.pipeline == "short"

    @property
    def ti(self) -> int:
        """Input channels at once."""
        return self.layers[0].ti

    @property
    def lanes(self) -> int:
        """Multipliers."""
        return self.ti * self.c

    @property
    def nodes(self) -> list[Convolve]:
        """The layers."""
        return [schedule.node for schedule in self.layers]

    @property
    def loads(self) -> bool:
        """Weights and constants are loaded at run time."""
        return self.layers[0].loads

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the first layer reads."""
        return self.nodes[0].input_shape

    @property
    def to(self) -> int:
        """Output channels of a lane word: the most that a layer has at once."""
        return max(schedule.to for schedule in self.layers)

    @property
    def p(self) -> int:
        """Pixels that are read at once: the most that a layer has."""
        return max(schedule.p for schedule in self.layers)

    @cached_property
    def lane_uses(self) -> list[dict[int, tuple[int, int]]]:
        """Of every lane, by number of the layers that use it: pixel and output channel.

        Pixels lie as far apart as in the layer of the most channels, if there are lanes enough: fewer lanes change pixel or channel with
        the layer.
        """
        made: list[dict[int, tuple[int, int]]] = [{} for _ in range(self.c)]
        for number, schedule in enumerate(self.layers):
            pitch = self.to if self.to * (schedule.p - 1) + schedule.to <= self.c else schedule.to
            for pixel in range(schedule.p):
                for channel in range(schedule.to):
                    made[pixel * pitch + channel][number] = pixel, channel
        return made

    @cached_property
    def unit_costs(self) -> list[list[int]]:
        """By layer: cycles of every output unit.

        The last issue of a tile waits until the tile before has been emptied, which before the first tile of a layer is one of
        another layer. In weight order that has always been emptied but before the first layer, see `chained`.
        """
        if self.order == "weight":
            return [[visit.spans[0]] for visit in self.weight_visits]
        made = []
        for schedule, before in zip(self.layers, (self.layers[-1], *self.layers[:-1]), strict=True):
            costs, issues = list(schedule.unit_costs), _first_tile(schedule)
            costs[0] += max(issues, before.drain) - max(issues, schedule.drain)
            made.append(costs)
        return made

    @property
    def chained(self) -> int:
        """In weight order: the least cycles from the last issue of an image to that of the first layer in the next one, whose last issue
        of the first tile waits until the last layer has been emptied."""
        visit = self.weight_visits[0]
        return self.layers[-1].drain + visit.spans[1] - visit.drain

    @property
    def opening(self) -> int:
        """Cycles that the first issue of the last layer waits for the epilogue: if it is the last one of its tile, too."""
        waits = self.order == "row" and _first_tile(self.layers[-1]) == 1
        return self.layers[-2].drain - 1 if waits else 0

    @property
    def cycles(self) -> int:
        """Cycles an image in which the lanes work, or wait for the epilogue: in weight order also until a layer's last sums have left."""
        return sum(map(sum, self.unit_costs)) + sum(visit.drain for visit in self.weight_visits[:-1])

    @property
    def issues(self) -> int:
        """Issues an image."""
        return sum(schedule.issues for schedule in self.layers)

    @property
    def words(self) -> int:
        """Lane words of all layers that are stored, or come once an image."""
        return sum(schedule.words for schedule in self.stored)

    @property
    def stored(self) -> list[Schedule]:
        """Layers whose lane words are stored, or come: without any tap, as a layer can be, none of a stream would be used."""
        if not self.external:
            return list(self.layers)
        used = [visit.schedule for visit in self.weight_visits if any(visit.passes)]
        return used or list(self.layers)

    @property
    def word_bits(self) -> int:
        """Bits of a lane word as it is stored: those of the widest layer, for all."""
        return max(schedule.image_bits // schedule.words for schedule in self.layers)

    @property
    def image_bits(self) -> int:
        """Bits of the memory image of weights, on the chip or beside it, to the last place of the last word."""
        return self.words * self.word_bits

    @property
    def buffer_bits(self) -> int:
        """Bits of the weights where the lanes read them: the image itself, or the lane words that wait."""
        return EXTERNAL_WORDS * self.word_bits if self.external else self.image_bits


def _first_tile(schedule: Schedule) -> int:
    """Issues of the first tile of a layer."""
    return max(len(schedule.node.y.table[0]) * len(schedule.blocks[0].taps) * schedule.ci_tiles, 1)


def lanes_of(schedule: Schedule) -> str:
    """What must be the same in all layers of an engine, because the lanes are made for it."""
    return f"{schedule.arithmetic!r} lanes for {schedule.node.code.sharing}"


def check_shareable(node: Convolve) -> None:
    """Raise ValueError, with the reason, for a layer that no time-shared engine can run."""
    reason = None
    if node.groups != 1:
        reason = f"it has {node.groups} groups"
    elif not isinstance(node.input, Fixed) or not isinstance(node.output, Fixed):
        reason = f"its formats are {node.input} and {node.output}"
    elif node.code.sharing is None:
        reason = f"lanes for {node.code.kind} weights are made for one layer"
    if reason:
        raise ValueError(f"{node.name}: cannot share an engine with other layers: {reason}; give it one of its own")
