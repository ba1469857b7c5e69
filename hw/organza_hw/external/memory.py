"""A memory beside the chip, for simulation: an accelerator with it has the ports of one whose weights are inside."""

from typing import Any

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import Out

from organza.plan import Plan, Work, schedules_of
from organza.program import Program
from organza_hw.external.supply import external_words, word_signature

PORT = "weights"  # and the engine's number
MODULE = "organza_external"
VERILOG = f"""\
// A memory beside the chip, for simulation only; FILE holds one hexadecimal word a line. data is the word at addr, at once.
module {MODULE} #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter FILE = ""
) (
    input  wire [ADDRESS-1:0] addr,
    output wire [WIDTH-1:0]   data
);
    reg [WIDTH-1:0] words [0:DEPTH-1];
    generate if (FILE != "") initial $readmemh(FILE, words); endgenerate
    assign data = words[addr];
endmodule
"""


def external_works(program: Program, plan: Plan) -> dict[int, Work]:
    """What engines do whose lane words come from outside, by their number."""
    return {k: work for k, work in enumerate(plan.works(program)) if work.external}


def external_layers(program: Program, plan: Plan) -> str:
    """The layers of these engines, for people: names with commas, empty if there are none."""
    return ", ".join(schedule.node.name for work in external_works(program, plan).values() for schedule in schedules_of(work))


def external_files(program: Program, plan: Plan) -> dict[str, tuple[int, list[int]]]:
    """Width and words of what is in memories beside the chip, by the names of their files."""
    return {_file(number): (work.word_bits, external_words(work)) for number, work in external_works(program, plan).items()}


def _file(number: int) -> str:
    return f"layer{number}_external.hex"


class ExternalMemory(wiring.Component):
    """Offers its words over and over, the first one in the first cycle, and one a cycle if it does not stall.

    Parameters
    ----------
    file : name of the file with the words, None for the netlist. stalls : a pattern, repeated; where it is true no word begins to be offered.

    Members
    -------
    words : Out, stream of `word_signature`.
    """

    words: stream.Interface

    def __init__(self, work: Work, *, file: str | None, stalls: tuple[bool, ...] = (False,)):
        self.work, self.file, self.stalls = work, file, stalls
        super().__init__({"words": Out(word_signature(work))})

    def elaborate(self, platform):
        m = Module()
        count, period, width = self.work.words, len(self.stalls), self.work.word_bits
        number, time, held = Signal(range(max(count, 2))), Signal(range(max(period, 2))), Signal()
        if self.file:
            m.submodules.memory = Instance(
                MODULE, p_WIDTH=width, p_DEPTH=count, p_ADDRESS=len(number), p_FILE=self.file,
                i_addr=number, o_data=self.words.payload.data,
            )  # fmt: skip
        else:
            m.submodules.memory = words = memory.Memory(shape=width, depth=count, init=external_words(self.work))
            port = words.read_port(domain="comb")
            m.d.comb += [port.addr.eq(number), self.words.payload.data.eq(port.data)]
        m.d.comb += [
            self.words.payload.last.eq(number == count - 1),
            self.words.valid.eq(held | ~Array(map(int, self.stalls))[time]),
        ]
        m.d.sync += [time.eq(Mux(time == period - 1, 0, time + 1)), held.eq(self.words.valid & ~self.words.ready)]
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += number.eq(Mux(number == count - 1, 0, number + 1))
        return m


class Fed(wiring.Component):
    """An accelerator and the memory beside it.

    Parameters
    ----------
    accelerator : with a port `PORT`{k} for every engine whose lane words come from outside, of this Program and Plan.
    files : the words are in files. stalls : of all memories, see `ExternalMemory`.

    Members are those of the accelerator but for these ports.
    """

    def __init__(self, program: Program, plan: Plan, accelerator: Any, *, files: bool, stalls: tuple[bool, ...] = (False,)):
        self.accelerator = accelerator
        self.memories = {
            f"{PORT}{k}": ExternalMemory(work, file=_file(k) if files else None, stalls=stalls)
            for k, work in external_works(program, plan).items()
        }
        super().__init__({name: member for name, member in accelerator.signature.members.items() if name not in self.memories})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        for name, beside in self.memories.items():
            m.submodules[name] = beside
            wiring.connect(m, beside.words, getattr(accelerator, name))
        for name, member in self.signature.members.items():
            mine, inner = getattr(self, name), getattr(accelerator, name)
            if not member.is_port:
                wiring.connect(m, wiring.flipped(mine), inner)
            else:
                m.d.comb += mine.eq(inner) if member.flow == Out else inner.eq(mine)
        return m
