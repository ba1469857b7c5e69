"""Codebook weights: decoded at the multiplier, or never."""

from amaranth import *
from amaranth.lib import data

from organza.codes import Codebook
from organza_hw.codes.term import Term
from organza_hw.lanes.bins import BinLanes, Bins, bin_bound, sum_shape
from organza_hw.multiply import LATENCY, multiply
from organza_hw.rom import Registers

BITS = 8  # of a centroid


class CodebookTerm(Term):
    """Index → centroid in logic, then a multiplier."""

    kind = Codebook.kind
    product_latency = LATENCY

    def __init__(self, code: Codebook):
        self.centroids = code.centroids.tolist()
        self.field_shape = unsigned(code.field_bits)
        bits = max(value.bit_length() if value >= 0 else (-value - 1).bit_length() for value in self.centroids) + 1
        self.centroid_shape = signed(bits)

    def loaded(self, *, file):
        self.centroid_shape = signed(BITS)
        made = Registers(shape=self.centroid_shape, words=self.centroids, file=file and f"{file}_centroids.hex")
        self.centroids = made.values
        return [made]

    @staticmethod
    def stored(words: list[int]) -> list[int]:
        """Centroids of what `loaded` says of them."""
        return [word - (word >> BITS - 1 << BITS) for word in words]

    def decode(self, m, field):
        """The centroid of an index."""
        centroid = Signal(self.centroid_shape)
        with m.Switch(field):
            for index, value in enumerate(self.centroids):
                with m.Case(index):
                    m.d.comb += centroid.eq(value)
        return centroid

    def product(self, m, activation, field, *, instances=False):
        return multiply(m, activation, self.decode(m, field), instances=instances)


class CodebookBins(CodebookTerm):
    """Activations added up by index, then a multiplication for every centroid."""

    arithmetic = "bins"
    lanes = BinLanes
    product_latency = 1  # there is none

    def __init__(self, code: Codebook):
        super().__init__(code)
        self.code, self.factors = code, None

    def loaded(self, *, file):
        """The first centroid, and how much the others are more: bin 0 is the one that stays zero."""
        first, *others = self.centroids
        words = [first, *(other - first for other in others)]
        made = Registers(shape=signed(BITS + 1), words=words, file=file and f"{file}_centroids.hex")
        self.factors = made.values
        return [made]

    @staticmethod
    def stored(words: list[int]) -> list[int]:
        first, *others = (word - (word >> BITS << BITS + 1) for word in words)
        return [first, *(other + first for other in others)]

    def accumulators(self, tables, *, instances=False, **options):
        schedule = tables.schedule
        loads = self.factors is not None
        zero = 0 if loads else self.code.zero_field or 0
        activation = Shape(schedule.node.input.bits, schedule.node.input.signed)
        one, everything = bin_bound(schedule, None if loads else self.code, zero)
        return Bins(
            centroids=self.centroids, factors=self.factors, zero=zero, activation=activation, shape=sum_shape(activation, one),
            total=sum_shape(activation, everything), to=schedule.to, p=schedule.p, e=schedule.e,
            tile_layout=data.StructLayout(tables.finished_fields), instances=instances, **options,
        )  # fmt: skip

    def drain_latency(self, schedule):
        return Bins.latency(schedule.pause)
