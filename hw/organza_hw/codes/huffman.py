"""Huffman decoder: the lengths by comparison with the ends of all lengths, then a symbol table."""

from amaranth import *

from organza.codes import Huffman
from organza_hw.code_reader import CodeReader
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
    latency = CodeReader.LATENCY + 1 + Rom.LATENCY  # place of the symbol, symbol

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        code = schedule.node.code
        self.table, self.count = code.table, sum(lane_fields(schedule))
        self.most = self.table.rows[-1][0]
        self.reader = CodeReader(
            code.stream(schedule.ti, schedule.to, schedule.node.groups, schedule.streamed_words), most=self.most,
            ends=[(bits, first + amount) for bits, first, amount, _ in self.table.rows], file=file and f"{file}_weights.hex",
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
        # Fields that are not yet made, but one, so that the sign tells whether there are any.
        left = Signal(signed(self.count.bit_length() + 1), init=self.count - 1)
        over = left[-1]
        index = Signal(symbols.address_bits)
        with m.Switch(reader.length):
            for bits, first, _, start in self.table.rows:
                with m.Case(bits):
                    m.d.comb += index.eq(reader.bits[self.most - bits :] + start - first)
        enable, decode, good = Signal(), Signal(), Signal()
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            decode.eq(reader.there & enable & ~over & ~self.error),
            good.eq(decode & reader.good),
            reader.take.eq(good),
            self.o.valid.eq(register(m, good, enable=enable, stages=1 + Rom.LATENCY)),
            self.o.payload.eq(read_held(m, symbols, register(m, index, enable=enable), enable)),
        ]
        m.d.sync += left.eq(left - good)
        reader.judge(m, self, over=over, refused=decode & ~good)
        return m
