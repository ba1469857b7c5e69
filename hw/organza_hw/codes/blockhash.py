"""Blocked hash: the row and the signs of a lane word from its address."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes import BlockHash
from organza.codes.blockhash import BITS, FACTOR, sign_bits
from organza_hw.codes.term import Term


class BlockHashTerm(Term):
    """Activation × two's complement bucket."""

    kind = BlockHash.kind

    def __init__(self, code: BlockHash):
        self.field_shape = signed(BITS)

    def product(self, m, activation, field):
        return activation * field


class RowHash(wiring.Component):
    """Hash of a lane word's address. Latency 1 cycle, one address a cycle.

    Parameters
    ----------
    addresses : lane words. lanes : signs of a word. row_bits : of a row's number.

    Members
    -------
    addr : In. row : Out(row_bits). negative : Out(lanes), lanes whose bucket is negated.
    """

    addr: Signal
    row: Signal
    negative: Signal

    def __init__(self, *, addresses, lanes, row_bits):
        self.lanes, self.row_bits = lanes, row_bits
        super().__init__({
            "addr": In(range(max(addresses, 2))), "row": Out(row_bits), "negative": Out(lanes),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        h, folded = Signal(32), Signal(32)
        m.d.sync += h.eq(self.addr * FACTOR)
        m.d.comb += [
            self.row.eq(h[32 - self.row_bits :]),
            folded.eq(h ^ h[15:]),
            self.negative.eq(Cat(folded[a] ^ folded[b] for a, b in sign_bits(self.lanes))),
        ]
        return m
