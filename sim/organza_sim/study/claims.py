"""The survey's claims, as questions to the table: does what was measured bear them out?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from organza.agreement import equal
from organza_sim.study.rows import ENCODINGS, LEVELS
from organza_sim.study.table import Run

OTHER_PRUNING = ("pruning-oneshot", "pruning-iterative", "pruning-during", "pruning-both")
KEPT = 0.85  # of an inception score, that images still show what they should
WORSE = 1.1  # most of a FID, to be called as good

Runs = dict[str, list[Run]]
Answer = tuple[bool, str]


@dataclass(frozen=True)
class Claim:
    """A claim.

    rows : that it rests on, the one that is claimed about first. found : what was measured, in words. holds : whether that bears
    it out; None while runs are missing.
    """

    text: str
    rows: tuple[str, ...]
    found: str
    holds: bool | None


def claims(runs: Sequence[Run], seeds: dict[str, int]) -> list[Claim]:
    """All claims, with what the runs say to them; `seeds` of every row that there should be."""
    table: Runs = {}
    for run in runs:
        table.setdefault(run.row, []).append(run)
    made = []
    for text, rows, question in _QUESTIONS:
        missing = [row for row in rows if len(table.get(row, ())) < seeds[row]]
        holds, found = (None, f"not measured yet: {', '.join(missing)}") if missing else question(table, rows)
        made.append(Claim(text, rows, found, holds))
    return made


def _fid(runs: list[Run]) -> list[float]:
    return [run.fid for run in runs if run.fid is not None]


def _score(runs: list[Run]) -> float:
    return fmean(run.inception_score for run in runs if run.inception_score is not None)


def _told(table: Runs, rows: Sequence[str]) -> str:
    parts = []
    for row in rows:
        values = _fid(table[row])
        spread = f" ({min(values):.2f}…{max(values):.2f})" if len(values) > 1 else ""
        parts.append(f"{row} {fmean(values):.2f}{spread}")
    return "FID " + ", ".join(parts)


def _best(table: Runs, rows: Sequence[str]) -> Answer:
    """The first row has a lower mean than every other, and is equal to none."""
    first, *others = (_fid(table[row]) for row in rows)
    return all(fmean(first) < fmean(other) and not equal(first, other) for other in others), _told(table, rows)


def _equal(table: Runs, rows: Sequence[str]) -> Answer:
    first, second = (_fid(table[row]) for row in rows)
    return equal(first, second), _told(table, rows)


def _keeps(table: Runs, rows: Sequence[str]) -> Answer:
    first, second = (_score(table[row]) for row in rows)
    return first >= KEPT * second, f"inception score {rows[0]} {first:.2f}, {rows[1]} {second:.2f}: {first / second:.0%}"


def _ratio(table: Runs, row: str) -> float:
    return min(run.compression_ratio for run in table[row])


def _as_good(least: int) -> Callable[[Runs, Sequence[str]], Answer]:
    """So many times smaller than the second row in floats, with a FID at most a tenth worse."""

    def question(table: Runs, rows: Sequence[str]) -> Answer:
        ratio, (first, second) = _ratio(table, rows[0]), (fmean(_fid(table[row])) for row in rows)
        return ratio >= least and first <= WORSE * second, f"{ratio:.1f} times smaller, {_told(table, rows)}"

    return question


def _still_shows(least: int) -> Callable[[Runs, Sequence[str]], Answer]:
    """So many times smaller than the second row in floats, and the network that scores still sees the garments."""

    def question(table: Runs, rows: Sequence[str]) -> Answer:
        ratio, (keeps, found) = _ratio(table, rows[0]), _keeps(table, rows)
        return ratio >= least and keeps, f"{ratio:.1f} times smaller, {found}"

    return question


_QUESTIONS: list[tuple[str, tuple[str, ...], Callable[[Runs, Sequence[str]], Answer]]] = [
    ("EM levels have a better FID than min-max, log and tanh with 1 bit", tuple(f"{code}-1" for code in LEVELS), _best),
    ("EM levels have a better FID than min-max, log and tanh with 2 bits", tuple(f"{code}-2" for code in LEVELS), _best),
    ("EM with 4 bits is equal to floats", ("em-4", "float32"), _equal),
    ("Self-supervised pruning of half of the weights is equal to dense", ("self-supervised-pruning", "pruning-dense"), _equal),
    ("Self-supervised pruning is better than one-shot, iterative, during training, and of both networks",
     ("self-supervised-pruning", *OTHER_PRUNING), _best),
    ("Binary weights where layers are redundant are better than binary weights everywhere", ("apgan", "apgan-binary"), _best),
    ("Ternary keeps 85 % of the inception score of floats", ("tgan", "float32"), _keeps),
    ("Flex16+5 is equal to float32", ("flexpoint", "float32"), _equal),
    ("Hashing to an eighth is better than a dense network of as many bits", ("hashed-new", "dense-new"), _best),
    *((f"Distillation improves {code}", (row, f"{code}-plain"), _best) for code, (row, _) in ENCODINGS.items()),
    ("40 times smaller than the teacher in float32, everything counted, at a FID at most a tenth worse",
     ("forty-times-smaller", "teacher"), _as_good(40)),
    ("100 times smaller than the teacher in float32, and images still show the garments",
     ("hundred-times-smaller", "teacher"), _still_shows(100)),
]  # fmt: skip
