"""Stage `grow`: more channels that compute the same, to be trained apart and pruned again."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from organza.compress.pruning.growth import grow
from organza.compress.stages.quantize import calibrate
from organza.compress.stages.stage import Context, Mark, Module, Stage, State, chains, layer_name

_NOISE = 53


class GrowStage(Stage):
    """Make the channels between layers `factor` times as many; see `organza.compress.pruning.growth`.

    noise : breaks the symmetry of copies, a share of each layer's root mean square. module : "both" grows the discriminator
    as well, as SP-GAN does. layers : of the generator, those that make the channels; all by default.
    """

    kind: ClassVar[str] = "grow"

    factor: int = Field(default=2, ge=2, le=64)
    noise: float = Field(default=0.01, ge=0, lt=1)
    module: Module = "both"
    layers: list[str] | None = Field(default=None, min_length=1)
    seed: int = 0

    def marks(self) -> list[Mark]:
        return [Mark("grow", self.module, None if self.layers is None else frozenset(self.layers))]

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        notes: dict[str, Any] = {}
        for number, (name, chain) in enumerate(chains(state, self.module, self.kind)):
            chosen = self.layers if name == "generator" else None
            layers = None if chosen is None else tuple(layer_name(chain, layer, self.kind) for layer in chosen)
            seed = int(context.rng(_NOISE, self.seed, number).initial_seed()) % (1 << 31)
            grow(chain, self.factor, noise=self.noise, layers=layers, seed=seed)
            if self.noise:
                calibrate(chain, context, generator=name == "generator")
            notes[name] = {layer.name: [layer.shape[0], layer.co] for layer in chain.list}
        return notes
