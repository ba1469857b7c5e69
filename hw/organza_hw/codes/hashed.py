"""Index generator of hashed weights: two hashes of the place, a bucket memory, a sign."""

from amaranth import *

from organza.codes import Hashed
from organza.codes.xxhash import MASK
from organza_hw.codes.expander import Expander
from organza_hw.lane_walk import LaneWalk, lane_fields
from organza_hw.lanes.dot import register
from organza_hw.multiply import multiply
from organza_hw.rom import Rom, read_held
from organza_hw.xxhash import HashPairs

ADDRESS_LATENCY = 4  # of the product that makes a bucket's address of a hash


class HashedExpander(Expander):
    """One field a cycle. Buckets have no redundancy, so there is no error."""

    kind = Hashed.kind
    latency = 1 + HashPairs.LATENCY + ADDRESS_LATENCY + Rom.LATENCY + 1  # the first is the place's, the last the sign's

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        code = self.code = schedule.node.code
        self.schedule, self.count = schedule, sum(lane_fields(schedule))
        self.rom = Rom(
            width=code.field_bits, words=(code.buckets & ((1 << code.field_bits) - 1)).tolist(),
            file=file and f"{file}_weights.hex", loads=schedule.loads,
        )  # fmt: skip
        self.roms = [self.rom]

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = LaneWalk(self.schedule)
        instances = self.rom.file is not None
        m.submodules.index = index = HashPairs(self.code.seed, instances=instances)
        m.submodules.sign = sign = HashPairs(self.code.seed ^ MASK, instances=instances)
        m.submodules.buckets = buckets = self.rom
        enable = Signal()
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), walk.step.eq(enable & walk.going)]
        row, column = (register(m, value, enable=enable) for value in (walk.row, walk.column))
        for hashed in (index, sign):
            m.d.comb += [hashed.enable.eq(enable), hashed.first.eq(row), hashed.second.eq(column)]
        there = Signal(self.latency)
        with m.If(enable):
            m.d.sync += there.eq(Cat(walk.going & walk.exists, there))
        number = Const(len(buckets.words))
        scaled = multiply(m, index.hash, number, enable=enable, instances=instances, latency=ADDRESS_LATENCY)
        value = read_held(m, buckets, scaled[32:], enable).as_signed()
        negative = register(m, sign.hash[31], enable=enable, stages=ADDRESS_LATENCY + Rom.LATENCY)
        left = Signal(range(self.count + 1), init=self.count)
        m.d.comb += [
            self.o.valid.eq(there[-1]),
            self.o.payload.eq(register(m, Mux(negative, -value, value), enable=enable)),
            self.intact.eq(left == 0),
        ]
        m.d.sync += left.eq(left - (self.o.valid & self.o.ready))
        return m
