"""What a user types for a code: ``ternary``, ``huffman:linear:4``, ``layer1=binary,layer2=power:3``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from organza.codes import CODES, DIRECT
from organza.codes.serial import Wrapper
from organza.errors import UserError

# The numbers behind the colons.
OPTIONS = {
    "linear": ("bits",), "affine": ("bits",), "power": ("bits",), "codebook": ("centroids",),
    "hashed": ("factor", "seed"), "multihash": ("factor",),
    "blockhash": ("factor", "ti", "to"),
}  # fmt: skip


@dataclass(frozen=True)
class CodeSpec:
    """A code by name, with the options of its encoder: numbers, or the code that it wraps."""

    kind: str = "linear"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join([self.kind, *map(str, self.options.values())])


def parse_spec(text: str) -> CodeSpec:
    """One code. Raises `UserError` listing the known ones."""
    kind, colon, number = text.strip().partition(":")
    if kind not in CODES:
        raise UserError(f"code must be one of {', '.join(CODES)}, not {kind!r}")
    if not colon:
        return CodeSpec(kind)
    if issubclass(CODES[kind], Wrapper):
        if number.strip().partition(":")[0] not in DIRECT:
            raise UserError(f"code {kind} must be around one of {', '.join(DIRECT)}, not {number!r}")
        return CodeSpec(kind, {"inner": parse_spec(number)})
    if kind not in OPTIONS:
        raise UserError(f"code {kind} takes no number, not {text!r}")
    names, numbers = OPTIONS[kind], number.split(":")
    if len(numbers) > len(names):
        raise UserError(f"code {kind} takes only {' and '.join(names)}, not {text!r}")
    made = {}
    for name, value in zip(names, numbers, strict=False):
        try:
            made[name] = int(value)
        except ValueError as error:
            raise UserError(f"code {kind} takes a whole number of {name}, not {value!r}") from error
    return CodeSpec(kind, made)


def with_seed(spec: CodeSpec, seed: int) -> CodeSpec:
    """The same code; one that hashes gets the number of its layer as seed if it has none."""
    names = OPTIONS.get(spec.kind, ())
    if "seed" not in names or len(spec.options) == len(names):
        return spec
    return CodeSpec(spec.kind, {"factor": 8, **spec.options, "seed": seed})


def parse_codes(text: str, names: Sequence[str]) -> dict[str, CodeSpec]:
    """Codes of the layers `names`: one for all, or ``layer=code`` pairs; a layer is a name or ``layerN`` from 0.

    Raises `UserError` for an unknown code or layer, listing the known ones, or a layer named twice.
    """
    if "=" not in text:
        spec = parse_spec(text)
        return {name: with_seed(spec, number) for number, name in enumerate(names)}
    aliases = {f"layer{k}": name for k, name in enumerate(names)} | {name: name for name in names}
    made: dict[str, CodeSpec] = {}
    for part in text.split(","):
        layer, equals, code = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(f"code must be layer=code in every part of {text!r}, not {part!r}")
        if layer not in aliases:
            known = ", ".join(f"layer{k} ({name})" for k, name in enumerate(names))
            raise UserError(f"code names the layer {layer!r}; this model has {known}")
        if aliases[layer] in made:
            raise UserError(f"code names the layer {layer!r} twice")
        made[aliases[layer]] = with_seed(parse_spec(code), list(names).index(aliases[layer]))
    return made
