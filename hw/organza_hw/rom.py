"""Read-only memory with registers behind it: filled from Python, from a file beside the Verilog, or at run time."""

from collections.abc import Iterable

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.block_ram import block_ram
from organza_hw.lanes.dot import register

MODULE = "organza_rom"
VERILOG = f"""\
// Read-only memory; FILE holds one hexadecimal word a line. data follows addr by two clock edges, because the output of a block
// RAM comes late in a cycle. EARLY: the first of the two registers is in front of the memory and has the address.
module {MODULE} #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter EARLY = 0,
    parameter FILE = ""
) (
    input  wire               clk,
    input  wire [ADDRESS-1:0] addr,
    output wire [WIDTH-1:0]   data
);
    reg [ADDRESS-1:0] held;
    always @(posedge clk) held <= addr;
    reg [WIDTH-1:0] words [0:DEPTH-1];
    // Some tools elaborate a module with its default parameters too: without a name there is no file to read.
    generate if (FILE != "") initial $readmemh(FILE, words); endgenerate
    reg [WIDTH-1:0] read, behind;
    always @(posedge clk) begin
        read <= words[EARLY ? held : addr];
        behind <= read;
    end
    assign data = EARLY ? read : behind;
endmodule
"""
LOADED_MODULE = "organza_loaded"
LOADED_VERILOG = f"""\
// Memory that is filled at run time, and then only read: nothing is read while load is 1. data follows addr by two clock edges.
// NAME says to synthesis which one it is. EARLY: as of a read-only memory. LARGE: out of single-port RAMs of 16 bits × 16,384 (iCE40
// UP5K), which no bitstream fills.
module {LOADED_MODULE} #(
    parameter WIDTH = 1,
    parameter DEPTH = 1,
    parameter ADDRESS = 1,
    parameter EARLY = 0,
    parameter NAME = "",
    parameter LARGE = 0
) (
    input  wire               clk,
    input  wire [ADDRESS-1:0] addr,
    output wire [WIDTH-1:0]   data,
    input  wire               load,
    input  wire [ADDRESS-1:0] load_addr,
    input  wire [WIDTH-1:0]   load_data
);
    reg [ADDRESS-1:0] held;
    always @(posedge clk) held <= addr;
    wire [ADDRESS-1:0] read_addr = EARLY ? held : addr;
    wire [WIDTH-1:0] word; // that comes out of the memory
    reg [WIDTH-1:0] behind;
    always @(posedge clk) behind <= word;
    assign data = EARLY ? word : behind;
    generate if (LARGE) begin : single_port
        localparam COLUMNS = (WIDTH + 15) / 16;
        wire [13:0] place = load ? load_addr : read_addr;
        wire [16*COLUMNS-1:0] written = load_data, read;
        genvar column;
        for (column = 0; column < COLUMNS; column = column + 1) begin : ram
            SB_SPRAM256KA cell_ (
                .ADDRESS(place), .DATAIN(written[16*column +: 16]), .MASKWREN(4'b1111), .WREN(load), .CHIPSELECT(1'b1), .CLOCK(clk),
                .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(read[16*column +: 16])
            );
        end
        assign word = read[WIDTH-1:0];
    end else begin : block
        (* no_rw_check *) reg [WIDTH-1:0] words [0:DEPTH-1];
        reg [WIDTH-1:0] read;
        always @(posedge clk) begin
            if (load) words[load_addr] <= load_data;
            read <= words[read_addr];
        end
        assign word = read;
    end endgenerate
endmodule
"""


