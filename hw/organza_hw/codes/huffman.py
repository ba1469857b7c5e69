"""Huffman decoder: the length by comparison with the ends of all lengths, then a symbol table."""

from amaranth import *

from organza.codes import Huffman
from organza_hw.bit_reader import BitReader
from organza_hw.codes.expander import Expander
from organza_hw.lane_walk import lane_fields
from organza_hw.lanes.dot import register
from organza_hw.rom import Rom, read_held


class HuffmanExpander(Expander):
    """One field a cycle. The symbol table is not part of the check sum.

    An error is: a code that does not exist, a stream that ends early or goes on behind the last
    field, a wrong check sum.
    """

    kind = Huffman.kind
    latency = BitReader.LATENCY + Rom.LATENCY

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        code = schedule.node.code
        self.table, self.count = code.table, sum(lane_fields(schedule))
        self.most = self.table.rows[-1][0]
        self.reader = BitReader(
            code.stream(schedule.ti, schedule.to, schedule.node.groups, schedule.streamed_words), most=self.most,
            file=file and f"{file}_weights.hex",
        )  # fmt: skip
        self.symbols = Rom(
            width=code.field_bits,
            words=self.table.symbols.tolist(),
            file=file and f"{file}_symbols.hex",
        )
        self.roms = [self.reader.rom, self.symbols]

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self.reader
        m.submodules.symbols = symbols = self.symbols
        left = Signal(range(self.count + 1), init=self.count)
        length, index, known = Signal(range(self.most + 1)), Signal(symbols.address_bits), Signal()
        # A code of some length is one that is below the end of its length and of no shorter one.
        for number, (bits, first, amount, start) in enumerate(self.table.rows):
            value = reader.bits[self.most - bits :]
            with (m.Elif if number else m.If)(value < first + amount):
                m.d.comb += [length.eq(bits), index.eq(value - first + start), known.eq(1)]
        enable, decode, good = Signal(), Signal(), Signal()
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            decode.eq(reader.ready & enable & (left != 0) & ~self.error),
            good.eq(decode & known & (length <= reader.available)),
            reader.take.eq(Mux(good, length, 0)),
            self.o.payload.eq(read_held(m, symbols, index, enable)),
            self.intact.eq((left == 0) & reader.drained & reader.intact & ~self.error),
        ]
        m.d.comb += self.o.valid.eq(register(m, good, enable=enable, stages=Rom.LATENCY))
        m.d.sync += left.eq(left - good)
        over = (left == 0) & (~reader.drained | (reader.checked & ~reader.intact))
        with m.If((decode & ~good) | over):
            m.d.sync += self.error.eq(1)
        return m
