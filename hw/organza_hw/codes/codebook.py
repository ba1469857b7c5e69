"""Codebook weights: decoded at the multiplier, or never."""

from amaranth import *
from amaranth.lib import data

from organza.codes import Codebook
from organza_hw.codes.term import Term
from organza_hw.lanes.bins import BinLanes, Bins, bin_bound, sum_shape
from organza_hw.multiply import LATENCY, multiply


class CodebookTerm(Term):
    """Index → centroid in logic, then a multiplier."""

    kind = Codebook.kind
    product_latency = LATENCY

    def __init__(self, code: Codebook):
        self.centroids = code.centroids.tolist()
        self.field_shape = unsigned(code.field_bits)
        bits = max(value.bit_length() if value >= 0 else (-value - 1).bit_length() for value in self.centroids) + 1
        self.centroid_shape = signed(bits)

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
        self.code = code

    def accumulators(self, tables, *, instances=False, **options):
        schedule = tables.schedule
        zero = self.code.zero_field or 0
        activation = Shape(schedule.node.input.bits, schedule.node.input.signed)
        one, everything = bin_bound(schedule, self.code, zero)
        return Bins(
            centroids=self.centroids, zero=zero, activation=activation, shape=sum_shape(activation, one),
            total=sum_shape(activation, everything), to=schedule.to, p=schedule.p, e=schedule.e,
            tile_layout=data.StructLayout(tables.finished_fields), instances=instances, **options,
        )  # fmt: skip

    def drain_latency(self, schedule):
        return Bins.latency(schedule.pause)
