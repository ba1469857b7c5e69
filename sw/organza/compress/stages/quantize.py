"""Stage `quantize`: weight codes and activation grids, after training or in it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from organza.compress.activations import ActivationGrid
from organza.compress.chain import Chain, ChainLayer, refit
from organza.compress.coders import CODERS
from organza.compress.coders.coder import Coder
from organza.compress.images import to_values
from organza.compress.signs import make_signs, redundant_layers
from organza.compress.stages.stage import Context, Mark, Module, Stage, State, chains, layer_name, select
from organza.errors import UserError

_CALIBRATE = 40
_BATCHES, _BATCH = 10, 128
# Large enough for any code to be tried on.
_TRIAL = (64, 64, 4, 4)

Granularity = Literal["tensor", "channel", "layer", "network"]
Choice = Literal["redundant", "rest"]


class QuantizeStage(Stage):
    """Give layers a code.

    code : a method of `organza.compress.coders`; further keys are its options. weights : whether weights are coded at all.
    activations : bits of the layers' inputs (1 for signs), None leaves them to the calibration of the Program. The latents and
    the image keep 8 bits. granularity : what shares a scale; "layer" is "tensor". module : which network. layers : names of
    some layers, or a table of layers with keys that are different there (`code = "none"` leaves one out), or "redundant", those
    with more input channels than places (ApGAN's choice), or "rest", those without a code. when : "during" goes on
    training in the code, "after" codes what training has made.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    kind = "quantize"

    code: str = "uniform"
    weights: bool = True
    activations: int | None = Field(default=None, ge=1, le=16)
    granularity: Granularity | None = None
    module: Module = "generator"
    layers: Choice | list[str] | dict[str, dict[str, Any]] | None = None
    when: Literal["during", "after"] = "during"

    @model_validator(mode="after")
    def _methods_exist(self) -> QuantizeStage:
        if not self.weights and self.activations is None:
            raise ValueError("weights and activations must not both be left out")
        if self.weights:
            for name, settings in {"": self.settings(None), **self.overrides()}.items():
                if name and settings["code"] == "none":
                    continue
                try:
                    make_coder(settings, _TRIAL, 1)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"layers.{name}: {error}" if name else str(error)) from error
        return self

    def settings(self, layer: str | None) -> dict[str, Any]:
        """Code, granularity and options of a layer that the recipe calls `layer`; None for the others."""
        own = {"code": self.code, "granularity": self.granularity, **(self.model_extra or {})}
        if layer is None or not isinstance(self.layers, dict):
            return own
        change = self.layers[layer]
        # Options belong to their code: another one begins without.
        base = own if change.get("code", self.code) == self.code else {"granularity": None}
        return {**base, **change}

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Settings of the layers that have their own."""
        return {name: self.settings(name) for name in self.layers} if isinstance(self.layers, dict) else {}

    def marks(self) -> list[Mark]:
        # Which layers a choice takes shows in the rehearsal, where a layer with two codes is refused.
        chosen = self.layers if isinstance(self.layers, list) else [f"({self.layers})"] if isinstance(self.layers, str) else None
        named = None if chosen is None else frozenset(chosen)
        marks = [Mark(f"quantize.{self.when}", self.module, named)]
        if self.weights:
            marks.append(Mark("code", self.module, named))
            marks.append(Mark(f"code.{self.code}", self.module, named))
            marks += [
                Mark(f"code.{settings['code']}", self.module, frozenset([name])) for name, settings in self.overrides().items()
            ]
        if self.activations is not None:
            marks.append(Mark("signs" if self.activations == 1 else "activations", self.module, named))
        return marks

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        notes: dict[str, Any] = {}
        for name, chain in chains(state, self.module, self.kind):
            layers, before = self._layers(chain), deepcopy(chain)
            own = {layer_name(chain, called, self.kind): called for called in self.overrides()}
            if self.weights:
                coded = {layer.name: self.settings(own.get(layer.name)) for layer in layers}
                notes[name] = code_layers([layer for layer in layers if coded[layer.name]["code"] != "none"], coded)
            if self.activations is not None:
                self._grids(chain, layers)
            calibrate(chain, context, generator=name == "generator", before=before)
        return notes

    def _layers(self, chain: Chain) -> list[ChainLayer]:
        if self.layers == "redundant":
            return redundant_layers(chain)
        if self.layers == "rest":
            return [layer for layer in select(chain, None, self.kind) if layer.coder is None]
        return select(chain, self.layers if isinstance(self.layers, list) else None, self.kind)

    def _grids(self, chain: Chain, layers: Sequence[ChainLayer]) -> None:
        """Round what the chosen layers read: the results of the last layer with weights before each.

        Signs take the place of that layer's activation.
        """
        bits = self.activations
        assert bits is not None
        chosen = {layer.name for layer in layers}
        before: ChainLayer | None = None
        for layer in chain.list:
            if layer.passthrough:
                continue
            if layer.name in chosen and before is not None:
                wanted, signed = before.bits or bits, not before.unsigned
                grid = ActivationGrid(wanted, signed) if layer.coder is None else layer.coder.grid(wanted, signed)
                if wanted == 1:
                    make_signs(before, grid)
                else:
                    before.grid = grid
            before = layer


@torch.no_grad()
def code_layers(layers: Sequence[ChainLayer], settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give every layer the code that `settings` say by its name; error and bits of each.

    Raises `UserError` for a layer that has a code already, or a code that does not suit its layer.
    """
    for layer in layers:
        if layer.coder is not None:
            raise UserError(
                f"quantize: {layer.name} has the code {layer.coder.kind} already, and a layer has one; "
                "leave the layer out in one of the stages"
            )
    befores = [layer.effective_weight().clone() for layer in layers]
    for layer in layers:
        try:
            layer.code_with(make_coder(settings[layer.name], layer.shape, layer.groups))
        except (TypeError, ValueError) as error:
            raise UserError(f"quantize: {layer.name}: {error}") from error
    refit(layers)
    notes = {}
    for layer, before in zip(layers, befores, strict=True):
        assert layer.coder is not None
        try:
            bits = layer.coder.stored_bits(layer.masked_weight(), layer.mask)
        except (TypeError, ValueError) as error:
            raise UserError(f"quantize: {layer.name}: {error}") from error
        error = (layer.effective_weight() - before).double().square().sum()
        notes[layer.name] = {
            "code": layer.coder.kind, **layer.coder.options(), "weight_bits": bits,
            "relative_error": float(error / before.double().square().sum().clamp_min(1e-30)),
        }  # fmt: skip
    return notes


