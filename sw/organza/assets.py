"""Trained files that ship with Organza, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
GENERATOR = "dcgan32-w16"
TEACHER = "dcgan32-w32"  # twice as wide, for compression to start from
GENERATORS = (GENERATOR, TEACHER)


def generator_file(name: str) -> Path | None:
    """The checkpoint of the shipped generator `name`, with or without its ending; None if there is none."""
    stem = name.removesuffix(".safetensors")
    return FOLDER / f"{stem}.safetensors" if stem in GENERATORS else None


def discriminator_file(name: str) -> Path | None:
    """The discriminator that the shipped generator `name` was trained with; None where it does not ship."""
    stem = name.removesuffix(".safetensors")
    path = FOLDER / f"{stem}-discriminator.safetensors"
    return path if stem in GENERATORS and path.is_file() else None
