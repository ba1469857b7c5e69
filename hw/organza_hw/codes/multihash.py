"""Factor expander: one multiply-accumulate a cycle."""

from amaranth import *

from organza.codes import MultiHash
from organza.codes.multihash import BITS, TOP
from organza_hw.codes.expander import Expander
from organza_hw.lane_walk import LaneWalk, lane_fields
from organza_hw.lanes.dot import register
from organza_hw.multiply import LATENCY, multiply
from organza_hw.rom import Rom, read_held

WIDE_LATENCY = 4  # of the products that make addresses


def reciprocal(divisor, below):
    """(factor, shift) with value // divisor = (value · factor) >> shift for 0 ≤ value < `below`."""
    shift = below.bit_length() + divisor.bit_length()
    return -(-(1 << shift) // divisor), shift


class MultiHashExpander(Expander):
    """One field every `terms` cycles. Factors have no redundancy, so there is no error."""

    kind = MultiHash.kind
    # Number of the weight, its row, its column, first entries, addresses; entries, their product, the sum, that rounded, the weight.
    addresses = 4 * WIDE_LATENCY + 3
    latency = addresses + Rom.LATENCY + LATENCY + 3

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
                loads=schedule.loads,
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

        instances = self.left.file is not None

        def held(value, stages=1):
            return register(m, value, enable=enable, stages=stages)

        def times(value, factor):
            return multiply(m, value, Const(factor), enable=enable, instances=instances, latency=WIDE_LATENCY)

        factor, shift = reciprocal(n, self.size)
        number = held((times(walk.row, columns) + held(walk.column, WIDE_LATENCY))[: (self.size - 1).bit_length()])
        side = max(n - 1, 1).bit_length()
        row = (times(number, factor) >> shift)[:side]
        column = held((held(number, 2 * WIDE_LATENCY) - times(row, n))[:side])
        # First entries of a row of the left and of a column of the right factor, then the term.
        entries = []
        for rom, start in ((self.left, held(row, WIDE_LATENCY + 1)), (self.right, column)):
            address = times(start, terms) + held(term, self.addresses - 1)
            entries.append(read_held(m, rom, held(address[: rom.address_bits]), enable).as_signed())
        product = multiply(m, *entries, enable=enable, instances=instances)
        begins, ends = held(first, self.latency - 3), held(last, self.latency)
        total = Signal(signed(2 * BITS + terms.bit_length()))
        with m.If(enable):
            m.d.sync += total.eq(Mux(begins, 0, total) + product)
        rounded = held((total + (1 << self.code.shift >> 1)) >> self.code.shift)
        weight = held(Mux(rounded > TOP, TOP, Mux(rounded < -TOP, -TOP, rounded))[:BITS])
        left = Signal(range(self.count + 1), init=self.count)
        m.d.comb += [self.o.valid.eq(ends), self.o.payload.eq(weight), self.intact.eq(left == 0)]
        m.d.sync += left.eq(left - (self.o.valid & self.o.ready))
        return m
