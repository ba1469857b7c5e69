"""Index generator of hashed weights: two hashes of the place, a bucket memory, a sign."""

from amaranth import *

from organza.codes import Hashed
from organza.codes.xxhash import MASK
from organza_hw.codes.expander import Expander, read_held
from organza_hw.lane_walk import LaneWalk, lane_fields
from organza_hw.rom import Rom
from organza_hw.xxhash import HashPairs


class HashedExpander(Expander):
    """One field a cycle. Buckets have no redundancy, so there is no error."""

    kind = Hashed.kind
    latency = HashPairs.LATENCY + 2  # bucket address, bucket

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        code = self.code = schedule.node.code
        self.schedule, self.count = schedule, sum(lane_fields(schedule))
        self.rom = Rom(
            width=code.field_bits, words=(code.buckets & ((1 << code.field_bits) - 1)).tolist(),
            file=file and f"{file}_weights.hex", latency=1,
        )  # fmt: skip
        self.roms = [self.rom]

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = LaneWalk(self.schedule)
        m.submodules.index = index = HashPairs(self.code.seed)
        m.submodules.sign = sign = HashPairs(self.code.seed ^ MASK)
        m.submodules.buckets = buckets = self.rom
        enable = Signal()
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), walk.step.eq(enable & walk.going)]
        for hashed in (index, sign):
            m.d.comb += [
                hashed.enable.eq(enable),
                hashed.first.eq(walk.row),
                hashed.second.eq(walk.column),
            ]
        # Stages: the hash, the address, the bucket.
        there, negative = Signal(self.latency), Signal(2)
        address = Signal(buckets.address_bits)
        left = Signal(range(self.count + 1), init=self.count)
        with m.If(enable):
            m.d.sync += [
                there.eq(Cat(walk.going & walk.exists, there)),
                negative.eq(Cat(sign.hash[31], negative)),
                address.eq((index.hash * len(buckets.words)) >> 32),
            ]
        read_held(m, buckets, address, enable)
        value = buckets.data.as_signed()
        m.d.comb += [
            self.o.valid.eq(there[-1]),
            self.o.payload.eq(Mux(negative[-1], -value, value)),
            self.intact.eq(left == 0),
        ]
        m.d.sync += left.eq(left - (self.o.valid & self.o.ready))
        return m
