"""Weight codes in gateware: what a lane makes of an activation and a field, one file for each code."""

from organza_hw.codes.affine import AffineTerm
from organza_hw.codes.binary import BinaryTerm
from organza_hw.codes.codebook import CodebookTerm
from organza_hw.codes.linear import LinearTerm
from organza_hw.codes.power import PowerTerm
from organza_hw.codes.sparse import SparseTerm
from organza_hw.codes.ternary import TernaryTerm

TERMS = {
    term.kind: term
    for term in (LinearTerm, AffineTerm, PowerTerm, TernaryTerm, BinaryTerm, CodebookTerm, SparseTerm)
}


def term_of(code):
    """The lane arithmetic of a weight code."""
    return TERMS[code.kind](code)
