"""Stage `encode`: lossless forms of the codes, which change bits and nothing else."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from organza.codes import Sparse
from organza.compress.stages.stage import Context, Mark, Stage, State, select
from organza.compress.storage import PAPER_FORMS, Storage

Form = Literal["auto", "dense", "bitmap", "relative", "huffman", "rle", "csr", "csc", "smallest"]


class EncodeStage(Stage):
    """Keep the weights in a lossless form; see `Storage`.

    lossless : the form. layers : which, all by default. gap, longest, run_bits : as of `Storage`.
    """

    kind = "encode"

    lossless: Form = "auto"
    layers: list[str] | None = Field(default=None, min_length=1)
    gap: int | None = Field(default=None, ge=2, le=8)
    longest: int = Field(default=15, ge=1, le=15)
    run_bits: int | None = Field(default=None, ge=1, le=8)

    def marks(self) -> list[Mark]:
        return [Mark(f"encode.{self.lossless}", layers=None if self.layers is None else frozenset(self.layers))]

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        storage = Storage(self.lossless, gap=self.gap, longest=self.longest, run_bits=self.run_bits)
        notes: dict[str, Any] = {}
        for layer in select(state.generator, self.layers, self.kind):
            before, old = layer.storage, layer.float_layer().coded
            layer.storage = storage
            made = layer.float_layer().coded
            assert made is not None
            bits = storage.bits(made.code, layer.groups)
            notes[layer.name] = {
                "form": made.code.kind if self.lossless not in PAPER_FORMS else self.lossless, "bits": bits,
                "bits_before": None if old is None else before.bits(old.code, layer.groups),
                "kept": int(made.code.mask.sum()) if isinstance(made.code, Sparse) else made.code.integers().size,
            }  # fmt: skip
        return notes
