"""One run of the study: train and measure by the recipe, then build the chip of the Program and compare its RTL."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from organza.commands.compress import cycle_model
from organza.compress.recipe import Recipe
from organza.compress.run import Settings, run_recipe
from organza.compress.run_folder import PROGRAM_FILE
from organza.program_file import load_program
from organza.sampling import draw_latents
from organza_sim.api import build
from organza_sim.study.rows import Row
from organza_sim.study.table import Run
from organza_sim.verify import verify

RTL_IMAGES, _RTL_SEED = 2, 5


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be made in `folder`, which keeps what is complete if it is stopped."""

    row: Row
    seed: int
    steps: int
    recipes: Path
    data: str
    folder: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe with this seed and these steps."""
        return self.row.recipe(self.seed, steps=self.steps)


def key_of(recipe: Recipe) -> str:
    """Digits that change with everything that a recipe says, but for what it is called."""
    stages = " ".join(f"{stage.kind} {stage.model_dump_json()}" for stage in recipe.stages)
    rest = recipe.model_dump_json(exclude={"about", "stages"})
    return hashlib.sha256(f"{rest} {stages}".encode()).hexdigest()[:12]


def use_one_thread() -> None:
    """For processes that share a machine. Here, because what starts a process does not find it in a `__main__`."""
    torch.set_num_threads(1)


def make_run(job: Job) -> Run:
    """Train, measure, build, simulate. Raises `UserError` as `run_recipe`."""
    started, recipe = time.monotonic(), job.recipe
    settings = Settings(folder=job.recipes, data=job.data, resume=True, cost=cycle_model(recipe.report.lanes))
    report = run_recipe(recipe, job.folder, settings)
    last = report["stages"][-1]
    scores = {name.split("-")[0]: value["mean"] for name, value in last.items() if name.split("-")[0] in ("FID", "KID", "IS")}
    figures: dict[str, Any] = {
        name: last.get(name) for name in (
            "psnr_db", "weight_bits", "bits", "compression_ratio", "compression_ratio_weights", "macs_output_counted",
            "macs_effectual", "macs_executed", "lanes", "cycles", "interval", "utilization",
        )
    }  # fmt: skip
    rtl: dict[str, Any] = {} if report["program"] is None else {"program": report["program"]["hash"], **on_chip(job.folder / PROGRAM_FILE)}
    return Run(
        row=job.row.name, seed=job.seed, steps=job.steps, key=key_of(recipe), about=job.row.about, fid=scores["FID"],
        kid=scores["KID"], inception_score=scores["IS"], **figures, **rtl, seconds=round(time.monotonic() - started, 1),
    )  # fmt: skip


def on_chip(path: Path) -> dict[str, Any]:
    """What the RTL of a Program's chip makes of images, on the lanes of the cycle model."""
    program = load_program(path)
    latents = draw_latents(RTL_IMAGES, program.input_shape[0], _RTL_SEED).numpy().reshape(RTL_IMAGES, *program.input_shape)
    found = verify(build(program), program.quantize(latents))
    return {
        "rtl_images": len(found.images), "rtl_bit_exact": found.bit_exact, "rtl_cycle_exact": found.cycle_exact,
        "rtl_cycles": None if found.simulation is None else found.simulation.cycles,
    }  # fmt: skip
