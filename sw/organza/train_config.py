"""The settings of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from organza.errors import UserError
from organza.losses import LOSSES
from organza.models import GeneratorConfig, check_int


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `lr` falls linearly to a tenth over the second half of the run.

    loss: dcgan, wgan-gp or lsgan. epochs: 1 to 10000. batch: 2 to 4096. seed: 0 to 2^31 - 1.
    lr: Adam's rate, in (0, 1). critic_width: channels of the discriminator's first layer.
    critic_steps: discriminator updates for each of the generator (Gulrajani's 5 for wgan-gp).
    ema: decay of the generator's averaged weights, in [0, 1); 0 turns averaging off.

    Raises TypeError for a field of the wrong kind, `UserError` for one out of range.
    """

    model: GeneratorConfig = field(default_factory=GeneratorConfig)
    loss: str = "dcgan"
    epochs: int = 20
    batch: int = 128
    seed: int = 0
    lr: float = 2e-4
    critic_width: int = 24
    critic_steps: int = 1
    ema: float = 0.999

    def __post_init__(self) -> None:
        if not isinstance(self.model, GeneratorConfig):
            raise TypeError(f"model must be a GeneratorConfig, got {type(self.model).__name__}")
        if self.loss not in LOSSES:
            raise UserError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        try:
            check_int("epochs", self.epochs, 1, 10_000)
            check_int("batch", self.batch, 2, 4096)
            check_int("seed", self.seed, 0, (1 << 31) - 1)
            check_int("critic_width", self.critic_width, 1, 1024)
            check_int("critic_steps", self.critic_steps, 1, 100)
        except ValueError as error:
            raise UserError(str(error)) from error
        if not 0 < self.lr < 1:
            raise UserError(f"lr must be in (0, 1), got {self.lr}")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema must be in [0, 1), got {self.ema}")

    @classmethod
    def for_loss(cls, model: GeneratorConfig, loss: str, **rest: Any) -> TrainConfig:
        """The settings that suit `loss`: discriminator of 1.5 times the width, 5 steps for WGAN."""
        rest.setdefault("critic_width", min(1024, max(8, model.width * 3 // 2)))
        rest.setdefault("critic_steps", 5 if loss == "wgan-gp" else 1)
        return cls(model=model, loss=loss, **rest)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as nested plain dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Build a config from `to_dict`'s result; ValueError or TypeError if it is none."""
        if not isinstance(values, dict) or set(values) != set(cls.__dataclass_fields__):
            raise ValueError(f"training config must have the fields of TrainConfig, got {values!r}")
        return cls(**{**values, "model": GeneratorConfig.from_dict(values["model"])})

    def difference(self, given: TrainConfig) -> str:
        """Say which fields of `given` differ from these, for a message; empty if none does."""
        ours, theirs = self.to_dict(), given.to_dict()
        ours |= ours.pop("model")
        theirs |= theirs.pop("model")
        return ", ".join(f"{k} {ours[k]} (given {theirs[k]})" for k in ours if ours[k] != theirs[k])
