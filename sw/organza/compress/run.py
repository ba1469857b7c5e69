"""Runs a recipe: stage after stage, each kept on disk, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from organza.compress.chain import Chain
from organza.compress.export import on_chip, to_program
from organza.compress.finetune import Diverged
from organza.compress.measure import Measuring, producer, program_figures
from organza.compress.recipe import Recipe
from organza.compress.report import write_report
from organza.compress.run_folder import (
    IMAGES_FILE,
    MEASURED_FILE,
    PROGRAM_FILE,
    STAGE_FILE,
    read_json,
    read_networks,
    remove_from,
    run_folder,
    saving,
    stage_path,
    write_json,
    write_stage,
)
from organza.compress.sources import digest_of, load_data, load_scoring, load_start, load_test_data
from organza.compress.stages.stage import Context, Cost, Stage, State
from organza.errors import UserError
from organza.metrics import Scorer
from organza.program import Program
from organza.program_file import save_program
from organza.sampling import draw_latents, save_grid

# Part of every key: a new number makes old folders start again.
VERSION = 1
START, NETWORKS = "start", ("generator", "critic")
SHOWN = 10
_SHOWN_SEED = 0
_REHEARSAL_LATENTS = 32

Progress = Callable[[str, float], None]
Step = Callable[[str], AbstractContextManager[Progress]]


def quiet(title: str) -> AbstractContextManager[Progress]:
    """Show nothing."""
    return nullcontext(lambda text, fraction: None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """How to run a recipe.

    folder : what the recipe's paths are relative to. data : instead of the recipe's. resume : go on with what the output folder
    holds. most_steps : no training takes more. cost : the cycle model. step : called with a title, makes the context in which
    progress is shown.
    """

    folder: Path = Path()
    data: str | Path | None = None
    resume: bool = False
    most_steps: int | None = None
    cost: Callable[[Program], Cost] | None = None
    step: Step = quiet


def run_recipe(recipe: Recipe, out: str | Path, settings: Settings | None = None) -> dict[str, Any]:
    """Run `recipe` into the folder `out`; returns the report, as `report.json` has it.

    Every stage is written when it is complete. With `resume`, stages whose settings and predecessors are as before are taken
    from the folder; a changed stage and all behind it are done again.

    Raises `UserError` naming stage, key or file, and what to do. Whatever stops a run, complete stages stay.
    """
    settings = settings or Settings()
    with run_folder(Path(out), resume=settings.resume) as folder:
        return _Run(recipe, folder, settings).run()


class _Run:
    def __init__(self, recipe: Recipe, folder: Path, settings: Settings) -> None:
        self.recipe, self.folder, self.settings = recipe, folder, settings
        data = recipe.teacher.data
        self.data: str | Path = data if data in ("sample", "fashion-mnist") else settings.folder / data
        if settings.data is not None:
            self.data = settings.data
        self.rows: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        """Everything. Nothing is written before all that can be known to be wrong has been looked for."""
        with self.settings.step("Loading teacher and data"):
            digest, known, start = self._start()
            teacher = _need(start, "teacher")
            self.images = load_data(self.recipe, teacher, self.data)
            content = hashlib.sha256(self.images.tobytes()).hexdigest()
            self.key = _digest(str(VERSION), digest, content, str(self.settings.most_steps), self.recipe.teacher.loss)
        with self.settings.step("Loading what scores images"):
            scoring = load_scoring(self.recipe, teacher, self.settings.folder)
            scorer = None if scoring is None else Scorer(scoring, load_test_data(teacher, self.data))
        measuring = Measuring(teacher=teacher, settings=self.recipe.report, scorer=scorer, cost=self.settings.cost)
        context = Context(
            teacher=teacher, judge=start["judge"], images=self.images, loss=self.recipe.teacher.loss, seed=self.recipe.seed,
            cost=self.settings.cost, score=measuring.score, most_steps=self.settings.most_steps,
        )  # fmt: skip
        with self.settings.step("Rehearsing the stages"):
            self._rehearse(_state(start), context)
        path = stage_path(self.folder, 0, START)
        if not known:
            with saving(self.folder):
                remove_from(self.folder, 0)
            write_stage(path, start, {"digest": digest})
        state = _state(read_networks(path, NETWORKS))
        self._measure("teacher", None, teacher, measuring, path)
        key, waiting = self.key, ()
        program: Program | None = None
        for number, stage in enumerate(self.recipe.stages, 1):
            key = _digest(key, stage.kind, stage.model_dump_json())
            path = stage_path(self.folder, number, stage.kind)
            record = read_json(path / STAGE_FILE)
            if record is None or record.get("key") != key:
                own = replace(context, number=number, waiting=waiting)
                state, record = self._apply(number, stage, state, own, key)
            else:
                state = _state(read_networks(path, NETWORKS))
            waiting = () if stage.kind == "finetune" else (*waiting, stage)
            program = self._measure(stage.kind, record, state.generator, measuring, path, last=number == len(self.recipe.stages))
        return self._finish(program, teacher)

    def _start(self) -> tuple[str, bool, dict[str, Chain | None]]:
        """Digest of what the recipe names, whether the folder has it already, and the networks."""
        path = stage_path(self.folder, 0, START)
        digest = digest_of(self.recipe, self.settings.folder)
        record = read_json(path / STAGE_FILE)
        if record is not None and record.get("digest") == digest:
            return digest, True, read_networks(path, ("teacher", "judge", *NETWORKS))
        start = load_start(self.recipe, self.settings.folder)
        networks = {"teacher": start.teacher, "judge": start.judge, "generator": start.generator, "critic": start.critic}
        return digest, False, networks

    def _rehearse(self, state: State, context: Context) -> None:
        """All stages on copies, without training, so that what cannot work fails before hours have gone into it."""
        state = State(deepcopy(state.generator), deepcopy(state.critic))
        waiting: tuple[Stage, ...] = ()
        for number, stage in enumerate(self.recipe.stages, 1):
            own = replace(context, number=number, waiting=waiting, rehearsal=True)
            with _named(number, stage):
                stage.rehearse(state, own)
                if on_chip(state.generator):
                    to_program(state.generator, own.latents(_REHEARSAL_LATENTS))
            waiting = () if stage.kind == "finetune" else (*waiting, stage)

    def _apply(
        self, number: int, stage: Stage, state: State, context: Context, key: str
    ) -> tuple[State, dict[str, Any]]:
        with saving(self.folder):
            remove_from(self.folder, number)
        path = stage_path(self.folder, number, stage.kind)
        started = time.monotonic()
        state = State(deepcopy(state.generator), deepcopy(state.critic))
        with self.settings.step(f"Stage {number} of {len(self.recipe.stages)}: {stage.kind}") as progress, _named(
            number, stage, self._before(number)
        ):
            notes = stage.apply(state, replace(context, progress=progress))
            record = {
                "key": key, "stage": stage.kind, "settings": stage.model_dump(mode="json"), "notes": notes,
                "seconds": round(time.monotonic() - started, 1),
            }  # fmt: skip
            write_stage(path, {"generator": state.generator, "critic": state.critic}, record)
        return _state(read_networks(path, NETWORKS)), record

    def _before(self, number: int) -> Path:
        kind = self.recipe.stages[number - 2].kind if number > 1 else START
        return stage_path(self.folder, number - 1, kind)

    def _measure(
        self, name: str, record: dict[str, Any] | None, chain: Chain, measuring: Measuring, path: Path, *, last: bool = False
    ) -> Program | None:
        """Append the figures of a stage, or the teacher's without a `record`, to the rows; the Program of its generator."""
        file = path / MEASURED_FILE
        quality = last or self.recipe.report.quality == "all"
        net = None if measuring.scorer is None else measuring.scorer.net
        how = self.recipe.report.model_dump_json(), str(net), str(measuring.cost is not None), str(quality)
        key = _digest(self.key, str((record or {}).get("key")), *how)
        found = read_json(file)
        program = None
        if found is None or found.get("key") != key:
            with self.settings.step(f"Measuring after {name}" if record else "Measuring the teacher") as progress:
                program = None if record is None else measuring.program(chain)
                values = replace(measuring, progress=progress).measure(chain, program, quality=quality)
                found = {"key": key, "values": values}
                with saving(self.folder):
                    latents = draw_latents(SHOWN, int(np.prod(chain.input_shape)), _SHOWN_SEED).numpy()
                    save_grid(path / IMAGES_FILE, producer(chain, program)(latents), columns=SHOWN)
                    write_json(file, found)
        row = {"name": name, **found["values"]}
        if record is not None:
            row |= {"settings": record["settings"], "notes": record["notes"], "seconds": record["seconds"]}
        row["folder"] = path.name
        self.rows.append(row)
        return program

    def _finish(self, program: Program | None, teacher: Chain) -> dict[str, Any]:
        path = stage_path(self.folder, len(self.recipe.stages), self.recipe.stages[-1].kind)
        with self.settings.step("Writing Program and report"):
            with saving(self.folder):
                remove_from(self.folder, len(self.recipe.stages) + 1)
            generator = _need(read_networks(path, NETWORKS), "generator")
            figures = None
            if on_chip(generator):
                measuring = Measuring(teacher=teacher, settings=self.recipe.report, scorer=None, cost=None)
                program = program or measuring.program(generator)
                assert program is not None
                figures = program_figures(program, teacher)
            report = {
                "about": self.recipe.about, "teacher": self.recipe.teacher.checkpoint, "data": str(self.data),
                "images": len(self.images), "seed": self.recipe.seed, "most_steps": self.settings.most_steps,
                "report": self.recipe.report.model_dump(mode="json"), "program": figures, "stages": self.rows,
            }  # fmt: skip
            with saving(self.folder):
                if program is not None:
                    save_program(program, self.folder / PROGRAM_FILE)
                write_report(self.folder, report)
        return report


@contextmanager
def _named(number: int, stage: Stage, kept: Path | None = None) -> Iterator[None]:
    """Errors of a stage with its number and kind; of training also where the networks before it are."""
    try:
        yield
    except ValueError as error:
        where = f"stage {number}: " + ("" if str(error).startswith(stage.kind) else f"{stage.kind}: ")
        advice = f"; the networks before it are kept in {kept}" if isinstance(error, Diverged) and kept else ""
        raise UserError(f"{where}{error}{advice}") from error


def _need(networks: dict[str, Chain | None], name: str) -> Chain:
    chain = networks[name]
    if chain is None:
        raise UserError(f"{name}.safetensors is missing in the output folder; choose another one and start again")
    return chain


def _state(networks: dict[str, Chain | None]) -> State:
    return State(_need(networks, "generator"), networks["critic"])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
