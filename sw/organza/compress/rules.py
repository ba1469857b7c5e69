"""Which stages go together, and in which order: the combination matrix of the survey's methods as data.

A stage says what it does as `Mark`s; a rule is about two names of marks, where a name covers all that begin with it
("code" covers "code.em"). Two stages that never meet in a layer of one network are no concern of a rule, unless it is about
the recipe as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from organza.compress.stages.stage import Mark, Stage
from organza.errors import UserError


@dataclass(frozen=True)
class Exclusion:
    """`first` and `second` cannot be done to the same layer, in either order."""

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Order:
    """`second` must not come before `first`."""

    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Need:
    """`mark` needs a stage `other` behind it ("later") or none ("never later")."""

    mark: str
    other: str
    present: bool
    reason: str


@dataclass(frozen=True)
class Until:
    """What `mark` begins ends with the next stage `end`, and none of `barred` may come in between."""

    mark: str
    end: str
    barred: tuple[str, ...]
    reason: str


_HASHES = ("hashed", "blockhash", "multihash")
_RANDOM = "hashed weights are shared at random, so no position can be left out and none is more frequent than another"
_LOSSLESS = ("huffman", "rle", "bitmap", "relative", "csr", "csc")
_FIXED_LEVELS = "soft weight sharing learns levels of its own"

# The pairs of codes are special cases of the last line, with better reasons.
EXCLUSIONS: tuple[Exclusion, ...] = (
    *(Exclusion("prune.element", f"code.{code}", _RANDOM) for code in _HASHES),
    *(Exclusion(f"code.{code}", f"encode.{form}", _RANDOM) for code in _HASHES for form in _LOSSLESS),
    Exclusion("factorize", "code.multihash", "a structured multi-hash is a product of two factors itself"),
    Exclusion("code.em", "code.kmeans", "EM is k-means with equally spaced levels"),
    Exclusion("code.em", "code.jacob", "both are grids of equal steps for the same weights"),
    Exclusion("code.flexpoint", "code.jacob", "flexpoint shares an exponent and has no step of its own"),
    Exclusion("code.flexpoint", "code.em", "flexpoint shares an exponent and has no step of its own"),
    Exclusion("code.flexpoint", "code.kmeans", "centroids of a codebook have no shared exponent"),
    Exclusion("code.em", "code.soft", _FIXED_LEVELS),
    Exclusion("code.binary", "code.soft", _FIXED_LEVELS),
    Exclusion("code.ternary", "code.soft", _FIXED_LEVELS),
    Exclusion("code", "code", "a layer has one weight code"),
)

ORDERS: tuple[Order, ...] = (
    Order("grow", "prune", "what grows later would undo the pruning"),
    Order("prune.channel", "factorize", "channels are chosen in the whole layer, then their weights are factorised"),
    Order("factorize", "prune.element", "prune the factors, not the product, which they fill up again"),
    Order("prune.channel", "prune.element", "whole channels go first, single weights of those that stay after them"),
    Order("prune", "code", "a code is fitted to the weights that stay"),
    Order("grow", "code", "a code is fitted to the weights that there are in the end"),
    Order("factorize", "code", "the factors are coded, not their product"),
    Order("code", "encode", "lossless forms are made of the finished code"),
    Order("finetune", "encode", "training changes what was encoded"),
    Order("prune", "encode", "lossless forms are made of the finished code"),
)

NEEDS: tuple[Need, ...] = (
    Need("scheduled", "finetune", True, "the schedule prunes while the next finetune stage trains; add one behind it, or say schedule = \"oneshot\""),
    Need("quantize.during", "finetune", True, "when = \"during\" goes on training in the code; add a finetune stage behind it, or say when = \"after\""),
    Need("quantize.after", "finetune", False, "when = \"after\" codes what training has made; move it behind the last finetune stage, or say when = \"during\""),
)  # fmt: skip

UNTILS: tuple[Until, ...] = (
    Until("scheduled.channel", "finetune", ("grow", "prune", "factorize", "code"),
          "channels are pruned while the next finetune stage trains; put one between, or say schedule = \"oneshot\""),
    Until("scheduled.element", "finetune", ("grow", "prune", "factorize"),
          "weights are pruned while the next finetune stage trains; put one between, or say schedule = \"oneshot\""),
)  # fmt: skip


def _covers(rule: str, mark: Mark) -> bool:
    return mark.name == rule or mark.name.startswith(f"{rule}.")


def check_order(stages: Sequence[Stage]) -> None:
    """Raise `UserError` naming two stages, by number, and why they exclude each other as they stand."""
    marks = [stage.marks() for stage in stages]
    for later in range(len(stages)):
        for earlier in range(later):
            for one in marks[earlier]:
                for other in marks[later]:
                    if one.meets(other):
                        _check_pair(earlier, later, one, other, stages)
    for number, own in enumerate(marks):
        for need in NEEDS:
            if not any(_covers(need.mark, mark) for mark in own):
                continue
            behind = any(_covers(need.other, mark) for after in marks[number + 1 :] for mark in after)
            if behind != need.present:
                raise UserError(f"stage {number + 1} ({stages[number].kind}): {need.reason}")
        for until in UNTILS:
            if any(_covers(until.mark, mark) for mark in own):
                _check_until(number, until, stages, marks)


def _check_until(number: int, until: Until, stages: Sequence[Stage], marks: Sequence[Sequence[Mark]]) -> None:
    for later in range(number + 1, len(stages)):
        if any(_covers(until.end, mark) for mark in marks[later]):
            return
        if any(_covers(barred, mark) for barred in until.barred for mark in marks[later]):
            names = f"stage {number + 1} ({stages[number].kind}) and stage {later + 1} ({stages[later].kind})"
            raise UserError(f"{names} do not go together: {until.reason}")


def _check_pair(earlier: int, later: int, one: Mark, other: Mark, stages: Sequence[Stage]) -> None:
    names = f"stage {earlier + 1} ({stages[earlier].kind}) and stage {later + 1} ({stages[later].kind})"
    for rule in EXCLUSIONS:
        if (_covers(rule.first, one) and _covers(rule.second, other)) or (
            _covers(rule.second, one) and _covers(rule.first, other)
        ):
            raise UserError(f"{names} exclude each other: {rule.reason}")
    for order in ORDERS:
        if _covers(order.second, one) and _covers(order.first, other):
            raise UserError(f"{names} are in the wrong order: {order.reason}")
