"""Weight codes: how a layer's integer weights are stored and supplied to the lanes."""

from organza.codes.affine import Affine
from organza.codes.binary import Binary
from organza.codes.code import Code
from organza.codes.codebook import Codebook
from organza.codes.linear import Linear
from organza.codes.power import PowerOfTwo
from organza.codes.sparse import Sparse
from organza.codes.ternary import Ternary

CODES: dict[str, type[Code]] = {
    code.kind: code for code in (Linear, Affine, PowerOfTwo, Ternary, Binary, Codebook, Sparse)
}

__all__ = [
    "CODES",
    "Affine",
    "Binary",
    "Code",
    "Codebook",
    "Linear",
    "PowerOfTwo",
    "Sparse",
    "Ternary",
]
