"""Weight codes in gateware, one file for each code.

A direct code has a term: what a lane makes of an activation and a field. A serial one has an
expander that makes fields.
"""

from typing import Any

from organza.codes import Serial
from organza_hw.codes.affine import AffineTerm
from organza_hw.codes.binary import BinaryTerm, XnorTerm
from organza_hw.codes.blockhash import BlockHashTerm
from organza_hw.codes.codebook import CodebookBins, CodebookTerm
from organza_hw.codes.flexpoint import FlexpointTerm
from organza_hw.codes.hashed import HashedExpander
from organza_hw.codes.huffman import HuffmanExpander
from organza_hw.codes.linear import LinearTerm, PackedTerm, PlaneTerm
from organza_hw.codes.multihash import MultiHashExpander
from organza_hw.codes.power import PowerTerm
from organza_hw.codes.rle import RunLengthExpander
from organza_hw.codes.sparse import SparseTerm
from organza_hw.codes.ternary import TernaryTerm

TERMS: dict[tuple[str, str], Any] = {
    (term.kind, term.arithmetic): term
    for term in (
        LinearTerm, PackedTerm, PlaneTerm, AffineTerm, PowerTerm, TernaryTerm, BinaryTerm, XnorTerm, FlexpointTerm, CodebookTerm,
        CodebookBins, SparseTerm, BlockHashTerm,
    )
}  # fmt: skip
EXPANDERS: dict[str, Any] = {
    expander.kind: expander
    for expander in (HuffmanExpander, RunLengthExpander, HashedExpander, MultiHashExpander)
}


def term_of(code, arithmetic=""):
    """What the lanes `arithmetic`, "" for the first of `Code.arithmetics`, make of a weight code."""
    while isinstance(code, Serial):
        code = code.inner
    return TERMS[code.kind, arithmetic or code.arithmetics[0]](code)


def expander_of(code):
    """The class of the expander of a serial code."""
    return EXPANDERS[code.kind]
