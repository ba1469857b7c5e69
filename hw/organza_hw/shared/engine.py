"""Several consecutive layers on one engine: frames, sequencer, weights, lanes, accumulators, epilogue, output rows."""

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
from organza_hw.accumulators import Accumulators, Use
from organza_hw.choice import chosen
from organza_hw.codes import term_of
from organza_hw.codes.term import Term
from organza_hw.epilogue import Constants, EpilogueUnit
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.lanes.dot import register
from organza_hw.memories import Memories, Memory
from organza_hw.output_rows import Columns, OutputRows
from organza_hw.rom import Rom
from organza_hw.shared.frames import WRITE_LATENCY, FrameLayout, Frames
from organza_hw.shared.sequencer import SharedSequencer
from organza_hw.shared.tables import SharedTables
from organza_hw.shared.weights import SharedWeights, weights_latency
from organza_hw.table import Table

CONSTANTS = ("bias", "positive", "negative", "shift")  # of an output channel
OPERAND_LATENCY = 2  # one register behind the choice of banks, one behind that of lanes
LEAD = 3  # cycles before the completing write of a layer in which the sequencer hears of it: it reads as much later


def shared_term(shared: TimeSharing) -> Term:
    """Arithmetic of the lanes. Multipliers are placed where they are on the device, and the adders of many lanes elsewhere: a register
    more is between them."""
    term = term_of(shared.nodes[0].code, shared.layers[0].arithmetic)
    if type(term).dots is Term.dots and term.product_latency > 1:
        term.late = 1
    return term


