"""How to prune: the options of a recipe's `prune` table."""

from __future__ import annotations

from dataclasses import dataclass

from organza.models import check_int

CRITERIA = ("random", "magnitude", "similarity", "evolutionary")
GRANULARITIES = ("element", "row", "column", "block", "kernel", "filter", "channel")
STRUCTURAL = ("filter", "channel")
SCHEDULES = ("oneshot", "iterative", "agp", "during")
MODULES = ("generator", "both")
SCOPES = ("layer", "network")


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """What is pruned, by what, and when.

    amount : share that goes, in (0, 1); of every layer, or with `scope` "network" of all together by one threshold.
    criterion : "random", "magnitude", "similarity" (channels), "evolutionary" (channels, at once).
    granularity : "element"; a vector inside a kernel, "row" or "column"; "block", the `block` input channels of a tap that
    share a lane word; "kernel"; "filter", a channel by the weights that make it, "channel" by those that read it too. The last
    two leave the network, the others are masked.
    schedule : "oneshot"; "iterative", in `rounds` equal parts with equally many steps after each; "agp", from `initial` to
    `amount` along Zhu and Gupta's cubic (arXiv:1710.01878) over the first `ramp` of the steps, a trained network; "during", the
    same from new weights.
    module : "generator" or "both", the discriminator as well. balanced : the same number of elements in every (output channel,
    tap, `block` input channels), which keeps sparse lanes busy. merge : what similarity removes is added to what it is similar to.

    Raises TypeError / ValueError for wrong values and for options that exclude each other.
    """

    criterion: str = "magnitude"
    granularity: str = "element"
    amount: float = 0.5
    schedule: str = "oneshot"
    module: str = "generator"
    scope: str = "layer"
    balanced: bool = False
    block: int = 16
    rounds: int = 5
    initial: float = 0.05
    ramp: float = 0.5
    merge: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("criterion", CRITERIA), ("granularity", GRANULARITIES), ("schedule", SCHEDULES), ("module", MODULES),
            ("scope", SCOPES),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise ValueError(f"prune {name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name, allowed, good in (
            ("amount", "in (0, 1)", lambda value: 0 < value < 1),
            ("initial", "in [0, 1)", lambda value: 0 <= value < 1),
            ("ramp", "in (0, 1]", lambda value: 0 < value <= 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"prune {name} must be a number, not {value!r}")
            if not good(value):
                raise ValueError(f"prune {name} must be {allowed}, not {value}")
        check_int("block", self.block, 2, 16)
        check_int("rounds", self.rounds, 1, 1000)
        check_int("seed", self.seed, 0, (1 << 31) - 1)
        self._check_together()

    def _check_together(self) -> None:
        structural = self.granularity in STRUCTURAL
        for wrong, message in (
            (self.criterion in ("similarity", "evolutionary") and not structural,
             f"criterion {self.criterion} compares channels: granularity must be channel or filter, not {self.granularity}"),
            (self.criterion == "evolutionary" and self.schedule != "oneshot",
             f"criterion evolutionary searches once: schedule must be oneshot, not {self.schedule}"),
            (self.criterion in ("similarity", "evolutionary") and self.scope == "network",
             f"criterion {self.criterion} has no scores that layers share: scope must be layer"),
            (self.balanced and (self.granularity != "element" or self.scope == "network"),
             "balanced is for granularity element and scope layer"),
            (self.merge and self.criterion != "similarity", "merge is for criterion similarity"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(f"prune {message}")