def make_coder(settings: dict[str, Any], shape: tuple[int, int, int, int], groups: int) -> Coder:
    """The coder that `settings` (code, granularity and options) ask for.

    Raises ValueError / TypeError for an unknown code, an option that it does not have, or a wrong value.
    """
    options = dict(settings)
    name, granularity = options.pop("code"), options.pop("granularity", None)
    if name not in CODERS:
        raise ValueError(f"code must be one of {', '.join(CODERS)}, not {name!r}")
    coder = CODERS[name]
    known = [p.name for p in inspect.signature(coder.__init__).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if granularity is not None:
        options["granularity"] = "tensor" if granularity == "layer" else granularity
    for option in options:
        if option not in known:
            raise ValueError(f"{option}: code {name} has no such option; it has {', '.join(known) or 'none'}")
    return coder(shape, groups, **options)


def calibrate(chain: Chain, context: Context, *, generator: bool, before: Chain | None = None) -> None:
    """Measure normalisation and the reach of activations anew: under latents, or for a discriminator under real images.

    before : the chain before its weights were changed. Only the difference that this makes to the statistics is then taken, so that
    what hardly changed anything is not spoilt by the noise of a few samples.
    """
    batches = list(_inputs(context, generator))
    chain.calibrate(batches)
    if before is None:
        return
    kept = [(mean.clone(), variance.clone()) for mean, variance in _statistics(before)]
    before.calibrate(batches)
    for (mean, variance), old, measured in zip(_statistics(chain), kept, _statistics(before), strict=True):
        mean += old[0] - measured[0]
        variance *= old[1] / measured[1].clamp_min(torch.finfo(torch.float32).tiny)


def _statistics(chain: Chain) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance of every normalisation."""
    pairs = [(norm.running_mean, norm.running_var) for norm in chain.norms]
    return [(mean, variance) for mean, variance in pairs if mean is not None and variance is not None]


def _inputs(context: Context, generator: bool) -> Iterable[Tensor]:
    count = 1 if context.rehearsal else _BATCHES
    if generator:
        return context.batches(count, _CALIBRATE, size=_BATCH)
    images = context.images[: count * _BATCH]
    return (to_values(context.teacher, images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))
