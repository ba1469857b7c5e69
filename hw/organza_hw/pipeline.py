"""Engines in a row, one for each layer or for several: the whole generator."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.loadable import shape_hash
from organza.plan import JointPlan, Plan, Work, schedules_of
from organza.program import Program
from organza.time_sharing import TimeSharing
from organza_hw.engine import Engine
from organza_hw.exponents import STATUS
from organza_hw.external.memory import PORT, external_works
from organza_hw.external.supply import word_signature
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_payload, joint_signature
from organza_hw.joint_rle import RunDecoder, RunEncoder
from organza_hw.loading.loader import LOAD_PORTS, WeightLoader
from organza_hw.memories import Memory
from organza_hw.shared.engine import SharedEngine


def _engine(work: Work, before: JointPlan, after: JointPlan, file: str | None) -> Any:
    if isinstance(work, TimeSharing):
        return SharedEngine(work, n_in=before.n, n_out=after.n, file=file)
    return Engine(work, n_in=before.n, n_out=after.n, depth=before.depth, file=file)


def _as_it_is(component: Any) -> Any:
    return component


class Pipeline(wiring.Component):
    """The accelerator that `plan` describes for `program`.

    Throughput: one image every `plan.interval` cycles. Full back-pressure. Joint k is visible inside as the wires
    ``joint{k}_payload``, ``joint{k}_valid``, ``joint{k}_ready``: 0 is the input, the last one the output. A coded joint
    has its encoder and decoder before these wires; they carry what the consumer takes. A joint with managed exponents has a
    header beat in front of every image (`organza_hw.joint_header`).

    Parameters
    ----------
    files : keep weights, constants and tables in files (see `Rom`) named after the layer's number, or in the netlist.

    Members
    -------
    i, o : streams of `joint_signature`.
    error : Out(engines), bit k: the stored weights of engine k are damaged, see `Engine`. Bits stay.
    load : In, stream of `LOAD_BYTE`; loaded : Out(1); refusal : Out, a `Reason` or 0; image : Out(32), see `WeightLoader`. Only where
        weights are loaded at run time. Until they are, and while others come, the accelerator is in reset: it takes and offers
        nothing, and what was in it is gone.
    weights{k} : In, stream of `word_signature`, for every engine k whose lane words come from a memory beside the chip.
    status{k} : Out, for every joint k with managed exponents, see `ExponentUnit`; inside also the wires ``status{k}_payload``,
        ``status{k}_valid``, ``status{k}_ready``.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    load: stream.Interface
    loaded: Signal
    refusal: Signal
    image: Signal

    def __init__(self, program: Program, plan: Plan, *, files: bool = True):
        self.program, self.plan = program, plan
        works = plan.works(program)
        self.engines = [
            _engine(work, before, after, f"layer{k}" if files else None)
            for k, (work, before, after) in enumerate(zip(works, plan.joints, plan.joints[1:], strict=False))
        ]
        self.coders = {
            k: self._coder(schedules_of(works[k - 1])[-1].node, joint.n) for k, joint in enumerate(plan.joints) if joint.coding == "rle"
        }
        self.loader = WeightLoader(shape_hash(program, plan), [(one.width, len(one.words)) for one in self.loaded_memories]) if program.loads else None
        super().__init__({
            "i": In(joint_signature(wire_shape(program.input), plan.joints[0].n)),
            "o": Out(joint_signature(wire_shape(program.output), plan.joints[-1].n)),
            "error": Out(len(self.engines)),
            **{f"status{k}": Out(stream.Signature(STATUS, always_ready=True)) for k in self.managed},
            **{f"{PORT}{k}": In(word_signature(work)) for k, work in external_works(program, plan).items()},
            **(LOAD_PORTS if self.loader else {}),
        })  # fmt: skip

    @property
    def managed(self) -> list[int]:
        """Joints with managed exponents."""
        return [k for k, engine in enumerate(self.engines, 1) if engine.writer]

    @property
    def loaded_memories(self) -> list[Memory]:
        """Memories that are loaded at run time, in the order of an image."""
        return [memory for engine in self.engines for memory in engine.loaded_memories]

    def elaborate(self, platform):
        m = Module()
        source, sink = self.i, self.o
        held, hold = _as_it_is, Const(0)
        if self.loader:
            held, hold, source, sink = self._load(m, self.loader)
        for k, engine in enumerate(self.engines):
            m.submodules[f"layer{k}"] = held(engine)
            if k in self.coders:
                encoder, decoder = self.coders[k]
                m.submodules[f"encoder{k}"], m.submodules[f"decoder{k}"] = held(encoder), held(decoder)
                wiring.connect(m, source, encoder.i)
                for given, taken in zip(encoder.o, decoder.i, strict=True):
                    wiring.connect(m, given, taken)
                source = decoder.o
            self._joint(m, k, source, engine.i)
            source = engine.o
        self._joint(m, len(self.engines), source, sink)
        m.d.comb += self.error.eq(Cat(engine.error for engine in self.engines))
        for k in external_works(self.program, self.plan):
            port, words = getattr(self, f"{PORT}{k}"), self.engines[k].words
            m.d.comb += [words.payload.eq(port.payload), words.valid.eq(port.valid & ~hold), port.ready.eq(words.ready & ~hold)]
        for k in self.managed:
            engine, port = self.engines[k - 1], getattr(self, f"status{k}")
            payload, valid = Signal(STATUS, name=f"status{k}_payload"), Signal(name=f"status{k}_valid")
            ready = Signal(name=f"status{k}_ready")
            m.d.comb += [
                payload.eq(engine.status.payload), valid.eq(engine.status.valid), ready.eq(1),
                port.payload.eq(payload), port.valid.eq(valid),
            ]  # fmt: skip
        return m

    def _load(self, m, loader):
        """Connect the loader: what keeps a component in reset until weights are there, as a wire too, and the streams that are closed until then."""
        m.submodules.loader = loader
        hold = Signal(init=1)  # far from everything that it resets, so behind a register
        m.d.sync += hold.eq(~loader.loaded)
        wiring.connect(m, wiring.flipped(self.load), loader.i)
        m.d.comb += [self.loaded.eq(loader.loaded & ~hold), self.refusal.eq(loader.refusal), self.image.eq(loader.image)]
        for number, memory in enumerate(self.loaded_memories):
            for rom in memory.copies:
                m.d.comb += [
                    rom.load.eq(loader.write[number]), rom.load_addr.eq(loader.address), rom.load_data.eq(loader.words[number]),
                ]  # fmt: skip
        source, sink = self.i.signature.create(), self.o.signature.create()
        m.d.comb += [
            source.payload.eq(self.i.payload), source.valid.eq(self.i.valid & ~hold), self.i.ready.eq(source.ready & ~hold),
            self.o.payload.eq(sink.payload), self.o.valid.eq(sink.valid & ~hold), sink.ready.eq(self.o.ready),
        ]  # fmt: skip
        return ResetInserter(hold), hold, source, sink

    @staticmethod
    def _coder(node, n):
        """Encoder and decoder of the joint behind the layer `node`."""
        shape, row_beats = wire_shape(node.output), node.x.output * -(-node.co // n)
        return RunEncoder(shape, n, row_beats), RunDecoder(shape, n, row_beats * node.y.output)

    @staticmethod
    def _joint(m, number, source, sink):
        """Connect through named wires, so that simulators find every joint."""
        layout = joint_payload(source.payload.data.shape().elem_shape, source.payload.data.shape().length)
        payload = Signal(layout, name=f"joint{number}_payload")
        valid = Signal(name=f"joint{number}_valid")
        ready = Signal(name=f"joint{number}_ready")
        m.d.comb += [
            payload.eq(source.payload), valid.eq(source.valid), source.ready.eq(ready),
            sink.payload.eq(payload), sink.valid.eq(valid), ready.eq(sink.ready),
        ]  # fmt: skip