def hex_words(width: int, words: Iterable[int]) -> str:
    """Words of so many bits as `$readmemh` reads them: one a line."""
    digits = -(-width // 4)
    return "".join(f"{word:0{digits}x}\n" for word in words)


class Rom(wiring.Component):
    """Words of `width` bits.

    Latency `LATENCY` cycles, one word a cycle, no back-pressure.

    Parameters
    ----------
    width : bits of a word, at least 1.
    words : non-negative integers below 2**width.
    file : name of the hexadecimal file that holds the words in simulation and synthesis, or None to put them into the
        netlist (what Amaranth's own simulator needs).
    loads : the words are written at run time; those given here are only what they will be, and `file` a name.
    early : of the two registers, the first has the address, in front of the memory, instead of the word behind it: fewer bits, but
        the word comes late in a cycle.

    Members
    -------
    addr : In(range(len(words)))
    data : Out(width), the word at the `addr` of `LATENCY` cycles before.
    load : In(1), load_addr, load_data : In, of a memory that `loads`: a word to write. What is read meanwhile is no word.
    """

    LATENCY = 2

    addr: Signal
    data: Signal
    load: Signal
    load_addr: Signal
    load_data: Signal

    def __init__(self, *, width, words, file=None, loads=False, early=False):
        words = [int(word) for word in words]
        if width < 1 or not words:
            raise ValueError(f"Rom must have a width and words, not {width} and {len(words)}")
        if any(not 0 <= word < 1 << width for word in words):
            raise ValueError(f"Rom words must fit {width} bits")
        self.width, self.words, self.file, self.loads, self.early = width, words, file, loads, early
        self.address_bits = max(1, (len(words) - 1).bit_length())
        ports = {"addr": In(self.address_bits), "data": Out(width)}
        loading = {"load": In(1), "load_addr": In(self.address_bits), "load_data": In(width)}
        super().__init__({**ports, **loading} if loads else ports)

    @property
    def name(self):
        """Of the memory in a netlist: its file's without the ending."""
        return (self.file or "").removesuffix(".hex")

    @property
    def hex(self):
        """Content of `file`."""
        return hex_words(self.width, self.words)

    def _read(self, m, port):
        """`data` out of a memory's port, which is as narrow as the depth allows: one word has no address."""
        before, behind = (self.LATENCY - 1, 0) if self.early else (0, self.LATENCY - 1)
        m.d.comb += [
            port.addr.eq(register(m, self.addr, stages=before)), self.data.eq(register(m, port.data, stages=behind, reset=False)),
        ]  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        if self.loads and self.file is not None:
            m.submodules.words = Instance(
                LOADED_MODULE,
                p_WIDTH=self.width,
                p_DEPTH=len(self.words),
                p_ADDRESS=self.address_bits,
                p_EARLY=int(self.early),
                p_NAME=self.name,
                i_clk=ClockSignal(),
                i_addr=self.addr,
                o_data=self.data,
                i_load=self.load,
                i_load_addr=self.load_addr,
                i_load_data=self.load_data,
            )
        elif self.loads:
            m.submodules.words = words = block_ram(self.width, len(self.words))
            read, write = words.read_port(), words.write_port()
            self._read(m, read)
            m.d.comb += [
                write.en.eq(self.load), write.addr.eq(self.load_addr), write.data.eq(self.load_data),
            ]  # fmt: skip
        elif self.file is None:
            m.submodules.words = words = memory.Memory(shape=self.width, depth=len(self.words), init=self.words)
            self._read(m, words.read_port())
        else:
            m.submodules.words = Instance(
                MODULE,
                p_WIDTH=self.width,
                p_DEPTH=len(self.words),
                p_ADDRESS=self.address_bits,
                p_EARLY=int(self.early),
                p_FILE=self.file,
                i_clk=ClockSignal(),
                i_addr=self.addr,
                o_data=self.data,
            )
        return m


class Registers(wiring.Component):
    """Few words that are loaded at run time and all there at once.

    Latency: a word is in `values` in the cycle after `load`. No reset touches them.

    Parameters
    ----------
    As those of a `Rom` that `loads`; `shape` of a word instead of its width.

    Attributes
    ----------
    values : a Signal for every word.

    Members
    -------
    load, load_addr, load_data : In, as of a `Rom`.
    """

    loads = True

    load: Signal
    load_addr: Signal
    load_data: Signal

    def __init__(self, *, shape, words, file=None):
        self.shape = Shape.cast(shape)
        self.width, self.words, self.file = self.shape.width, [int(word) % (1 << self.shape.width) for word in words], file
        self.values = [Signal(self.shape, name=f"value_{number}", reset_less=True) for number in range(len(self.words))]
        super().__init__({"load": In(1), "load_addr": In(range(max(len(self.words), 2))), "load_data": In(self.width)})

    name = Rom.name

    def elaborate(self, platform):
        m = Module()
        with m.If(self.load), m.Switch(self.load_addr):
            for number, value in enumerate(self.values):
                with m.Case(number):
                    m.d.sync += value.eq(self.load_data)
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
