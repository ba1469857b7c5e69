"""What a user types for a code: ``ternary``, ``codebook:16``, ``sparse:75+ternary``, ``layer1=binary,layer2=power:3``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from organza.codes import CODES
from organza.codes.serial import INNER as SERIAL_INNER
from organza.codes.serial import Wrapper
from organza.codes.sparse import INNER as SPARSE_INNER
from organza.errors import UserError

if TYPE_CHECKING:
    from organza.program import Program

# The numbers behind the colons.
OPTIONS = {
    "linear": ("bits",), "affine": ("bits",), "power": ("bits",), "codebook": ("centroids",),
    "binary": ("activations",),
    "sparse": ("sparsity", "block", "gap"), "ternary": ("per_byte",),
    "hashed": ("factor", "seed"), "multihash": ("factor",),
    "blockhash": ("factor", "ti", "to"),
}  # fmt: skip
# Words that may stand behind the colons, among the numbers: the option that they set.
WORDS: dict[str, dict[str, tuple[str, Any]]] = {
    "flexpoint": {"managed": ("exponents", "managed")},
    "sparse": {"relative": ("index", "relative"), "bitmap": ("index", "bitmap"), "unbalanced": ("balanced", False)},
}  # fmt: skip
# Words that end in a number, the value of the option that they name.
MARKS: dict[str, tuple[str, ...]] = {"binary": ("loa", "notcarry", "ti")}
REST = "rest"  # the layers that no other part of a text names
# Other encoders of a code, which users name as codes: the code, and the numbers behind the colons.
LAWS = {"tanh": ("codebook", ("bits",))}
# Codes around another one, which stands behind a plus, and the codes that may stand there; 8-bit linear if none does.
AROUND = {"sparse": SPARSE_INNER} | {kind: SERIAL_INNER for kind, code in CODES.items() if issubclass(code, Wrapper)}


@dataclass(frozen=True)
class CodeSpec:
    """A code by name, with the options of its encoder; `inner` is the `CodeSpec` of the code that it is around."""

    kind: str = "linear"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = {setting: word for word, setting in WORDS.get(self.kind, {}).items()}
        marks = MARKS.get(self.kind, ())
        own = [
            words.get((name, value), f"{name}{value}" if name in marks else str(value))
            for name, value in self.options.items()
            if name not in ("inner", "law")
        ]
        text = ":".join([self.options.get("law", self.kind), *own])
        return f"{text}+{self.options['inner']}" if "inner" in self.options else text


def parse_spec(text: str) -> CodeSpec:
    """One code. Raises `UserError` listing the known ones."""
    text, plus, behind = text.strip().partition("+")
    outer = _parse_one(text)
    if not plus:
        return outer
    if outer.kind not in AROUND:
        raise UserError(f"code {outer.kind} is not around another one: no + after it, not {behind!r}")
    inner = _parse_one(behind)
    if inner.kind not in AROUND[outer.kind]:
        raise UserError(f"code {outer.kind} must be around one of {', '.join(AROUND[outer.kind])}, not {inner.kind!r}")
    return CodeSpec(outer.kind, {**outer.options, "inner": inner})


def _parse_one(text: str) -> CodeSpec:
    kind, colon, number = text.strip().partition(":")
    if kind not in CODES and kind not in LAWS:
        raise UserError(f"code must be one of {', '.join([*CODES, *LAWS])}, not {kind!r}")
    coder, names = LAWS.get(kind, (kind, OPTIONS.get(kind, ())))
    made: dict[str, Any] = {"law": kind} if kind in LAWS else {}
    if not colon:
        return CodeSpec(coder, made)
    words, marks, numbers = WORDS.get(kind, {}), MARKS.get(kind, ()), []
    if not names and not words:
        raise UserError(f"code {kind} takes no number, not {text!r}")
    for part in number.split(":"):
        marked = re.fullmatch(r"([a-z]+)(\d+)", part)
        if part in words:
            option, value = words[part]
        elif marked and marked[1] in marks:
            option, value = marked[1], int(marked[2])
        else:
            numbers.append(part)
            continue
        if option in made:
            raise UserError(f"code {kind} takes one {option}, not {text!r}")
        made[option] = value
    if numbers and not names:
        raise UserError(f"code {kind} takes only {' or '.join(words)}, not {text!r}")
    if len(numbers) > len(names):
        raise UserError(f"code {kind} takes only {' and '.join(names)}, not {text!r}")
    for name, value in zip(names, numbers, strict=False):
        try:
            made[name] = int(value)
        except ValueError as error:
            known = "".join(f", {word}" for word in (*words, *(f"{mark}N" for mark in marks)))
            raise UserError(f"code {kind} takes a whole number of {name}{known}, not {value!r}") from error
    return CodeSpec(coder, made)


def with_seed(spec: CodeSpec, seed: int) -> CodeSpec:
    """The same code; one that hashes gets the number of its layer as seed if it has none."""
    names = OPTIONS.get(spec.kind, ())
    if "seed" not in names or len(spec.options) == len(names):
        return spec
    return CodeSpec(spec.kind, {"factor": 8, **spec.options, "seed": seed})


def parse_codes(text: str, names: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None) -> dict[str, CodeSpec]:
    """Codes of the layers `names`: one for all, or ``layer=code`` pairs, see `parse_layers`.

    Raises `UserError` for an unknown code or layer, listing the known ones, or a layer named twice.
    """
    if "=" not in text:
        spec = parse_spec(text)
        return {name: with_seed(spec, number) for number, name in enumerate(names)}
    chosen = parse_layers("code", text, names, groups)
    return {name: with_seed(parse_spec(code), list(names).index(name)) for name, code in chosen.items()}


def layers_by_name(names: Sequence[str]) -> dict[str, str]:
    """Every way to name a layer, with its name: that, and ``layerN`` from 0."""
    return {f"layer{k}": name for k, name in enumerate(names)} | {name: name for name in names}


def unknown_layer(what: str, layer: str, names: Sequence[str], *others: str) -> UserError:
    """The error for a layer that there is not; `others` may be said instead of one."""
    known = ", ".join(f"layer{k} ({name})" for k, name in enumerate(names))
    instead = f", or say {' or '.join(others)}" if others else ""
    return UserError(f"{what} names the layer {layer!r}; this model has {known}{instead}")


def parse_layers(
    what: str, text: str, names: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """``layer=value`` pairs as values by name.

    A layer is one of `names`, ``layerN`` from 0, one of `groups`, which stands for some of the names, or ``rest``, all that
    no other pair names.

    Raises `UserError` for a part that is no pair, an unknown layer, listing the known ones, an empty group, or a layer named
    twice.
    """
    groups = groups or {}
    known = {**groups} | {layer: [name] for layer, name in layers_by_name(names).items()}
    made: dict[str, str] = {}
    rest: list[str] = []
    for part in text.split(","):
        layer, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(f"{what} must be layer={what} in every part of {text!r}, not {part!r}")
        if layer == REST and layer not in known:
            rest.append(value)
            continue
        if layer not in known:
            raise unknown_layer(what, layer, names, *groups, REST)
        if not known[layer]:
            raise UserError(f"{what} names the {layer} layers, but this model has none")
        for name in known[layer]:
            if name in made:
                again = f"{name!r} again, in {layer}" if layer in groups else f"{layer!r} twice"
                raise UserError(f"{what} names the layer {again}")
            made[name] = value
    if len(rest) > 1:
        raise UserError(f"{what} names the {REST} twice")
    return made | {name: value for value in rest for name in names if name not in made}


def parse_arithmetic(text: str, program: Program) -> dict[str, str]:
    """``layer=lanes`` pairs as lanes by layer name.

    Raises `UserError` as `parse_layers`, and for lanes that the layer's code or activations do not allow.
    """
    nodes = {node.name: node for node in program.nodes}
    made = parse_layers("arithmetic", text, list(nodes))
    for name, arithmetic in made.items():
        code = nodes[name].code
        if arithmetic not in code.arithmetics:
            raise UserError(
                f"arithmetic of {name} (a {code.kind} code) must be one of {', '.join(code.arithmetics)}, not {arithmetic!r}"
            )
        need = code.needs(arithmetic, nodes[name].input)
        if need is not None:
            raise UserError(f"arithmetic {arithmetic} of {name} needs {need}, not {nodes[name].input}")
    return made
