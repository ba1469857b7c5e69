"""Factor expander: one multiply-accumulate a cycle."""

from amaranth import *

from organza.codes import MultiHash
from organza.codes.multihash import BITS, TOP
from organza_hw.codes.expander import Expander, read_held
from organza_hw.lane_walk import LaneWalk, lane_fields
from organza_hw.rom import Rom


def reciprocal(divisor, below):
    """(factor, shift) with value // divisor = (value · factor) >> shift for 0 ≤ value < `below`."""
    shift = below.bit_length() + divisor.bit_length()
    return -(-(1 << shift) // divisor), shift


class MultiHashExpander(Expander):
    """One field every `terms` cycles. Factors have no redundancy, so there is no error."""

    kind = MultiHash.kind
    latency = 8  # number, row, column, first entries, addresses, entries, product, sum

    @staticmethod
    def interval(code):
        return code.terms

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        self.schedule, self.code = schedule, schedule.node.code
        self.size, self.count = self.code.fields().size, sum(lane_fields(schedule))
        self.left, self.right = (
            Rom(
                width=BITS,
                words=(factor.reshape(-1) & 255).tolist(),
                file=file and f"{file}_{name}.hex",
                latency=1,
            )
            for name, factor in (("weights", self.code.left), ("right", self.code.right.T))
        )
        self.roms = [self.left, self.right]

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = LaneWalk(self.schedule)
        m.submodules.left, m.submodules.right = self.left, self.right
        terms, n = self.code.terms, len(self.code.left)
        columns = self.size // self.code.shape[0]
        enable, going, first, last = Signal(), Signal(), Signal(), Signal()
        term = Signal(range(max(terms, 2)))
        m.d.comb += [
            enable.eq(~self.o.valid | self.o.ready),
            going.eq(walk.going & walk.exists),
            first.eq(going & (term == 0)),
            last.eq(going & (term == terms - 1)),
            walk.step.eq(enable & walk.going & (last | ~walk.exists)),
        ]
        # Places without a weight pass as one empty step, as they do where the fields are taken.
        with m.If(enable & going):
            m.d.sync += term.eq(Mux(last, 0, term + 1))

        def held(value, *, like=None, stages=1):
            """`value` some stages later."""
            for _ in range(stages):
                register = Signal.like(value if like is None else like)
                with m.If(enable):
                    m.d.sync += register.eq(value)
                value = register
            return value

        factor, shift = reciprocal(n, self.size)
        side = Signal(range(max(n, 2)))
        number = held(walk.row * columns + walk.column, like=Signal(range(max(self.size, 2))))
        row = held((number * factor) >> shift, like=side)
        column, row = held(held(number) - row * n, like=side), held(row)
        # First entries of a row of the left and of a column of the right factor, then the term.
        entry = Signal(self.left.address_bits)
        turn = held(term, stages=4)
        for rom, start in ((self.left, row), (self.right, column)):
            address = held(held(start * terms, like=entry) + turn, like=entry)
            read_held(m, rom, address, enable)
        product = held(self.left.data.as_signed() * self.right.data.as_signed())
        begins, ends = held(first, stages=7), held(last, stages=8)
        total = Signal(signed(2 * BITS + terms.bit_length()))
        with m.If(enable):
            m.d.sync += total.eq(Mux(begins, 0, total) + product)
        rounded = (total + (1 << self.code.shift >> 1)) >> self.code.shift
        weight = Mux(rounded > TOP, TOP, Mux(rounded < -TOP, -TOP, rounded))
        left = Signal(range(self.count + 1), init=self.count)
        m.d.comb += [self.o.valid.eq(ends), self.o.payload.eq(weight), self.intact.eq(left == 0)]
        m.d.sync += left.eq(left - (self.o.valid & self.o.ready))
        return m
