"""Weight codes: how a layer's integer weights are stored and supplied to the lanes."""

from organza.codes.affine import Affine
from organza.codes.binary import Binary
from organza.codes.blockhash import BlockHash
from organza.codes.code import Code
from organza.codes.codebook import Codebook
from organza.codes.flexpoint import Flexpoint
from organza.codes.hashed import Hashed
from organza.codes.huffman import Huffman
from organza.codes.linear import Linear
from organza.codes.multihash import MultiHash
from organza.codes.power import PowerOfTwo
from organza.codes.rle import RunLength
from organza.codes.serial import Serial
from organza.codes.sparse import Sparse
from organza.codes.ternary import Ternary

DIRECT: dict[str, type[Code]] = {
    code.kind: code for code in (Linear, Affine, PowerOfTwo, Ternary, Binary, Flexpoint, Codebook, Sparse, BlockHash)
}
SERIAL: dict[str, type[Serial]] = {code.kind: code for code in (Huffman, RunLength, Hashed, MultiHash)}
CODES: dict[str, type[Code]] = {**DIRECT, **SERIAL}

__all__ = [
    "CODES", "DIRECT", "SERIAL", "Affine", "Binary", "BlockHash", "Code", "Codebook", "Flexpoint", "Hashed", "Huffman", "Linear", "MultiHash",
    "PowerOfTwo", "RunLength", "Serial", "Sparse", "Ternary",
]  # fmt: skip
