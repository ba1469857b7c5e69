"""Stage `factorize`: layers as products of smaller ones, ranks by energy or by a budget of MACs or cycles."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from organza.compress.chain import Chain
from organza.compress.low_rank.factorize import by_budget, by_energy, factorize, factors_of, sparse_rows
from organza.compress.low_rank.factors import DEFAULT_BITS, LEAST_BITS, Factors
from organza.compress.low_rank.ranks import Choice, check_budget
from organza.compress.sketch import Cost, macs
from organza.compress.stages.prune import cost_of
from organza.compress.stages.quantize import calibrate
from organza.compress.stages.stage import Context, Mark, Stage, State, layer_name, select

_LOOK = 54
# Of which sparse low rank takes activations and costs; every row takes one pass.
_BATCH = 32


class FactorizeStage(Stage):
    """Factorise the generator's layers.

    method : "separable" (vertical, then horizontal taps), "tucker" (fewer channels around the taps), "cp" (sums of products of
    vectors), "slr" (separable, with fewer components for unimportant rows). One of these says the ranks: energy, the share of
    each layer's squared weights that stays; macs or cycles, the share of the whole generator's that may be left; ranks, for each
    layer its rank or two ranks. bits : of the tensors between factors. layers : names, all by default.
    importance, share, short : of "slr": what is unimportant ("weight", "activation", "cost"), how many of the rows, and the
    share of the components that they keep.
    """

    kind: ClassVar[str] = "factorize"

    method: Literal["separable", "tucker", "cp", "slr"] = "separable"
    energy: float | None = Field(default=None, gt=0, le=1)
    macs: float | None = Field(default=None, gt=0, lt=1)
    cycles: float | None = Field(default=None, gt=0, lt=1)
    ranks: dict[str, int | list[int]] | None = Field(default=None, min_length=1)
    bits: int = Field(default=DEFAULT_BITS, ge=LEAST_BITS, le=16)
    layers: list[str] | None = Field(default=None, min_length=1)
    importance: Literal["weight", "activation", "cost"] = "weight"
    share: float = Field(default=0.5, ge=0, le=1)
    short: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _one_rule(self) -> FactorizeStage:
        given = [name for name in ("energy", "macs", "cycles", "ranks") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of energy, macs, cycles and ranks, not {', '.join(given) or 'none'}")
        if self.ranks is not None and self.layers is not None:
            raise ValueError("ranks names the layers already; leave layers out")
        if self.method != "slr" and self.model_fields_set & {"importance", "share", "short"}:
            raise ValueError(f"importance, share and short are for method slr, not {self.method}")
        return self

    def marks(self) -> list[Mark]:
        named = self.ranks if self.ranks is not None else self.layers
        return [Mark("factorize", layers=None if named is None else frozenset(named))]

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        context.progress("decomposing weights", 0.0)
        options = self._options(state.generator)
        notes = self._factorize(state.generator, options, self._choices(state.generator, options, context), context)
        calibrate(state.generator, context, generator=True)
        return notes

    def rehearse(self, state: State, context: Context) -> None:
        """The smallest ranks, which take no time."""
        chain, options = state.generator, self._options(state.generator)
        choices: list[Choice] = [None if factors is None else factors.ranks[0] for factors in options]
        if self.ranks is not None:
            choices = self._choices(chain, options, context)
        elif self.energy is None:
            whole, (cost, share) = chain.float_layers(), self._budget(context)
            check_budget(whole, options, cost, share * cost(whole))
        self._factorize(chain, options, choices, context)

    def _options(self, chain: Chain) -> list[Factors | None]:
        named = list(self.ranks) if self.ranks is not None else self.layers
        return factors_of(chain, select(chain, named, self.kind), "separable" if self.method == "slr" else self.method, self.bits)

    def _factorize(
        self, chain: Chain, options: list[Factors | None], choices: list[Choice], context: Context
    ) -> dict[str, Any]:
        before = deepcopy(chain)
        notes = factorize(chain, options, choices)
        if self.method == "slr":
            ranks = {layer.name: rank for layer, rank in zip(before.list, choices, strict=True) if rank is not None}
            inputs = context.latents(_BATCH, _LOOK)
            with torch.no_grad():
                wanted = before.eval()(inputs)

            def loss(trial: Chain) -> float:
                with torch.no_grad():
                    return float((trial.eval()(inputs) - wanted).square().mean())

            importance = "weight" if context.rehearsal else self.importance
            rows = sparse_rows(chain, before, ranks, importance, self.share, self.short, inputs, loss)
            notes = {name: {**note, **rows[name]} for name, note in notes.items()}
        return notes

    def _choices(self, chain: Chain, options: list[Factors | None], context: Context) -> list[Choice]:
        if self.energy is not None:
            return by_energy(options, self.energy)
        if self.ranks is not None:
            wanted = {layer_name(chain, name, self.kind): rank for name, rank in self.ranks.items()}
            return [None if factors is None else _checked(factors, wanted[factors.layer.name]) for factors in options]
        cost, share = self._budget(context)
        return by_budget(chain, options, cost, share)

    def _budget(self, context: Context) -> tuple[Cost, float]:
        """What layers cost, and the share of it that may be left."""
        if self.macs is not None:
            return macs, self.macs
        assert self.cycles is not None
        return cost_of(context), self.cycles


def _checked(factors: Factors, rank: int | list[int]) -> Choice:
    given = (rank,) if isinstance(rank, int) else tuple(rank)
    factors.check(given)
    return given
