"""What a user types for a code: ``ternary``, ``codebook:16``, ``huffman:linear:4``, ``layer1=binary,layer2=power:3``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from organza.codes import CODES, DIRECT
from organza.codes.serial import Wrapper
from organza.errors import UserError

# The number behind the colon.
OPTIONS = {"linear": "bits", "affine": "bits", "power": "bits", "codebook": "centroids"}


@dataclass(frozen=True)
class CodeSpec:
    """A code by name, with the options of its encoder: a number, or the `CodeSpec` of the code that it wraps."""

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
    try:
        return CodeSpec(kind, {OPTIONS[kind]: int(number)})
    except ValueError as error:
        raise UserError(f"code {kind} takes a whole number of {OPTIONS[kind]}, not {number!r}") from error


def parse_codes(text: str, names: Sequence[str]) -> dict[str, CodeSpec]:
    """Codes of the layers `names`: one for all, or ``layer=code`` pairs; a layer is a name or ``layerN`` from 0.

    Raises `UserError` for an unknown code or layer, listing the known ones, or a layer named twice.
    """
    if "=" not in text:
        return dict.fromkeys(names, parse_spec(text))
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
        made[aliases[layer]] = parse_spec(code)
    return made
