"""The accelerator with an AXI4-Stream in, one out, and AXI4-Lite registers, under the port names that vendors' tools know."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.host_protocol import element_bytes
from organza.plan import Plan, schedules_of
from organza.program import Program
from organza.program_file import program_hash
from organza.registers import MOST_LAYERS, REGISTERS, WORD_BITS, WORD_BYTES, register
from organza.schedule import ceil_div
from organza_hw.axi.frame_store import FrameStore
from organza_hw.axi.gates import InputGate, OutputGate
from organza_hw.axi.load_bytes import LoadBytes
from organza_hw.axi.registers import CHANNELS, GIVEN, RegisterFile
from organza_hw.axi.stream import BYTE, BeatReader, BeatWriter, Framing, least_word
from organza_hw.build import TOP as GENERATOR
from organza_hw.external.memory import PORT, external_works
from organza_hw.formats import wire_shape
from organza_hw.generator import Generator
from organza_hw.verilog import to_verilog

TOP = "axi_top"
# TDATA and others under their names in AXI.
STREAM_PORTS = {"data": "tdata", "keep": "tkeep", "last": "tlast"}


def framings(program: Program, plan: Plan) -> tuple[Framing, Framing]:
    """Of inputs and outputs. Raises ValueError if a beat of the Plan is too wide for a word, or the Program has too many layers for the registers."""
    if len(program.nodes) > MOST_LAYERS:
        raise ValueError(f"Program must have at most {MOST_LAYERS} layers behind AXI registers, not {len(program.nodes)}")
    return (
        Framing(program.input_shape, wire_shape(program.input), plan.joints[0].n),
        Framing(program.output_shape, wire_shape(program.output), plan.joints[-1].n),
    )


def weight_bytes(program: Program, plan: Plan) -> dict[str, int]:
    """Bytes of the words that lane words from outside come in, the least power of two, by the port of the accelerator.

    Raises ValueError for a lane word that is too wide.
    """
    return {
        f"{PORT}{number}": least_word(f"{schedules_of(work)[0].node.name}: lane words", ceil_div(work.word_bits, BYTE))
        for number, work in external_works(program, plan).items()
    }


def axi_verilog(program: Program, plan: Plan) -> str:
    """Verilog of `TOP`, which has the module of `organza_hw.build` inside. Raises ValueError as `framings` and `weight_bytes` do."""
    framings(program, plan)  # refuses before there are components, which Amaranth would report as unused
    weight_bytes(program, plan)
    return to_verilog(AxiTop(program, plan, Generator(program, plan, GENERATOR)), TOP)


class AxiTop(wiring.Component):
    """An accelerator for blocks that speak AXI; see docs/axi.md.

    Parameters
    ----------
    accelerator : with streams `i` and `o`, `error` and `status{k}`, a `Pipeline` or a `Generator`, of this Program and Plan. If it loads its weights, also with
        load: In, stream of `LOAD_BYTE`; loaded: Out(1), there are some; refusal: Out, why there are none; image: Out(32), their check sum. While `loaded` is low,
        nothing is in it.

    Members
    -------
    aclk, aresetn : In(1), all is at the rising edge of `aclk`; `aresetn` is synchronous.
    s_axis_*, m_axis_* : streams of inputs and outputs. s_axil_* : registers.
    s_axis_weights{k}_* : stream of lane words, for every engine k that has them from a memory beside the chip: a frame an image, over and
        over, the lowest byte first. TKEEP is not looked at. What comes of a frame when a reset cuts it is dropped, as of an input.
    """

    RESET_CYCLES = 16  # of a soft reset

    aclk: Signal
    aresetn: Signal

    def __init__(self, program: Program, plan: Plan, accelerator):
        self.program, self.accelerator = program, accelerator
        self.source, self.sink = framings(program, plan)
        ports: dict[str, Any] = {"aclk": In(1), "aresetn": In(1)}
        for name, framing, here, there in (("s_axis", self.source, In, Out), ("m_axis", self.sink, Out, In)):
            ports |= _stream_ports(name, framing.word_bytes, here, there)
        sizes = weight_bytes(program, plan)
        self.weight_gates = {name: InputGate(size) for name, size in sizes.items()}
        for name, size in sizes.items():
            ports |= _stream_ports(f"s_axis_{name}", size, In, Out)
        for channel, layout in CHANNELS.items():
            here, there = (Out, In) if channel in GIVEN else (In, Out)
            ports |= {f"s_axil_{channel}{field}": here(layout[field].width) for field in layout.members}
            ports |= {f"s_axil_{channel}valid": here(1), f"s_axil_{channel}ready": there(1)}
        self.joints = [k for k in range(1, len(program.nodes) + 1) if hasattr(accelerator, f"status{k}")]
        self.loads = hasattr(accelerator, "load")
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        # `core` has soft resets too, and `frames`, what stands around the accelerator, is also in reset while it has no weights.
        domains: Any = [ClockDomain(name) for name in ("sync", "core", "frames")]  # the stubs know no members
        for domain in domains:
            domain.clk = self.aclk
        outer, core, frames = domains
        m.domains.sync, m.domains.core, m.domains.frames = outer, core, frames
        registers: Any = RegisterFile(self.joints, loads=self.loads)
        m.submodules.registers = registers
        m.submodules.input_gate = input_gate = InputGate(self.source.word_bytes)
        m.submodules.output_gate = output_gate = OutputGate(self.sink.word_bytes)
        inside = DomainRenamer("frames")
        store, reader, writer = FrameStore(self.source), BeatReader(self.source), BeatWriter(self.sink)
        m.submodules.store, m.submodules.reader, m.submodules.writer = map(inside, (store, reader, writer))
        m.submodules.accelerator = DomainRenamer("core")(self.accelerator)
        wiring.connect(m, input_gate.o, store.i)
        wiring.connect(m, store.o, reader.i)
        wiring.connect(m, reader.o, self.accelerator.i)
        wiring.connect(m, self.accelerator.o, writer.i)
        wiring.connect(m, writer.o, output_gate.i)
        self._ports(m, registers, input_gate.i, output_gate.o)
        for name, gate in self.weight_gates.items():
            m.submodules[f"{name}_gate"] = gate
            words = getattr(self.accelerator, name)
            m.d.comb += [
                words.payload.data.eq(gate.o.payload.data), words.payload.last.eq(gate.o.payload.last),
                words.valid.eq(gate.o.valid), gate.o.ready.eq(words.ready),
            ]  # fmt: skip
            self._stream(m, f"s_axis_{name}", gate.i, given=False)

        resetting, left = Signal(), Signal(range(self.RESET_CYCLES))
        unloaded, held = self._load(m, registers), Signal()
        control = register("CONTROL")
        asked, abandon = (registers.control_written[control.field(name).low] for name in ("reset", "abandon"))
        m.d.comb += [
            outer.rst.eq(~self.aresetn), core.rst.eq(~self.aresetn | resetting), held.eq(resetting | unloaded),
            frames.rst.eq(~self.aresetn | held), output_gate.reset.eq(held),
        ]  # fmt: skip
        for gate in (input_gate, *self.weight_gates.values()):
            m.d.comb += gate.reset.eq(held)
            m.d.sync += gate.abandon.eq(asked & abandon)
        m.d.sync += [resetting.eq(asked | (left != 0))]
        with m.If(asked):
            m.d.sync += left.eq(self.RESET_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += registers.control.eq(resetting)
        self._count(m, registers, store, input_gate, output_gate, unloaded)
        self._identity(m, registers)
        return m

    def _ports(self, m, registers, source, sink):
        self._stream(m, "s_axis", source, given=False)
        self._stream(m, "m_axis", sink, given=True)
        for channel, layout in CHANNELS.items():
            inner, given = getattr(registers, channel), channel in GIVEN
            pairs = [(f"s_axil_{channel}{field}", inner.payload[field], given) for field in layout.members]
            pairs += [(f"s_axil_{channel}valid", inner.valid, given), (f"s_axil_{channel}ready", inner.ready, not given)]
            self._connect(m, pairs)

    def _stream(self, m, name, inner, *, given):
        pairs = [(f"{name}_{port}", inner.payload[field], given) for field, port in STREAM_PORTS.items()]
        self._connect(m, [*pairs, (f"{name}_tvalid", inner.valid, given), (f"{name}_tready", inner.ready, not given)])

    def _connect(self, m, pairs):
        for name, signal, given in pairs:
            port = getattr(self, name)
            m.d.comb += port.eq(signal) if given else signal.eq(port)

    def _load(self, m, registers):
        """Connect what loads weights; whether there are none."""
        unloaded = Signal(init=int(self.loads))
        if self.loads:
            accelerator = self.accelerator
            octets = LoadBytes()
            m.submodules.load_bytes = octets
            wiring.connect(m, registers.load, octets.i)
            m.d.sync += unloaded.eq(~accelerator.loaded)
            m.d.comb += [
                accelerator.load.payload.eq(octets.o.payload), accelerator.load.valid.eq(octets.o.valid), octets.o.ready.eq(accelerator.load.ready),
                registers.loading.eq(_word("LOADING", loaded=accelerator.loaded, refusal=accelerator.refusal)), registers.image.eq(accelerator.image),
            ]  # fmt: skip
        return unloaded

    def _count(self, m, registers, store, input_gate, output_gate, unloaded):
        """What changes while it runs; cleared by a soft reset."""
        images = Signal(16)  # that are inside
        busy, cycles = Signal(), Signal(2 * WORD_BITS)
        events = Signal(2)
        counted = {"frames_in": store.taken, "frames_out": output_gate.sent, "frames_refused": store.short | store.long}
        for name, one in counted.items():
            count = Signal(WORD_BITS, name=name)
            m.d.frames += count.eq(count + one)
            m.d.comb += getattr(registers, name).eq(count)
        m.d.frames += [
            images.eq(images + store.taken - output_gate.sent), busy.eq(images != 0), cycles.eq(cycles + busy),
            events.eq((events & ~registers.events_written[: len(events)]) | Cat(store.short, store.long)),
        ]  # fmt: skip
        damaged = Signal(len(self.accelerator.error))
        m.d.frames += damaged.eq(self.accelerator.error)
        m.d.comb += [
            registers.cycles_low.eq(cycles[:WORD_BITS]), registers.cycles_high.eq(cycles[WORD_BITS:]), registers.events.eq(events),
            registers.damaged.eq(damaged),
            registers.status.eq(_word("STATUS", busy=busy, receiving=input_gate.open, sending=output_gate.open,
                                      damaged=damaged.any(), event=events.any(), loads=int(self.loads), unloaded=unloaded)),
        ]  # fmt: skip
        for k in self.joints:
            status = getattr(self.accelerator, f"status{k}").payload
            m.d.comb += [
                getattr(registers, f"exponent_{k}").eq(_word("EXPONENT", peak=status.peak, exponent=status.exponent)),
                getattr(registers, f"overflow_{k}").eq(_word("OVERFLOW", overflows=status.overflows, overflow=status.overflow)),
            ]  # fmt: skip

    def _identity(self, m, registers):
        """What never changes."""
        for one in REGISTERS:
            if one.fields[0].reset and one.count == 1:
                m.d.comb += getattr(registers, one.name.lower()).eq(one.fields[0].reset)
        ends = ("input", self.program.input_shape, self.program.input), ("output", self.program.output_shape, self.program.output)
        for name, (channels, height, width), form in ends:
            m.d.comb += [
                getattr(registers, f"{name}_channels").eq(_word("INPUT_CHANNELS", channels=channels, bytes=element_bytes(form))),
                getattr(registers, f"{name}_size").eq(_word("INPUT_SIZE", height=height, width=width)),
            ]  # fmt: skip
        digest = bytes.fromhex(program_hash(self.program))
        for k in range(len(digest) // WORD_BYTES):
            word = digest[k * WORD_BYTES : (k + 1) * WORD_BYTES]
            m.d.comb += getattr(registers, f"program_{k}").eq(int.from_bytes(word, "little"))


def _stream_ports(name, size, here, there):
    """Of a stream of words of `size` bytes."""
    widths = {"tdata": BYTE * size, "tkeep": size, "tlast": 1, "tvalid": 1}
    return {**{f"{name}_{port}": here(width) for port, width in widths.items()}, f"{name}_tready": there(1)}


def _word(name, **values):
    """A register's word out of its fields; bits between them are 0."""
    parts, end = [], 0
    for field in sorted(register(name).fields, key=lambda field: field.low):
        parts += [Const(0, field.low - end), (Value.cast(values[field.name]) | Const(0, field.bits))[: field.bits]]
        end = field.low + field.bits
    return Cat(parts)
