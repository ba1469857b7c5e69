"""Blocked hash: the row and the signs of a lane word from its address."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes import BlockHash
from organza.codes.blockhash import BITS, FACTOR, sign_bits
from organza_hw.codes.term import Term
from organza_hw.multiply import LATENCY, multiply


class BlockHashTerm(Term):
    """Activation × two's complement bucket."""

    kind = BlockHash.kind
    product_latency = LATENCY

    def __init__(self, code: BlockHash):
        self.field_shape = signed(BITS)

    def product(self, m, activation, field, *, instances=False):
        return multiply(m, activation, field, instances=instances)


class RowHash(wiring.Component):
    """Hash of a lane word's address. Latency `LATENCY` cycles, one address a cycle.

    Parameters
    ----------
    addresses : lane words. lanes : signs of a word. row_bits : of a row's number. instances : may use cells that only Verilog knows.

    Members
    -------
    addr : In. row : Out(row_bits). negative : Out(lanes), lanes whose bucket is negated.
    """

    LATENCY = 5  # up to four of them the product

    addr: Signal
    row: Signal
    negative: Signal

    def __init__(self, *, addresses, lanes, row_bits, instances=False):
        self.lanes, self.row_bits, self.instances = lanes, row_bits, instances
        super().__init__({
            "addr": In(range(max(addresses, 2))), "row": Out(row_bits), "negative": Out(lanes),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        h, folded = Signal(32), Signal(32)
        product = multiply(m, self.addr, Const(FACTOR, 32), instances=self.instances, bits=32, latency=self.LATENCY - 1)
        m.d.comb += [h.eq(product), folded.eq(h ^ h[15:])]
        m.d.sync += [
            self.row.eq(h[32 - self.row_bits :]),
            self.negative.eq(Cat(folded[a] ^ folded[b] for a, b in sign_bits(self.lanes))),
        ]
        return m
