"""How a layer's code is kept: the lossless forms, which change bits and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from organza.codes import Code, Huffman, RunLength, Sparse, Ternary
from organza.codes.compressed import to_csc, to_csr
from organza.codes.serial import INNER as SERIAL_INNER
from organza.codes.sparse import GAP_BITS
from organza.codes.sparse import INNER as SPARSE_INNER
from organza.float_layers import Coded

SPARSE_FORMS, SERIAL_FORMS, PAPER_FORMS = ("bitmap", "relative"), ("huffman", "rle"), ("csr", "csc")
FORMS = ("auto", "dense", *SPARSE_FORMS, *SERIAL_FORMS, *PAPER_FORMS, "smallest")


@dataclass(frozen=True)
class Storage:
    """Form of one layer.

    form : "auto" is the smaller one of bitmap and relative index for pruned layers and dense for others; "dense" stores
    zeros as weights; "bitmap", "relative" keep what was not pruned, lanes skip the rest; "huffman", "rle" are expanded when the
    chip starts; "csr", "csc" are counted, while the chip gets a bitmap; "smallest" is the one of all that a chip can hold with
    the fewest bits. gap : bits of a relative index, None for the best. longest : most bits of a Huffman code. run_bits : of a
    run length, None for the best.
    """

    form: str = "auto"
    gap: int | None = None
    longest: int = 15
    run_bits: int | None = None

    def wrap(self, coded: Coded, mask: np.ndarray | None) -> Coded:
        """`coded` in this form; `mask` is True for weights that are kept, None for all.

        Raises ValueError for a form that is not made for the code.
        """
        return replace(coded, code=self._code(coded.code, mask))

    def _code(self, code: Code, mask: np.ndarray | None) -> Code:
        inner, kept = code, mask
        if isinstance(code, Sparse):
            inner, kept = code.inner, code.mask
        form, lean = self.form, inner.without_zeros()
        if form == "smallest":
            return min(self._possible(code, kept), key=lambda made: made.stored_bits)
        if form == "auto":
            if kept is None or lean.kind not in SPARSE_INNER:
                return self._dense(code, kept)
            return min((self._sparse(inner, kept, index) for index in SPARSE_FORMS), key=lambda made: made.stored_bits)
        if form == "dense":
            return self._dense(code, kept)
        if form in SERIAL_FORMS:
            return self._serial(self._dense(code, kept), form)
        if lean.kind not in SPARSE_INNER:
            raise ValueError(f"{form} must be around one of {', '.join(SPARSE_INNER)}, not {inner.kind!r}")
        return self._sparse(inner, kept, "relative" if form == "relative" else "bitmap")

    def _possible(self, code: Code, kept: np.ndarray | None) -> list[Code]:
        made: list[Code] = []
        inner = code.inner if isinstance(code, Sparse) else code
        if not isinstance(code, Sparse) or inner.zero_field is not None:
            dense = self._dense(code, kept)
            made.append(dense)
            if dense.kind in SERIAL_INNER:
                made += [self._serial(dense, form) for form in SERIAL_FORMS]
            if isinstance(dense, Ternary):
                made.append(replace(dense, per_byte=5))
        if inner.without_zeros().kind in SPARSE_INNER:
            made += [self._sparse(inner, kept, index) for index in SPARSE_FORMS]
        return made

    def _sparse(self, inner: Code, kept: np.ndarray | None, index: str) -> Sparse:
        mask = inner.integers() != 0
        mask, inner = mask if kept is None else mask & kept, inner.without_zeros()
        if index == "bitmap":
            return Sparse(inner, mask)
        gaps = range(2, 9) if self.gap is None else (self.gap,)
        return min((Sparse(inner, mask, index=index, gap=gap) for gap in gaps), key=lambda made: made.stored_bits)

    def _serial(self, dense: Code, form: str) -> Code:
        dense = dense.inside()
        if form == "huffman":
            return Huffman(dense, longest=self.longest)
        runs = range(1, 9) if self.run_bits is None else (self.run_bits,)
        return min((RunLength(dense, run_bits=bits) for bits in runs), key=lambda made: made.stored_bits)

    @staticmethod
    def _dense(code: Code, kept: np.ndarray | None) -> Code:
        """The code without an index, which must mean 0 where nothing is kept."""
        if isinstance(code, Sparse):
            inner = code.inner
            if (inner.integers()[~code.mask] != 0).any():
                raise ValueError(f"a {inner.kind} code without zero needs bitmap or relative for its pruned weights")
            return inner
        if kept is not None and (code.integers()[~kept] != 0).any():
            raise ValueError(f"a {code.kind} code cannot say 0 for pruned weights; take another code or do not prune")
        return code

    def bits(self, code: Code, groups: int) -> int:
        """Bits of a wrapped code in this form: as the chip stores it, or counted as CSR or CSC."""
        if self.form not in PAPER_FORMS:
            return code.stored_bits
        if not isinstance(code, Sparse):
            raise TypeError(f"{self.form} must be counted of a sparse code, not of {code.kind}")
        return compressed_bits(code, groups, self.form)


def compressed_bits(code: Sparse, groups: int, form: str) -> int:
    """Bits of CSR or CSC: fields, column (or row) numbers and pointers as wide as they must be, the inner code's tables.

    Rows are output channels, columns (input channel, tap).
    """
    data, _, pointers = (to_csr if form == "csr" else to_csc)(code, groups)
    rows = len(pointers) - 1
    columns = code.mask.size // rows
    number = max(1, (columns - 1).bit_length())
    return len(data) * (code.inner.field_bits + number) + len(pointers) * max(1, len(data).bit_length()) + code.table_bits


__all__ = ["FORMS", "GAP_BITS", "PAPER_FORMS", "SERIAL_FORMS", "SPARSE_FORMS", "Storage", "compressed_bits"]
