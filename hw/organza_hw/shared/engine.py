"""Several consecutive layers on one engine: frames, sequencer, weights, lanes, sums, epilogue, output units."""

from functools import cached_property
from math import gcd
from typing import Any

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.epilogue import Epilogue
from organza.schedule import Schedule
from organza.time_sharing import TimeSharing
from organza_hw.choice import by_layer
from organza_hw.codes import term_of
from organza_hw.codes.term import Term
from organza_hw.epilogue import Constants, EpilogueUnit
from organza_hw.external.supply import word_signature
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.lanes.dot import register
from organza_hw.memories import Memories, Memory
from organza_hw.orders import finish_latency
from organza_hw.output_rows import Columns, OutputRows
from organza_hw.rom import Rom
from organza_hw.shared.frames import WRITE_LATENCY, FrameLayout, Frames
from organza_hw.shared.operands import operand_latency, operands, sums_of_pixels
from organza_hw.shared.row import SharedRowTables
from organza_hw.shared.sequencer import SharedSequencer
from organza_hw.shared.side_queue import SideQueue
from organza_hw.shared.tables import Finished
from organza_hw.shared.weight import SharedWeightTables
from organza_hw.shared.weights import SharedWeights, weights_latency
from organza_hw.table import Table

CONSTANTS = ("bias", "positive", "negative", "shift")  # of an output channel
LEAD = 3  # cycles before the completing write of a layer in which the sequencer hears of it: it reads as much later
TABLES = {"row": SharedRowTables, "weight": SharedWeightTables}


def shared_term(shared: TimeSharing) -> Term:
    """Arithmetic of the lanes. Multipliers are placed where they are on the device, and the adders of many lanes elsewhere: a register
    more is between them."""
    term = term_of(shared.nodes[0].code, shared.layers[0].arithmetic)
    term.short = shared.short
    if type(term).dots is Term.dots and term.product_latency > 1 and not shared.short:
        term.late = 1
    return term


def shared_latency(shared: TimeSharing, schedule: Schedule) -> int:
    """Cycles from the last issue of an output unit of one of the layers to the write that completes the unit."""
    return (
        SharedSequencer.LATENCY + weights_latency(shared) + operand_latency(shared) + shared_term(shared).latency(shared.ti)
        + finish_latency(schedule) + Rom.LATENCY + unit_latency(shared) + (WRITE_LATENCY if schedule is not shared.layers[-1] else 0)
    )  # fmt: skip


def unit_latency(shared: TimeSharing) -> int:
    """Cycles of the epilogue, the same for all layers."""
    return EpilogueUnit.latency_of(sum_bits(shared), any(node.epilogue.table is not None for node in shared.nodes))


def sum_bits(shared: TimeSharing) -> int:
    """Signed width of a sum with its bias, in any layer."""
    return max(node.accumulator_bits for node in shared.nodes)


