"""Stage `search`: how few bits will do, found by training with several numbers of them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

from pydantic import Field, model_validator

from organza.compress.coders import CODERS
from organza.compress.images import pictures
from organza.compress.precision import BITS, SWEEP, knee, search_precision
from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.quantize import calibrate, code_layers, make_coder
from organza.compress.stages.stage import Context, Mark, Stage, State, chains, select
from organza.errors import UserError
from organza.metrics import psnr

_PSNR, _LATENTS = 60, 500
_TRIAL = (8, 8, 4, 4)
_FLOAT_BITS = 32


class SearchStage(Stage):
    """Find the bits of `code`, and go on with the networks that were trained in them.

    method : "qgan" finds the fewest bits of the discriminator, then those of the generator with that discriminator, whose score
    (`Context.score`) is at most 1 + `tolerance` times that of floats trained alike (Wang et al., QGAN; best reading). "sweep" tries
    all `bits` of the generator and takes the fewest that lose at most `loss` dB of PSNR to the teacher (QMGAN; best reading).
    finetune : training of every trial, keys as of stage `finetune`.
    """

    kind = "search"

    method: Literal["qgan", "sweep"] = "qgan"
    code: str = "em"
    bits: list[int] | None = Field(default=None, min_length=1)
    tolerance: float = Field(default=0.1, ge=0)
    loss: float = Field(default=1.0, ge=0)
    finetune: FinetuneStage = Field(default_factory=lambda: FinetuneStage(steps=300))

    @model_validator(mode="after")
    def _bits_suit_the_code(self) -> SearchStage:
        if self.code not in CODERS:
            raise ValueError(f"code must be one of {', '.join(CODERS)}, not {self.code!r}")
        numbers = self.numbers
        if numbers != sorted(set(numbers)):
            raise ValueError(f"bits must be rising numbers, not {numbers}")
        for bits in numbers:
            if bits != _FLOAT_BITS:
                make_coder({"code": self.code, "bits": bits}, _TRIAL, 1)
        return self

    @property
    def numbers(self) -> list[int]:
        """Bits to try; of the defaults those that the code has."""
        if self.bits is not None:
            return self.bits
        made = []
        for bits in BITS if self.method == "qgan" else SWEEP:
            try:
                if bits != _FLOAT_BITS:
                    make_coder({"code": self.code, "bits": bits}, _TRIAL, 1)
            except (TypeError, ValueError):
                continue
            made.append(bits)
        if not made:
            raise ValueError(f"code {self.code} has no bits to search; take another one")
        return made

    def marks(self) -> list[Mark]:
        module = "both" if self.method == "qgan" else "generator"
        return [Mark("code", module), Mark(f"code.{self.code}", module)]

    def apply(self, state: State, context: Context) -> dict[str, Any]:
        return self._qgan(state, context, self.numbers) if self.method == "qgan" else self._sweep(state, context, self.numbers)

    def rehearse(self, state: State, context: Context) -> None:
        self._trial(state, context, self.numbers[-1], self.numbers[-1] if self.method == "qgan" else None)

    def _qgan(self, state: State, context: Context, numbers: list[int]) -> dict[str, Any]:
        if state.critic is None:
            raise UserError("search: method qgan needs a discriminator; name one in [teacher]")
        trained: dict[tuple[int | None, int | None], State] = {}
        most = 2 * len(numbers) + 1

        def evaluate(generator: int | None, discriminator: int | None) -> float:
            context.progress(f"generator {_bits(generator)}, discriminator {_bits(discriminator)}", len(trained) / most)
            made = trained[generator, discriminator] = self._trial(state, context, generator, discriminator)
            return context.score(made.generator)

        found = search_precision(evaluate, self.tolerance, numbers)
        best = trained[found.generator, found.discriminator]
        state.generator, state.critic = best.generator, best.critic
        return {
            "generator": found.generator, "discriminator": found.discriminator,
            "trials": {
                f"generator {_bits(one.generator)}, discriminator {_bits(one.discriminator)}": one.quality for one in found.trials
            },
        }  # fmt: skip

    def _sweep(self, state: State, context: Context, numbers: list[int]) -> dict[str, Any]:
        latents = context.latents(_LATENTS, _PSNR)
        wanted = pictures(context.teacher, latents)
        trained, curve = {}, {}
        for number, bits in enumerate(numbers):
            context.progress(f"{_bits(bits)} bits", number / len(numbers))
            trained[bits] = self._trial(state, context, bits, None)
            curve[bits] = psnr(wanted, pictures(trained[bits].generator, latents), 255)
        chosen = knee(curve, self.loss)
        state.generator, state.critic = trained[chosen].generator, trained[chosen].critic
        return {"generator": chosen, "psnr_db": {str(bits): value for bits, value in curve.items()}}

    def _trial(self, state: State, context: Context, generator: int | None, discriminator: int | None) -> State:
        """Copies of both networks, coded with so many bits (None and 32: floats) and trained."""
        made = State(deepcopy(state.generator), deepcopy(state.critic))
        for (name, chain), bits in zip(
            chains(made, "both" if made.critic is not None else "generator", self.kind), (generator, discriminator), strict=False
        ):
            if bits is not None and bits != _FLOAT_BITS:
                layers, before = select(chain, None, self.kind), deepcopy(chain)
                code_layers(layers, {layer.name: {"code": self.code, "bits": bits} for layer in layers})
                calibrate(chain, context, generator=name == "generator", before=before)
        self.finetune.apply(made, context)
        return made


def _bits(bits: int | None) -> str:
    return "float" if bits is None or bits == _FLOAT_BITS else str(bits)
