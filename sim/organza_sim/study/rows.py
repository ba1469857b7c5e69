"""What is trained: a recipe for every system, as it ships, and the comparisons that claims rest on.

All rows begin with the shipped generator of half the teacher's width, but for recipes that bring a student of their own, and are
judged against the teacher of full width. `STEPS` in a recipe are those of a quick study, a full one takes more; both have
batches of `BATCH`.
"""

from __future__ import annotations

import tomllib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from organza.compress.recipe import Recipe, parse_recipe

STEPS, FULL_STEPS, BATCH = 1500, 10_000, 32
TEACHER, STUDENT = "dcgan32-w32", "dcgan32-w16"
SEEDS = 3  # of rows that a claim rests on
DISTILLED = {"adversarial": 1.0, "pixel": 10.0}
PLAIN = {"adversarial": 1.0}
# Of the last hidden layer: 13,776 weights of 8 bits, where 106,752 hashed to an eighth leave 13,344.
DENSE_WIDTH = 3


@dataclass(frozen=True)
class Row:
    """One row of the table.

    name : unique. about : what it is. tables : the recipe as TOML has it, steps of a quick study. seeds : runs.
    """

    name: str
    about: str
    tables: dict[str, Any]
    seeds: int = 1

    def recipe(self, seed: int, *, steps: int = STEPS) -> Recipe:
        """The recipe of a run; `steps` in place of every `STEPS`, and others in proportion."""
        tables: dict[str, Any] = deepcopy(self.tables)
        for stage in tables["stage"]:
            for settings in (stage.get("finetune"), stage.get("search", {}).get("finetune")):
                if settings is not None:
                    settings["steps"] = settings.get("steps", STEPS) * steps // STEPS
                    settings.setdefault("batch", BATCH)
        report = {"images": 10_000, "seeds": 1, "quality": "last", **tables.get("report", {})}
        return parse_recipe({**tables, "seed": seed, "report": report})


def systems(folder: Path) -> list[Row]:
    """One row for every recipe that ships in `folder`."""
    made = []
    for path in sorted(folder.glob("*.toml")):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        tables.setdefault("student", {"checkpoint": STUDENT})
        made.append(Row(path.stem, tables["about"], tables, SEEDS if path.stem in _CLAIMED else 1))
    return made


# Recipes that claims rest on as they ship.
_CLAIMED = frozenset({
    "apgan", "apgan-binary", "tgan", "flexpoint", "self-supervised-pruning", "pruning-oneshot", "pruning-iterative",
    "pruning-during", "pruning-both", "hashednets", "blocked-hashing", "multi-hashing", "forty-times-smaller",
    "hundred-times-smaller",
})  # fmt: skip
LEVELS = ("em", "minmax", "log", "tanh")
# Encodings: the row with distillation, which ships as a recipe of some, and their options.
ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "kmeans": ("kmeans-distilled", {"centroids": 4}), "soft": ("soft-distilled", {"components": 4}),
    "hashed": ("hashednets", {"factor": 8}), "blockhash": ("blocked-hashing", {"factor": 8}),
    "multihash": ("multi-hashing", {"factor": 8}),
}  # fmt: skip


def comparisons() -> list[Row]:
    """Rows beside the systems': baselines, and what differs in one thing."""
    made = [
        _row("teacher", "the teacher itself, in floats", [_code("float32", when="after")], student={"checkpoint": TEACHER}),
        _row("student", "the student as it ships, 8 bits", [_code("uniform", bits=8, when="after")]),
        _row("float32", "32-bit floats, trained on as all others", [_code("float32"), _train(DISTILLED)], seeds=SEEDS),
        _row("pruning-dense", "nothing pruned, trained on as the pruned ones", [
            _train({"selfsup": 1.0}), _code("uniform", bits=8, when="after"),
        ], seeds=SEEDS),
    ]  # fmt: skip
    for bits in (1, 2):
        made += [
            _row(f"{code}-{bits}", f"{code} levels, {bits} bits", [_code(code, bits=bits), _train(DISTILLED)], seeds=SEEDS)
            for code in LEVELS
        ]
    made.append(_row("em-4", "em levels, 4 bits", [_code("em", bits=4), _train(DISTILLED)], seeds=SEEDS))
    for code, (distilled, options) in ENCODINGS.items():
        stage = _code(code, **options)
        made.append(_row(f"{code}-plain", f"{code}, trained without the teacher", [stage, _train(PLAIN)], seeds=SEEDS))
        if distilled == f"{code}-distilled":
            made.append(_row(distilled, f"{code}, distilled", [stage, _train(DISTILLED)], seeds=SEEDS))
    fresh = [
        ("hashed-new", "new weights in buckets, eight a bucket", {"checkpoint": STUDENT, "fresh": True}, _code("hashed", factor=8)),
        ("dense-new", "new weights of as many bits without hashing", {"width": DENSE_WIDTH}, _code("uniform", bits=8)),
    ]
    made += [_row(name, about, [code, _train(DISTILLED)], student=student, seeds=SEEDS) for name, about, student, code in fresh]
    return made


def all_rows(folder: Path) -> list[Row]:
    """Systems and comparisons, each name once."""
    made = [*comparisons(), *systems(folder)]
    assert len({row.name for row in made}) == len(made)
    return made


def _row(
    name: str, about: str, stages: list[dict[str, Any]], *, student: dict[str, Any] | None = None, seeds: int = 1
) -> Row:
    tables = {"teacher": {"checkpoint": TEACHER}, "student": student or {"checkpoint": STUDENT}, "stage": stages}
    return Row(name, about, {"about": about, **tables}, seeds)


def _code(code: str, **options: Any) -> dict[str, Any]:
    return {"quantize": {"code": code, **options}}


def _train(losses: dict[str, float]) -> dict[str, Any]:
    return {"finetune": {"losses": dict(losses), "steps": STEPS}}