class SharedEngine(Memories, wiring.Component):
    """Consecutive layers on Ti × C lanes, one after the other.

    Throughput and latency: see `organza_sim.cycles`. Full back-pressure on both sides: an image is taken while the last layer
    of the one before runs, and an output unit of the last layer, a row or in weight order an image, starts only when there is a place for it.

    Parameters
    ----------
    shared : layers and lanes. n_in, n_out : channels a beat at `i` and `o`.
    file : prefix of the files that hold weights, constants and tables; None puts them into the netlist.

    Members
    -------
    i, o : streams of `joint_signature`. error : Out(1), words from beside the chip are not those of an image; without them always 0: nothing
    that is stored could be damaged unnoticed. words : In, stream of `word_signature`; only with words from beside the chip.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    words: stream.Interface
    reader = writer = None  # of headers: exponents are not managed here

    def __init__(self, shared: TimeSharing, *, n_in, n_out, file=None):
        first, last = shared.layers[0].node, shared.layers[-1]
        self.shared, self.layers, self.instances, self.n_out = shared, shared.layers, file is not None, n_out
        if not last.e <= n_out <= last.node.co:
            raise ValueError(f"{last.node.name}: n_out must be between E = {last.e} and {last.node.co}, not {n_out}")
        self.layout = FrameLayout(shared, n=n_in)
        self.weights = SharedWeights(shared, file=file, early=shared.short)
        self.term = shared_term(shared)
        self.bits = max(int(node.input.bits) for node in shared.nodes)
        signs = {bool(node.input.signed) for node in shared.nodes}
        # Of activations with and without a sign, all get one.
        self.activation = Shape(self.bits + 1, True) if len(signs) > 1 else Shape(self.bits, signs.pop())
        self.sum_bits, self.dot_bits = sum_bits(shared), max(node.dot_bits for node in shared.nodes)

        inner = [extra for _, extra in self._pieces if "inner" in extra and extra["count"]]
        self.inner_e = max(schedule.e for schedule in shared.layers[:-1])
        self.frames = Frames(
            self.layout, bits=self.bits, input=wire_shape(first.input), e=self.inner_e,
            offsets={extra["offset"] for extra in inner},
            straddle=any(extra["offset"] + extra["count"] > shared.ti for extra in inner), early=shared.short,
        )  # fmt: skip
        pixels = Columns(last.node.x.output, last.node.x.phases, last.g) if last.g > 1 else None
        written = [extra for _, extra in self._pieces if "inner" not in extra and extra["count"]]
        self.output = OutputRows(
            shape=wire_shape(last.node.output), n=n_out, channels=last.node.co, height=last.node.y.output,
            width=last.node.x.output, rows=last.visit.unit_rows, e=last.e, offsets={extra["offset"] for extra in written},
            straddle=any(extra["offset"] + extra["count"] > n_out for extra in written), places=shared.rows, columns=pixels,
        )  # fmt: skip
        epilogues = [node.epilogue for node in shared.nodes]
        columns = {name: np.concatenate([getattr(one, name) for one in epilogues]) for name in CONSTANTS}
        joined = Epilogue(**columns, low=0, high=0)
        self.constants = Constants(
            joined, e=shared.e, chunks=[channels for channels, _ in self._pieces],
            extra=[{name: extra[name] for name in self._places} for _, extra in self._pieces],
            loads=max((node.loads for node in shared.nodes if node.loads is not None), default=None),
        )  # fmt: skip
        self.constant_rom = Rom(
            width=max(self.constants.layout.size, 1), words=self.constants.words, file=file and f"{file}_constants.hex",
            loads=shared.loads, early=shared.short,
        )  # fmt: skip
        word = data.View(self.constants.layout, Signal(self.constants.layout.size))
        shapes: dict[str, Any] = {name: Shape.cast(self.constants.take(word, 0, name).shape()) for name in CONSTANTS}
        self.q_shape = Shape(max(int(node.output.bits) + (not node.output.signed) for node in shared.nodes), True)
        self.units = [
            EpilogueUnit(
                epilogues[0], sum_bits=self.sum_bits, output=self.q_shape, **shapes, file=file and f"{file}_table.hex",
                others=epilogues[1:], loads=shared.loads, early=shared.short,
            ) for _ in range(shared.e)
        ]  # fmt: skip
        super().__init__({
            "i": In(joint_signature(wire_shape(first.input), n_in)),
            "o": Out(joint_signature(wire_shape(last.node.output), n_out)),
            "error": Out(1),
            **({"words": In(word_signature(shared))} if shared.external else {}),
        })  # fmt: skip

    @cached_property
    def _places(self) -> list[str]:
        """What a word of constants says of where its channels go: what is not the same in all of them."""
        counts = {extra["count"] for _, extra in self._pieces}
        return ["word", "offset", "count"] if len(counts) > 1 else ["word", "offset"]

    @cached_property
    def _pieces(self) -> list[tuple[list[int | None], dict]]:
        """For every epilogue step of every tile of every layer: its channels, counted over all layers, and where they are written."""
        made, before = [], 0
        for number, schedule in enumerate(self.shared.layers):
            inner = number < len(self.shared.layers) - 1
            width = self.shared.ti if inner else self.n_out
            co = schedule.node.co
            for tile in range(schedule.co_tiles):
                for chunk in range(schedule.chunks):
                    start = tile * schedule.to + chunk * schedule.e
                    end = min(start + schedule.e, (tile + 1) * schedule.to, co)
                    channels = [before + channel for channel in range(start, end)]
                    place = {"word": start // width, "offset": start % width} if channels else {"word": 0, "offset": 0}
                    # Pixels that leave together need the same constants.
                    spread = [*channels, *[None] * (schedule.e - len(channels))] * schedule.g if schedule.g > 1 else channels
                    made.append((spread, {**place, "count": len(channels), **({"inner": 1} if inner else {})}))
            before += co
        return made

    @property
    def memories(self) -> list[Memory]:
        """See `Memories`."""
        tables = [layer.node.epilogue.table for layer in self.layers]
        made = [
            ([self.weights.rom] if self.weights.rom else [], [layer.words for layer in self.layers]),
            ([self.constant_rom], [layer.co_tiles * layer.chunks for layer in self.layers]),
            ([unit.rom for unit in self.units if unit.rom], [0 if table is None else len(table) for table in tables]),
        ]  # fmt: skip
        return [Memory.of(copies, counts) for copies, counts in made if copies]

    def elaborate(self, platform):
        m = Module()
        shared, frames, output = self.shared, self.frames, self.output
        tables = TABLES[shared.order](
            self.layout, pixel_beats=output.pixel_beats, unit_words=output.unit_words, columns=output.columns,
        )  # fmt: skip
        m.submodules.sequencer = sequencer = tables.create(words_ahead=self.weights.words_ahead)
        m.submodules.frames, m.submodules.output, m.submodules.constants = frames, output, self.constant_rom
        wiring.connect(m, wiring.flipped(self.i), frames.i)
        wiring.connect(m, output.o, wiring.flipped(self.o))
        if self.weights.supply:
            wiring.connect(m, wiring.flipped(self.words), self.weights.supply.words)
            m.d.comb += self.error.eq(self.weights.supply.error)
        m.d.comb += [
            sequencer.taken.eq(frames.taken), frames.open.eq(sequencer.open), sequencer.unit_freed.eq(output.unit_freed),
            # The lane word may come later than the pixels: addresses wait for it, which have fewer bits than pixels.
            frames.r_addr.eq(register(m, sequencer.frame_addr, stages=self.weights.latency - Frames.LATENCY)),
        ]  # fmt: skip

        activations, weights = operands(m, self, tables, sequencer)
        stages = self.weights.latency + operand_latency(shared) + self.term.latency(shared.ti)
        sums = sums_of_pixels(m, self, tables, sequencer, self._lanes(m, activations, weights), stages=stages)
        wanted = {name: sequencer.issue[name] for name in ("valid", "first", "last", "layer", *tables.issue_fields)}
        issue = Signal(data.StructLayout({name: value.shape() for name, value in wanted.items()}))
        m.d.comb += [issue[name].eq(register(m, value, stages=stages)) for name, value in wanted.items()]
        m.submodules.accumulators = accumulators = tables.accumulators(bits=self.dot_bits, instances=self.instances)
        m.d.comb += [
            accumulators.valid.eq(issue.valid), accumulators.first.eq(issue.first), accumulators.last.eq(issue.last),
            *(accumulators.sums[lane].eq(total) for lane, total in enumerate(sums)),
        ]  # fmt: skip
        finished = tables.finish(m, accumulators, sequencer, issue, stages=stages)
        self._epilogue(m, tables, accumulators, finished, sequencer)
        return m

    def _lanes(self, m, activations, weights):
        """C sums. Lanes that have the same pixel in every layer are handed to the term together: it may share what they share."""
        shared = self.shared
        together = gcd(*(schedule.to for schedule in shared.layers))
        sums = []
        for lane in range(0, shared.c, together):
            sums += self.term.dots(
                m, activations[lane], weights[lane : lane + together], exists=Const(1), instances=self.instances
            )
        return sums

    def _epilogue(self, m, tables, accumulators, finished: Finished, sequencer: SharedSequencer):
        """Constants are read while the sums wait; what comes out goes to the frames, or to the output units."""
        shared, frames, output = self.shared, self.frames, self.output
        layers, number, done = shared.layers, finished.layer, finished.done
        m.submodules.places = places = Table(tables.places)
        behind = Signal(range(max(max(s.p * s.node.x.phases for s in layers), 2)))  # columns of the tile already passed
        final = Signal()
        m.d.comb += [
            self.constant_rom.addr.eq(finished.constant + accumulators.o_chunk),
            final.eq(number == len(layers) - 1), places.index.eq(finished.place + behind),
        ]  # fmt: skip
        with m.If(accumulators.o_valid & (accumulators.o_chunk == by_layer(number, [schedule.chunks - 1 for schedule in layers]))):
            advance = by_layer(number, [schedule.node.x.phases * schedule.g for schedule in layers])
            m.d.sync += behind.eq(Mux(accumulators.o_last, 0, behind + advance))
        exists = Cat(accumulators.o_valid & (accumulators.o_pixel + k < finished.pixels) for k in range(layers[-1].g))
        row = Signal(range(max(self.layout.bank_words, shared.rows * output.unit_words, 2)))
        m.d.comb += row.eq(finished.row)
        step = Signal(data.StructLayout({
            "exists": layers[-1].g, "final": 1, "done": 1, "layer": tables.layers, "bank": places.row.bank.shape(), "place": row.shape(),
        }))  # fmt: skip
        m.d.sync += [
            step.exists.eq(exists), step.final.eq(final), step.done.eq(done), step.layer.eq(number),
            step.bank.eq(places.row.bank), step.place.eq(row + places.row.word),
        ]  # fmt: skip
        # The layer's number is at the units with the sums and the constants.
        step = register(m, step, stages=Rom.LATENCY - 1)
        sums = register(m, accumulators.o_sums, stages=Rom.LATENCY)
        word = data.View(self.constants.layout, self.constant_rom.data[: self.constants.layout.size])
        for place, unit in enumerate(self.units):
            m.submodules[f"unit{place}"] = unit
            m.d.comb += [unit.sum.eq(sums[place]), unit.choice.eq(step.layer)]
            m.d.comb += [getattr(unit, name).eq(self.constants.take(word, place, name)) for name in CONSTANTS]
        latency = self.units[0].latency
        # Where a step goes waits until it is through the units.
        count = word.count if "count" in self._places else Const(self._pieces[0][1]["count"])
        where = {"final": step.final, "bank": step.bank, "address": step.place + word.word, "offset": word.offset, "count": count}
        shapes = {name: value.shape() for name, value in where.items()} | {"address": step.place.shape()}
        m.submodules.steps = steps = SideQueue(data.StructLayout(shapes), words=latency + 1)
        soon = register(m, step.exists, stages=latency - 1)
        m.d.comb += [steps.write.eq(step.exists.any()), steps.read.eq(soon.any()), *(steps.i[name].eq(value) for name, value in where.items())]
        exists, place = register(m, soon), steps.o
        # A layer is complete when its last step is written; the sequencer hears of it before.
        m.d.comb += sequencer.written.eq(register(m, step.done & ~step.final, stages=latency + WRITE_LATENCY - LEAD))
        m.d.comb += [
            frames.w_en.eq(exists[0] & ~place.final), frames.w_bank.eq(place.bank), frames.w_addr.eq(place.address),
            frames.w_offset.eq(place.offset), frames.w_count.eq(place.count),
            output.w_en.eq(Mux(place.final, exists, 0)), output.w_addr.eq(place.address), output.w_offset.eq(place.offset),
            output.w_count.eq(place.count), output.w_last.eq(register(m, step.done & step.final, stages=latency)),
            *(frames.w_data[k].eq(self.units[k].q) for k in range(self.inner_e)),
            *(output.w_data[k].eq(self.units[k].q) for k in range(layers[-1].e * layers[-1].g)),
        ]  # fmt: skip
