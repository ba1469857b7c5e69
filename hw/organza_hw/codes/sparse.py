"""Sparse weights: the inner code's arithmetic behind a multiplexer."""

from amaranth import *
from amaranth.lib import data

from organza.codes import Sparse
from organza_hw.codes.term import Term
from organza_hw.lanes.gather import GatherLanes


class SparseTerm(Term):
    """Field: the inner code's field as `value`, the channel inside the block as `index` above
    it."""

    kind = Sparse.kind
    lanes = GatherLanes

    def __init__(self, code: Sparse):
        from organza_hw.codes import term_of  # which needs this module

        self.inner = term_of(code.inner)
        self.product_latency = self.inner.product_latency
        self.field_shape = data.StructLayout(
            {"value": self.inner.field_shape, "index": code.index_bits}
        )

    def product(self, m, activation, field, *, instances=False):
        """Exact value of one lane for the activation that its index has chosen."""
        return self.inner.product(m, activation, field.value, instances=instances)
