"""One layer in gateware: ring, sequencer, weights, lanes, accumulators, epilogue, output rows."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.formats import Managed
from organza.managed_epilogue import ManagedEpilogue
from organza.schedule import Schedule
from organza_hw.codes import term_of
from organza_hw.epilogue import Constants, EpilogueUnit
from organza_hw.exponents import STATUS
from organza_hw.external.supply import word_signature
from organza_hw.formats import lane_shape, lane_value, wire_shape
from organza_hw.image_exponents import ImageExponents
from organza_hw.joint import joint_signature
from organza_hw.joint_header import HeaderReader, HeaderWriter
from organza_hw.managed_epilogue import ManagedUnit, align_latency
from organza_hw.memories import Memories, Memory
from organza_hw.orders import tables_of
from organza_hw.output_rows import OutputRows
from organza_hw.rom import Rom
from organza_hw.row_buffer import RingLayout, RowBuffer
from organza_hw.sequencer import OUTPUT_UNITS, Sequencer, address_latency
from organza_hw.weights import supply_of

OPERAND_LATENCY = 1  # register behind ring and weights
ROUND_TRIP = 4  # from the write that completes a unit to the next issue if it leaves at once, and from a finished sum to its step


def output_latency(schedule: Schedule) -> int:
    """Cycles from the last issue of an output unit to the write that completes the unit."""
    table = schedule.node.epilogue.table is not None
    term = term_of(schedule.node.code, schedule.arithmetic)
    return (
        address_latency(schedule) + supply_of(schedule).latency + OPERAND_LATENCY
        + term.latency(schedule.ti)
        + term.drain_latency(schedule) + Rom.LATENCY  # all steps of the tile, then the constants
        + align_latency(schedule.node) + EpilogueUnit.latency_of(schedule.node.accumulator_bits, table)
    )  # fmt: skip


def _delay(m, value, cycles, name):
    """`value` some cycles later."""
    for cycle in range(cycles):
        held = Signal.like(value, name=f"{name}_{cycle}")
        m.d.sync += held.eq(value)
        value = held
    return value


class Engine(Memories, wiring.Component):
    """A Convolve on Ti × To × P lanes, whatever its code.

    Throughput: `schedule.cycles` an image, images back to back without a gap. Latency: see `organza_sim.cycles`. Full
    back-pressure on both sides: an output unit (a row, or an image) starts only when one of two places for it is free, so the
    datapath never stops on the way.

    Parameters
    ----------
    schedule : layer and lanes. n_in, n_out : channels a beat at `i` and `o`. depth : rows of the ring.
    file : prefix of the files that hold weights, constants and tables; None puts them into the netlist.

    Members
    -------
    i, o : streams of `joint_signature`.
    error : Out(1), the weights are damaged, stored or as they come: the engine takes rows while its ring has room, and never sends one.
    status : Out, stream of `STATUS`, always ready; only with an output of managed exponents. See `ExponentUnit`.
    words : In, stream of `word_signature`; only where they come from a memory beside the chip.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    status: stream.Interface
    words: stream.Interface

    def __init__(self, schedule: Schedule, *, n_in, n_out, depth, file=None):
        node = schedule.node
        self.schedule, self.layers, self.instances = schedule, (schedule,), file is not None
        self.ring = RingLayout(schedule, n=n_in, depth=depth)
        self.n_out = n_out
        if not schedule.e <= n_out <= node.co:
            raise ValueError(f"{node.name}: n_out must be between E = {schedule.e} and {node.co}, not {n_out}")
        shape_in, shape_out = wire_shape(node.input), wire_shape(node.output)
        self.sum_bits = node.accumulator_bits
        self.term = term_of(node.code, schedule.arithmetic)
        self.registers = self.term.loaded(file=file) if schedule.loads else []
        # An image begins when the last but one has left; by then it must be known what that one asks for.
        known = address_latency(schedule) + supply_of(schedule).latency + OPERAND_LATENCY + self.term.latency(schedule.ti) + ROUND_TRIP
        if isinstance(node.output, Managed) and ImageExponents.latency(schedule.e) > known:
            raise ValueError(f"{node.name}: E must be smaller with managed exponents, not {schedule.e}")
        self.weight_shape = data.ArrayLayout(data.ArrayLayout(self.term.field_shape, schedule.ti), schedule.to)

        self.weights = supply_of(schedule)(schedule, file=file)
        blocks = node.code.word_blocks(schedule.ti, schedule.to, node.groups)
        self.blocks = blocks if blocks is None else Rom(
            width=max((schedule.ci_tiles - 1).bit_length(), 1), words=blocks, file=file and f"{file}_blocks.hex",
        )  # fmt: skip

        pieces = self.pieces()
        self.constants = Constants(
            node.epilogue, e=schedule.e,
            chunks=[channels for channels, _ in pieces], extra=[extra for _, extra in pieces], loads=node.loads,
        )  # fmt: skip
        self.constant_rom = Rom(
            width=max(self.constants.layout.size, 1), words=self.constants.words,
            file=file and f"{file}_constants.hex", loads=schedule.loads,
        )  # fmt: skip
        word = data.View(self.constants.layout, Signal(self.constants.layout.size))
        shapes = {
            name: Shape.cast(self.constants.take(word, 0, name).shape())
            for name in ("bias", "positive", "negative", "shift")
        }
        managed = isinstance(node.epilogue, ManagedEpilogue)
        self.units = [
            (ManagedUnit(node, **options) if managed else EpilogueUnit(node.epilogue, **options))
            for options in schedule.e * [
                {"sum_bits": self.sum_bits, "output": shape_out, **shapes, "to_wire": node.output.to_wire,
                 "file": file and f"{file}_table.hex", **({} if managed else {"loads": schedule.loads})}
            ]
        ]  # fmt: skip
        self.exponents = ImageExponents(node, e=schedule.e, bits=len(self.units[0].wide)) if managed else None
        # Images whose headers have come and that have not begun: what the ring holds, what is between ring and epilogue, one.
        self.reader = HeaderReader(n=n_in, images=depth + OUTPUT_UNITS + 1) if isinstance(node.input, Managed) else None
        # Images that have begun and were not sent: what the output units hold, and one whose only beat waits at `o`.
        self.writer = HeaderWriter(n=n_out, images=OUTPUT_UNITS + 1) if isinstance(node.output, Managed) else None
        written = [extra for _, extra in pieces if extra["count"]]
        self.output = OutputRows(
            shape=shape_out, n=n_out, channels=node.co, height=node.y.output, width=node.x.output,
            rows=schedule.visit.unit_rows, e=schedule.e, offsets={extra["offset"] for extra in written},
            straddle=any(extra["offset"] + extra["count"] > n_out for extra in written),
        )  # fmt: skip
        super().__init__({
            "i": In(joint_signature(shape_in, n_in)),
            "o": Out(joint_signature(shape_out, n_out)),
            "error": Out(1),
            **({"status": Out(stream.Signature(STATUS, always_ready=True))} if self.writer else {}),
            **({"words": In(word_signature(schedule))} if schedule.external else {}),
        })  # fmt: skip

    def pieces(self):
        """For every epilogue step of every tile: its channels, and where the output row takes them."""
        schedule, node = self.schedule, self.schedule.node
        group = node.co // node.groups
        made = []
        for g in range(node.groups):
            for tile in range(schedule.co_tiles // node.groups):
                for chunk in range(schedule.chunks):
                    first = tile * schedule.to + chunk * schedule.e
                    last = min(first + schedule.e, (tile + 1) * schedule.to, group)
                    channels = list(range(g * group + first, g * group + last))
                    start = channels[0] if channels else 0
                    made.append((channels, {"word": start // self.n_out, "offset": start % self.n_out,
                                            "count": len(channels)}))  # fmt: skip
        return made

    @property
    def memories(self) -> list[Memory]:
        """See `Memories`."""
        single = [*self.weights.roms, *([] if self.blocks is None else [self.blocks]), self.constant_rom]
        made = [*([rom] for rom in single), [unit.rom for unit in self.units if unit.rom], self.registers]
        return [Memory.of(copies, [len(copies[0].words)]) for copies in made if copies]

    def elaborate(self, platform):
        m = Module()
        schedule, ring = self.schedule, self.ring
        node = schedule.node
        m.submodules.ring = buffer = RowBuffer(ring, wire_shape(node.input))
        tables = tables_of(ring, pixel_beats=self.output.pixel_beats)
        m.submodules.sequencer = sequencer = Sequencer(
            tables, blocks=self.blocks, words_ahead=self.weights.words_ahead
        )
        m.submodules.weights = self.weights
        for registers in self.registers:
            m.submodules.registers = registers
        m.submodules.lanes = lanes = self.term.lanes(
            self.term, activation=lane_shape(node.input),
            ti=schedule.ti, to=schedule.to, p=schedule.p, sum_bits=node.dot_bits, span=ring.lanes, instances=self.instances,
        )  # fmt: skip
        m.submodules.accumulators = accumulators = self.term.accumulators(
            tables, bits=node.dot_bits, instances=self.instances
        )
        m.submodules.constants = self.constant_rom
        m.submodules.output = output = self.output

        source, sink = wiring.flipped(self.i), wiring.flipped(self.o)
        if self.reader:
            m.submodules.reader = self.reader
            wiring.connect(m, source, self.reader.i)
            source = self.reader.o
        if self.writer:
            m.submodules.writer = self.writer
            wiring.connect(m, self.writer.o, sink)
            sink = self.writer.i
        wiring.connect(m, source, buffer.i)
        wiring.connect(m, output.o, sink)
        m.d.comb += [
            sequencer.row_written.eq(buffer.row_written),
            sequencer.unit_freed.eq(output.unit_freed),
            buffer.release.eq(sequencer.release),
            buffer.r_addr.eq(sequencer.ring_addr),
            sequencer.enable.eq(self.weights.loaded),
            self.error.eq(self.weights.error),
        ]

        # Operands: turn the banks so that pixel lane p gets its column; a tap or channel that does not exist reads as zero.
        turn = _delay(m, sequencer.issue.turn, RowBuffer.LATENCY, "turn")
        mask = _delay(m, sequencer.issue.mask, RowBuffer.LATENCY, "mask")
        partial = _delay(m, sequencer.issue.partial, RowBuffer.LATENCY, "partial")
        used = (node.ci // node.groups - 1) % ring.lanes + 1  # channels of a group's last tile
        weights = Signal(self.weight_shape, reset_less=True)
        if schedule.external:
            wiring.connect(m, wiring.flipped(self.words), self.weights.words)
        if schedule.streams:
            # The word stays for all issues of its pass.
            take = _delay(m, sequencer.issue.valid & sequencer.issue.word, self.weights.latency, "take")
            m.d.comb += [sequencer.word_ready.eq(self.weights.ready), self.weights.take.eq(take)]
            with m.If(take):
                m.d.sync += weights.as_value().eq(self.weights.data)
        else:
            m.d.comb += self.weights.addr.eq(sequencer.weight_addr)
            m.d.sync += weights.as_value().eq(self.weights.data)
        activations, masked = (Signal.like(one, reset_less=True) for one in (lanes.activations, lanes.exists))
        m.d.sync += masked.eq(mask.as_value())
        with m.Switch(turn):
            for number in tables.turns:
                with m.Case(number):
                    for lane in range(schedule.p):
                        bank = (number + lane * node.x.pitch) % ring.banks
                        for channel in range(ring.lanes):
                            exists = mask[lane] if channel < used else mask[lane] & ~partial
                            m.d.sync += activations[lane][channel].eq(
                                lane_value(node.input, buffer.r_data[bank][channel], exists)
                            )
        # The ring answers in its time, whatever the weights take.
        late = self.weights.latency - RowBuffer.LATENCY
        m.d.comb += [
            lanes.activations.eq(_delay(m, activations, late, "activations")), lanes.weights.eq(weights),
            lanes.exists.eq(_delay(m, masked, late, "masked")),
        ]  # fmt: skip

        latency = self.weights.latency + OPERAND_LATENCY + self.term.latency(schedule.ti)
        issue = _delay(m, sequencer.issue, latency, "issue")
        m.d.comb += [
            accumulators.valid.eq(issue.valid), accumulators.first.eq(issue.first), accumulators.last.eq(issue.last),
            accumulators.sums.eq(lanes.sums),
            *(accumulators.tile[name].eq(issue[name]) for name in accumulators.tile.shape().members),
        ]  # fmt: skip

        # Epilogue: constants are read while the sums wait.
        tile, step = accumulators.o_tile, schedule.node.x.phases * output.pixel_beats
        behind = Signal(range(max(schedule.p * step, 2)))  # output pixels of the tile already passed
        half = Signal()  # which of the two output units
        done = Signal()
        m.d.comb += [
            self.constant_rom.addr.eq(tile.constant + accumulators.o_chunk),
            done.eq(accumulators.o_valid & accumulators.o_last & tile.unit_end),
        ]
        with m.If(accumulators.o_valid & (accumulators.o_chunk == schedule.chunks - 1)):
            m.d.sync += behind.eq(Mux(accumulators.o_last, 0, behind + step))
        with m.If(done):
            m.d.sync += half.eq(~half)
        place = Signal.like(output.w_addr)
        exists = Signal()
        m.d.sync += [
            place.eq(tile.pixel + behind + Mux(half, output.unit_words, 0)),
            exists.eq(accumulators.o_valid & (accumulators.o_pixel < tile.pixels)),
        ]
        sums = _delay(m, accumulators.o_sums, Rom.LATENCY, "sums")
        place = _delay(m, place, Rom.LATENCY - 1, "place")
        exists = _delay(m, exists, Rom.LATENCY - 1, "exists_here")
        word = data.View(self.constants.layout, self.constant_rom.data[: self.constants.layout.size])
        for number, unit in enumerate(self.units):
            m.submodules[f"unit{number}"] = unit
            m.d.comb += [unit.sum.eq(sums[number]), output.w_data[number].eq(unit.q)]
            for name in ("bias", "positive", "negative", "shift"):
                m.d.comb += getattr(unit, name).eq(self.constants.take(word, number, name))
        latency = self.units[0].latency
        address = Signal.like(output.w_addr)
        m.d.sync += address.eq(place + word.word)
        m.d.comb += [
            output.w_en.eq(_delay(m, exists, latency, "exists")),
            output.w_addr.eq(_delay(m, address, latency - 1, "address")),
            output.w_offset.eq(_delay(m, word.offset, latency, "offset")),
            output.w_count.eq(_delay(m, word.count, latency, "count")),
            output.w_last.eq(_delay(m, done, latency + Rom.LATENCY, "done")),
        ]
        if self.exponents:
            self._connect_exponents(m, self.exponents, accumulators.o_valid, done, latency)
        return m

    def _connect_exponents(self, m, exponents, step, done, latency):
        """Connect the `ImageExponents` to the units.

        step : an epilogue step begins in this cycle. done : it is the last of an output unit. latency : of the units.
        """
        m.submodules.exponents = exponents
        count = self.schedule.node.y.output // self.schedule.visit.unit_rows  # of output units of an image
        fresh, number = Signal(init=1), Signal(range(max(count, 2)))
        ends = done & (number == count - 1)
        with m.If(done):
            m.d.sync += number.eq(Mux(ends, 0, number + 1))
        with m.If(step):
            m.d.sync += fresh.eq(ends)
        # What follows `begin` is there when the sums and constants of the step are.
        m.d.comb += exponents.begin.eq(_delay(m, step & fresh, Rom.LATENCY - exponents.LATENCY, "begin"))
        for unit in self.units:
            m.d.comb += [getattr(unit, name).eq(getattr(exponents, name)) for name in ("e_in", "e_out", "right")]
        if self.reader:
            wiring.connect(m, self.reader.exponent, exponents.header)
        if self.writer:
            wiring.connect(m, exponents.exponent, self.writer.exponent)
            wiring.connect(m, exponents.status, wiring.flipped(self.status))
            m.d.comb += [
                exponents.count.eq(Mux(self.output.w_en, self.output.w_count, 0)),
                exponents.end.eq(_delay(m, ends, latency + Rom.LATENCY, "ends")),
            ]
            for lane, unit in enumerate(self.units):
                m.d.comb += [exponents.values[lane].eq(unit.q), exponents.wide[lane].eq(unit.wide)]