def shared_latency(shared: TimeSharing, schedule: Schedule) -> int:
    """Cycles from the last issue of a row of one of the layers to the write that completes the row."""
    return (
        SharedSequencer.LATENCY + weights_latency(shared) + OPERAND_LATENCY + shared_term(shared).latency(shared.ti)
        + Accumulators.latency(schedule.drain) + Rom.LATENCY + unit_latency(shared) + (WRITE_LATENCY if schedule is not shared.layers[-1] else 0)
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
    of the one before runs, and a row of the last layer starts only when there is a place for it.

    Parameters
    ----------
    shared : layers and lanes. n_in, n_out : channels a beat at `i` and `o`.
    file : prefix of the files that hold weights, constants and tables; None puts them into the netlist.

    Members
    -------
    i, o : streams of `joint_signature`. error : Out(1), always 0: nothing that is stored could be damaged unnoticed.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    reader = writer = None  # of headers: exponents are not managed here

    def __init__(self, shared: TimeSharing, *, n_in, n_out, file=None):
        first, last = shared.layers[0].node, shared.layers[-1]
        self.shared, self.layers, self.instances, self.n_out = shared, shared.layers, file is not None, n_out
        if not last.e <= n_out <= last.node.co:
            raise ValueError(f"{last.node.name}: n_out must be between E = {last.e} and {last.node.co}, not {n_out}")
        self.layout = FrameLayout(shared, n=n_in)
        self.weights = SharedWeights(shared, file=file)
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
            straddle=any(extra["offset"] + extra["count"] > shared.ti for extra in inner),
        )  # fmt: skip
        pixels = Columns(last.node.x.output, last.node.x.phases, last.g) if last.g > 1 else None
        written = [extra for _, extra in self._pieces if "inner" not in extra and extra["count"]]
        self.output = OutputRows(
            shape=wire_shape(last.node.output), n=n_out, channels=last.node.co, height=last.node.y.output,
            width=last.node.x.output, rows=1, e=last.e, offsets={extra["offset"] for extra in written},
            straddle=any(extra["offset"] + extra["count"] > n_out for extra in written), places=shared.rows, columns=pixels,
        )  # fmt: skip
        epilogues = [node.epilogue for node in shared.nodes]
        columns = {name: np.concatenate([getattr(one, name) for one in epilogues]) for name in CONSTANTS}
        joined = Epilogue(**columns, low=0, high=0)
        self.constants = Constants(
            joined, e=shared.e, chunks=[channels for channels, _ in self._pieces],
            extra=[{name: extra[name] for name in ("word", "offset", "count")} for _, extra in self._pieces],
            loads=max((node.loads for node in shared.nodes if node.loads is not None), default=None),
        )  # fmt: skip
        self.constant_rom = Rom(
            width=max(self.constants.layout.size, 1), words=self.constants.words, file=file and f"{file}_constants.hex",
            loads=shared.loads,
        )  # fmt: skip
        word = data.View(self.constants.layout, Signal(self.constants.layout.size))
        shapes: dict[str, Any] = {name: Shape.cast(self.constants.take(word, 0, name).shape()) for name in CONSTANTS}
        self.q_shape = Shape(max(int(node.output.bits) + (not node.output.signed) for node in shared.nodes), True)
        self.units = [
            EpilogueUnit(
                epilogues[0], sum_bits=self.sum_bits, output=self.q_shape, **shapes, file=file and f"{file}_table.hex",
                others=epilogues[1:], loads=shared.loads,
            ) for _ in range(shared.e)
        ]  # fmt: skip
        super().__init__({
            "i": In(joint_signature(wire_shape(first.input), n_in)),
            "o": Out(joint_signature(wire_shape(last.node.output), n_out)),
            "error": Out(1),
        })  # fmt: skip

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
            ([self.weights.rom], [layer.words for layer in self.layers]),
            ([self.constant_rom], [layer.co_tiles * layer.chunks for layer in self.layers]),
            ([unit.rom for unit in self.units if unit.rom], [0 if table is None else len(table) for table in tables]),
        ]  # fmt: skip
        return [Memory.of(copies, counts) for copies, counts in made if copies]

    def elaborate(self, platform):
        m = Module()
        shared, frames, output = self.shared, self.frames, self.output
        tables = SharedTables(self.layout, pixel_beats=output.pixel_beats, columns=output.columns)
        m.submodules.sequencer = sequencer = SharedSequencer(tables)
        m.submodules.frames, m.submodules.output, m.submodules.constants = frames, output, self.constant_rom
        wiring.connect(m, wiring.flipped(self.i), frames.i)
        wiring.connect(m, output.o, wiring.flipped(self.o))
        m.d.comb += [
            sequencer.taken.eq(frames.taken), frames.open.eq(sequencer.open), sequencer.unit_freed.eq(output.unit_freed),
            frames.r_addr.eq(sequencer.frame_addr),
        ]  # fmt: skip

        wait = self.weights.latency
        activations, weights = self._operands(m, tables, sequencer)
        sums = self._lanes(m, activations, weights)
        issue = register(m, sequencer.issue, stages=wait + OPERAND_LATENCY + self.term.latency(shared.ti))
        tile_layout = data.StructLayout(tables.tile_fields)
        m.submodules.accumulators = accumulators = Accumulators(
            bits=self.dot_bits, uses=list(map(Use.of, shared.layers)), tile_layout=tile_layout, instances=self.instances
        )
        m.d.comb += [
            accumulators.valid.eq(issue.valid), accumulators.first.eq(issue.first), accumulators.last.eq(issue.last),
            accumulators.tile.eq(issue.tile), *(accumulators.sums[lane].eq(total) for lane, total in enumerate(sums)),
        ]  # fmt: skip
        self._epilogue(m, tables, accumulators, sequencer)
        return m

    def _operands(self, m, tables, sequencer):
        """Activations (C × Ti) and fields (C × Ti) of an issue, as late as weights and `OPERAND_LATENCY` take."""
        shared, issue = self.shared, sequencer.issue
        read, mask, layer = (
            register(m, value, stages=Frames.LATENCY) for value in (issue.read, issue.mask.as_value(), issue.tile.layer)
        )
        pixels = [[Signal(self.activation, name=f"pixel_{p}_{k}") for k in range(shared.ti)] for p in range(shared.p)]
        signs = Array(bool(node.input.signed) for node in shared.nodes)[layer]
        # What does not exist is zero, also in a tile that has no tap and reads nothing.
        m.d.sync += [value.eq(0) for pixel in pixels for value in pixel]
        with m.Switch(read):
            for number, (turn, p, pitch) in enumerate(tables.reads):
                with m.Case(number):
                    for pixel in range(p):
                        bank = self.frames.r_data[(turn + pixel * pitch) % self.layout.banks]
                        for k in range(shared.ti):
                            wire = bank[k]
                            if self.activation.width > self.bits:
                                wire = Cat(wire, wire[-1] & signs)
                            m.d.sync += pixels[pixel][k].eq(Mux(mask[pixel], wire, 0))
        late = self.weights.latency - Frames.LATENCY
        held = [[register(m, value, stages=late) for value in pixel] for pixel in pixels]
        layer = register(m, layer, stages=1 + late)
        fields = register(m, self.weights.fields(m, sequencer.weight_addr))
        bits = self.weights.field_bits
        activations, weights = [], []
        for lane in range(shared.c):
            used = {n: divmod(lane, s.to) for n, s in enumerate(shared.layers) if lane < s.to * s.p}
            activation, weight = [], []
            for k in range(shared.ti):
                activation.append(register(m, chosen(m, layer, {n: held[pixel][k] for n, (pixel, _) in used.items()})))
                words = self._words(fields, bits, k, sorted({channel for _, channel in used.values()}))
                weight.append(register(m, chosen(m, layer, {n: words[channel] for n, (_, channel) in used.items()})))
            activations.append(activation)
            weights.append(weight)
        return activations, weights

    def _words(self, fields, bits, k, channels):
        """By channel of a lane word: its field for input channel k."""
        made = {}
        for channel in channels:
            field = fields[bits * (channel * self.shared.ti + k) :][:bits]
            made[channel] = field.as_signed() if Shape.cast(self.term.field_shape).signed else field
        return made

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

    def _epilogue(self, m, tables, accumulators, sequencer):
        """Constants are read while the sums wait; what comes out goes to the frames, or to the output rows."""
        shared, frames, output = self.shared, self.frames, self.output
        layers, tile = shared.layers, accumulators.o_tile
        m.submodules.places = places = Table(tables.places)
        steps = Array(schedule.node.x.phases * schedule.g for schedule in layers)[tile.layer]
        chunk_end = Array(schedule.chunks - 1 for schedule in layers)[tile.layer]
        behind = Signal(range(max(max(s.p * s.node.x.phases for s in layers), 2)))  # columns of the tile already passed
        start, final, done = Signal(range(max(shared.rows * output.unit_words, 2))), Signal(), Signal()  # start: of the output row
        m.d.comb += [
            self.constant_rom.addr.eq(tile.constant + accumulators.o_chunk),
            final.eq(tile.layer == len(layers) - 1),
            done.eq(accumulators.o_valid & accumulators.o_last & tile.done),
            places.index.eq(tile.place + behind),
        ]  # fmt: skip
        with m.If(accumulators.o_valid & (accumulators.o_chunk == chunk_end)):
            m.d.sync += behind.eq(Mux(accumulators.o_last, 0, behind + steps))
        with m.If(done & final):
            m.d.sync += start.eq(Mux(start == (shared.rows - 1) * output.unit_words, 0, start + output.unit_words))
        exists = Cat(accumulators.o_valid & (accumulators.o_pixel + k < tile.pixels) for k in range(layers[-1].g))
        row = Signal(range(max(self.layout.bank_words, shared.rows * output.unit_words, 2)))
        m.d.comb += row.eq(Mux(final, start, tile.row))
        step = Signal(data.StructLayout({
            "exists": layers[-1].g, "final": 1, "done": 1, "layer": tables.layers, "bank": places.row.bank.shape(), "place": row.shape(),
        }))  # fmt: skip
        m.d.sync += [
            step.exists.eq(exists), step.final.eq(final), step.done.eq(done), step.layer.eq(tile.layer),
            step.bank.eq(places.row.bank), step.place.eq(row + places.row.word),
        ]  # fmt: skip
        # The layer's number is at the units with the sums and the constants.
        step = register(m, step, stages=Rom.LATENCY - 1)
        sums = register(m, accumulators.o_sums, stages=Rom.LATENCY)
        word = data.View(self.constants.layout, self.constant_rom.data[: self.constants.layout.size])
        for number, unit in enumerate(self.units):
            m.submodules[f"unit{number}"] = unit
            m.d.comb += [unit.sum.eq(sums[number]), unit.choice.eq(step.layer)]
            m.d.comb += [getattr(unit, name).eq(self.constants.take(word, number, name)) for name in CONSTANTS]
        latency = self.units[0].latency
        address = Signal.like(step.place)
        m.d.sync += address.eq(step.place + word.word)
        address = register(m, address, stages=latency - 1)
        offset, count = register(m, word.offset, stages=latency), register(m, word.count, stages=latency)
        # A layer is complete when its last step is written; the sequencer hears of it before.
        m.d.comb += sequencer.written.eq(register(m, step.done & ~step.final, stages=latency + WRITE_LATENCY - LEAD))
        step = register(m, step, stages=latency)
        m.d.comb += [
            frames.w_en.eq(step.exists[0] & ~step.final), frames.w_bank.eq(step.bank), frames.w_addr.eq(address),
            frames.w_offset.eq(offset), frames.w_count.eq(count),
            output.w_en.eq(Mux(step.final, step.exists, 0)), output.w_addr.eq(address), output.w_offset.eq(offset), output.w_count.eq(count),
            output.w_last.eq(step.done & step.final),
            *(frames.w_data[k].eq(self.units[k].q) for k in range(self.inner_e)),
            *(output.w_data[k].eq(self.units[k].q) for k in range(layers[-1].e * layers[-1].g)),
        ]  # fmt: skip
