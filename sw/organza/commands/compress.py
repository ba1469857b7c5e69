"""`organza compress`: run a recipe on a generator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from organza.commands.common import INTERRUPTED, Json, print_json
from organza.commands.model import parse_shape
from organza.commands.steps import Steps
from organza.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from organza.compress.recipe import Recipe
    from organza.compress.stages.stage import Cost
    from organza.program import Program

# A narrower terminal wraps whole lines instead of single cells.
WIDTH = 140


def compress(
    recipe: Annotated[Path, typer.Argument(help="TOML file; see docs/compression.md and examples/recipes.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; absent or empty, or see --resume.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what the folder holds; stages that changed are done again.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Instead of the recipe's data: 'fashion-mnist', 'sample', a file or a folder of pictures.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Instead of the recipe's teacher: a shipped name, a checkpoint or my_model.py:make_generator.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of a Python teacher: .safetensors.")] = None,
    input_shape: Annotated[str | None, typer.Option(help="Shape of one input of a Python teacher, e.g. 64,1,1.")] = None,
    discriminator: Annotated[
        str | None, typer.Option(help="The teacher's: a file, my_model.py:function, 'fresh' or 'none'.")
    ] = None,
    discriminator_weights: Annotated[
        Path | None, typer.Option(help="Weights of a Python discriminator: .safetensors.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="What stages begin with: a shipped name, a checkpoint, or the width of a new generator.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Most steps of any training, to try a recipe.")] = None,
    images: Annotated[int | None, typer.Option(min=2, help="Images for FID, KID and IS instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's seed.")] = None,
    lanes: Annotated[int | None, typer.Option(min=1, help="Multipliers that cycles are counted for. Default: 133.")] = None,
    as_json: Json = False,
) -> None:
    """Compress a generator as a recipe says: prune, factorise, quantise, fine-tune, encode.

    Every stage is kept when it is complete. Ctrl-C loses the stage in hand; --resume goes on with it.

    Example: organza compress examples/recipes/qgan.toml -o build/qgan && organza build build/qgan/program.safetensors -o build/chip
    """
    with Steps(quiet=as_json) as shown:
        with shown.step(f"Reading {recipe}"):
            from organza.compress.recipe import load_recipe
            from organza.compress.run import Settings, run_recipe

            read = load_recipe(recipe)
            own: dict[str, Any] = {
                "checkpoint": teacher, "weights": weights, "discriminator": discriminator,
                "discriminator_weights": discriminator_weights,
                "input_shape": None if input_shape is None else list(parse_shape(input_shape)),
            }  # fmt: skip
            read = _changed(read, own, student, {"images": images, "lanes": lanes}, seed)
        settings = Settings(
            folder=recipe.parent, data=data, resume=resume, most_steps=steps, cost=cycle_model(read.report.lanes), step=shown.step
        )
        try:
            report = run_recipe(read, output, settings)
        except KeyboardInterrupt:
            print(f"organza: interrupted; complete stages are kept in {output}, --resume goes on from there", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(report)
    else:
        _show(report, output)


def _changed(
    recipe: Recipe, teacher: dict[str, Any], student: str | None, report: dict[str, Any], seed: int | None
) -> Recipe:
    """The recipe with what the command line says instead; its paths are relative to where the command was given."""
    from organza.compress.recipe import Student

    change = {key: _path(value) for key, value in teacher.items() if value is not None}
    if "checkpoint" in change:  # what belongs to the recipe's teacher says nothing about another one
        change = {"weights": None, "input_shape": None, "discriminator": None, "discriminator_weights": None, **change}
    if teacher["weights"] is not None and teacher["checkpoint"] is None:
        raise UserError("--weights goes with --teacher my_model.py:make_generator")
    tables: dict[str, Any] = {
        "teacher": recipe.teacher.model_copy(update=change),
        "report": recipe.report.model_copy(update={key: value for key, value in report.items() if value is not None}),
    }
    if student is not None:
        tables["student"] = Student(width=int(student)) if student.isdecimal() else Student(checkpoint=_path(student))
    if seed is not None:
        tables["seed"] = seed
    return recipe.model_copy(update=tables)


def _path(value: Any) -> Any:
    """A name that is a path as an absolute one; shipped names and words stay."""
    from organza import assets

    if not isinstance(value, str | Path) or value in ("none", "fresh"):
        return value
    if isinstance(value, str) and not Path(value).exists() and assets.generator_file(value) is not None:
        return value
    return str(Path(value).absolute())


def cycle_model(lanes: int | None) -> Callable[[Program], Cost]:
    """What costs a Program on at most `lanes` multipliers, or on one a layer where its codes ask for more."""

    def cost(program: Program) -> Cost:
        from organza.compress.stages.stage import Cost
        from organza_sim.planner import DEFAULT_LANES, plan_program

        plan = plan_program(program, DEFAULT_LANES if lanes is None else lanes)
        issued = sum(schedule.issues * schedule.lanes for schedule in plan.schedules(program))
        return Cost(cycles=plan.cycles, interval=plan.interval, lanes=plan.lanes, macs_issued=issued)

    return cost


def _show(report: dict[str, Any], output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    stages = report["stages"]
    scores = [name for name in stages[-1] if name.split("-")[0] in ("FID", "IS")]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("after")
    for title in (*scores, "PSNR, dB", "bits", "smaller", "MACs executed", "interval"):
        table.add_column(title, justify="right")
    for row in stages:
        spread = [f"{row[name]['mean']:.2f} ± {row[name]['deviation']:.2f}" if name in row else "–" for name in scores]
        psnr = "–" if row.get("psnr_db") is None else f"{row['psnr_db']:.1f}"
        executed = "–" if row["macs_executed"] is None else f"{row['macs_executed']:,}"
        interval = f"{row['interval']:,}" if "interval" in row else "–"
        table.add_row(row["name"], *spread, psnr, f"{row['bits']:,}", f"{row['compression_ratio']:.1f}×", executed, interval)
    Console(highlight=False, width=WIDTH).print(table)
    print(f"\nwrote {output}/report.html", end="")
    if report["program"] is None:
        print("; no Program, because a code has no lanes on the chip")
    else:
        print(f" and the Program; next: organza build {output}/program.safetensors -o …")
