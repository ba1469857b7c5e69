"""Read-only memory with registers behind it, filled from Python or from a file beside the Verilog."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.lanes.dot import register

MODULE = "organza_rom"
VERILOG = f"""\
// Read-only memory; FILE holds one hexadecimal word a line. data follows addr by two clock edges, because the output of a block
// RAM comes late in a cycle.
module {MODULE} #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter FILE = ""
) (
    input  wire               clk,
    input  wire [ADDRESS-1:0] addr,
    output reg  [WIDTH-1:0]   data
);
    reg [WIDTH-1:0] words [0:DEPTH-1];
    // Some tools elaborate a module with its default parameters too: without a name there is no file to read.
    generate if (FILE != "") initial $readmemh(FILE, words); endgenerate
    reg [WIDTH-1:0] read;
    always @(posedge clk) begin
        read <= words[addr];
        data <= read;
    end
endmodule
"""


class Rom(wiring.Component):
    """Words of `width` bits.

    Latency `LATENCY` cycles, one word a cycle, no back-pressure.

    Parameters
    ----------
    width : bits of a word, at least 1.
    words : non-negative integers below 2**width.
    file : name of the hexadecimal file that holds the words in simulation and synthesis, or None to put them into the
        netlist (what Amaranth's own simulator needs).

    Members
    -------
    addr : In(range(len(words)))
    data : Out(width), the word at the `addr` of `LATENCY` cycles before.
    """

    LATENCY = 2

    addr: Signal
    data: Signal

    def __init__(self, *, width, words, file=None):
        words = [int(word) for word in words]
        if width < 1 or not words:
            raise ValueError(f"Rom must have a width and words, not {width} and {len(words)}")
        if any(not 0 <= word < 1 << width for word in words):
            raise ValueError(f"Rom words must fit {width} bits")
        self.width, self.words, self.file = width, words, file
        self.address_bits = max(1, (len(words) - 1).bit_length())
        super().__init__({"addr": In(self.address_bits), "data": Out(width)})

    @property
    def hex(self):
        """Content of `file`: one word a line."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)

    def elaborate(self, platform):
        m = Module()
        if self.file is None:
            m.submodules.words = words = memory.Memory(shape=self.width, depth=len(self.words), init=self.words)
            port = words.read_port()
            # Memory ports are as narrow as the depth allows: one word has no address.
            m.d.comb += [port.addr.eq(self.addr), self.data.eq(register(m, port.data, stages=self.LATENCY - 1, reset=False))]
        else:
            m.submodules.words = Instance(
                MODULE,
                p_WIDTH=self.width,
                p_DEPTH=len(self.words),
                p_ADDRESS=self.address_bits,
                p_FILE=self.file,
                i_clk=ClockSignal(),
                i_addr=self.addr,
                o_data=self.data,
            )
        return m


def read_held(m, rom, address, enable):
    """Words of `rom`, its latency later in cycles with `enable`, in which alone `address` counts.

    The memory itself reads in every cycle, for a block RAM to have its output register inside: what comes while nothing moves waits
    here, at most as many words as the latency has cycles.
    """
    depth = Rom.LATENCY
    came = Signal(depth, init=-1)  # what is read at the beginning are the words before the first
    waiting, put, get = Signal(range(depth + 1)), Signal(range(depth)), Signal(range(depth))
    words = Array(Signal.like(rom.data, name=f"waiting_{number}", reset_less=True) for number in range(depth))
    m.d.comb += rom.addr.eq(address)
    m.d.sync += [came.eq(Cat(enable, came)), waiting.eq(waiting + came[-1] - enable)]
    with m.If(came[-1]):
        m.d.sync += [words[put].eq(rom.data), put.eq(put + 1)]
    with m.If(enable):
        m.d.sync += get.eq(get + 1)
    assert depth == 1 << len(put)
    return Mux(waiting == 0, rom.data, words[get])
