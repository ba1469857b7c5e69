"""An accelerator whose Verilog is elsewhere, for what stands around it."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.formats import Managed
from organza.plan import Plan
from organza.program import Program
from organza_hw.exponents import STATUS
from organza_hw.external.memory import PORT, external_works
from organza_hw.external.supply import word_signature
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.loading.loader import LOAD_PORTS


class Generator(wiring.Component):
    """The Verilog of `organza build` as a component with the ports of its `Pipeline`.

    Parameters
    ----------
    name : of its top module.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    load: stream.Interface
    loaded: Signal
    refusal: Signal
    image: Signal

    def __init__(self, program: Program, plan: Plan, name):
        self.name, self.loads = name, program.loads
        ends = (program.input, plan.joints[0].n), (program.output, plan.joints[-1].n)
        source, sink = (joint_signature(wire_shape(form), n) for form, n in ends)
        self.managed = [k for k, n in enumerate(plan.tensors) if n and isinstance(program.nodes[n - 1].output, Managed)]
        status = {f"status{k}": Out(stream.Signature(STATUS, always_ready=True)) for k in self.managed}
        loading = LOAD_PORTS if self.loads else {}
        words = {f"{PORT}{k}": In(word_signature(work)) for k, work in external_works(program, plan).items()}
        self.outside = list(words)
        super().__init__({"i": In(source), "o": Out(sink), "error": Out(len(plan.engines)), **status, **loading, **words})

    def elaborate(self, platform):
        m = Module()
        status = {f"o_status{k}__{part}": getattr(getattr(self, f"status{k}"), part) for k in self.managed for part in ("payload", "valid")}
        loading = {
            "i_load__payload": self.load.payload, "i_load__valid": self.load.valid, "o_load__ready": self.load.ready,
            "o_loaded": self.loaded, "o_refusal": self.refusal, "o_image": self.image,
        } if self.loads else {}  # fmt: skip
        words = {}
        for name in self.outside:
            port = getattr(self, name)
            words |= {f"i_{name}__payload": port.payload, f"i_{name}__valid": port.valid, f"o_{name}__ready": port.ready}
        m.submodules.generator = Instance(
            self.name, i_clk=ClockSignal(), i_rst=ResetSignal(), i_i__payload=self.i.payload, i_i__valid=self.i.valid,
            o_i__ready=self.i.ready, o_o__payload=self.o.payload, o_o__valid=self.o.valid, i_o__ready=self.o.ready, o_error=self.error,
            **status, **loading, **words,
        )  # fmt: skip
        return m
