"""`organza verify`: the Verilog in a build folder against the integer reference and the cycle model."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organza.commands.common import FAILED, Force, Images, Json, Seed, print_json
from organza.commands.latents import model_name, read_inputs
from organza.commands.steps import Steps
from organza.output_folder import new_folder

if TYPE_CHECKING:
    from organza_sim.verify import Verification

# A narrower terminal wraps whole lines instead of single cells.
WIDTH = 140


def verify(
    build: Annotated[
        Path, typer.Argument(help="Build folder of 'organza build' or 'organza demo'.")
    ],
    latents: Annotated[
        Path | None, typer.Option(help="Real inputs (N, ...): .npy. Default: drawn.")
    ] = None,
    images: Images = 16,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write a report into this folder.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Check every value of every layer and every image's cycle; say where the first difference is.

    Verilog and memory images are taken as they lie in the folder, edited or not. The exit status is 0 only if all is right.

    Example: organza verify build/mine --images 100 --seed 7
    """
    with ExitStack() as stack:
        steps = stack.enter_context(Steps(quiet=as_json))
        folder = None if output is None else stack.enter_context(new_folder(output, replace=force))
        with steps.step(f"Reading {build}"):
            from organza_sim.build_folder import load_build
            from organza_sim.verify import verify as check

            loaded = load_build(build)
            x = read_inputs(loaded.chip.program, latents, images, seed)
        with steps.step("Verifying") as progress:
            result = check(loaded, x, progress=progress)
        if folder is not None:
            from organza_sim.html_report import render_report
            from organza_sim.report import make_report, write_report

            program, plan = loaded.chip.program, loaded.chip.plan
            report = make_report(program, plan, model=model_name(build), verification=result)
            write_report(folder, report, render_report(program, plan, report, verification=result))
    if as_json:
        print_json(result.to_dict())
    else:
        print_verdict(result)
    if not result.passed:
        raise typer.Exit(FAILED)


def print_verdict(result: Verification) -> None:
    """A line for each layer and each image that is wrong, and the verdict."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=WIDTH)
    layers = Table("layer", "code", "values", "wrong", "first difference", box=None, pad_edge=False)
    for layer in result.layers:
        first = layer.first
        where = "" if first is None else str(first).partition(", ")[2]
        # What stays inside a shared engine is seen in what comes of it.
        counts = (f"{layer.values:,}", f"{layer.wrong:,}") if layer.values else ("inside", "")
        layers.add_row(Text(layer.layer), layer.code, *counts, Text(where))
    console.print(layers, "")
    if result.exponents:
        exponents = Table("exponents of", "lowest", "highest", "overflows", "wrong", "first difference", box=None, pad_edge=False)
        for layer in result.exponents:
            where = "" if layer.first is None else str(layer.first).partition(", ")[2]
            numbers = (layer.lowest, layer.highest, layer.overflows, layer.wrong)
            exponents.add_row(Text(layer.layer), *map(str, numbers), Text(where))
        console.print(exponents, "")
    images = Table(
        "image", "values", "last output, RTL", "cycle model", "verdict", box=None, pad_edge=False
    )
    for image in result.images:
        cycle = "never" if image.cycle is None else f"{image.cycle:,}"
        values = "bit-exact" if image.bit_exact else "wrong"
        images.add_row(
            str(image.image),
            values,
            cycle,
            f"{image.cycle_model:,}",
            "pass" if image.passed else "FAIL",
        )
    console.print(images, "")
    for name in result.edited:
        print(f"{name}: edited since the build")
    for memory in result.memory:
        print(
            f"{memory.file}:{memory.line}: expected {_short(memory.expected)}, got {_short(memory.got)} "
            f"({memory.count} words differ from the Program)"
        )
    if result.stopped:
        print(f"the simulation stopped: {result.stopped}")
    if result.first is not None:
        print(f"first difference: {result.first}")
    verdict = "PASS" if result.passed else "FAIL"
    cycles = "cycles equal the model's" if result.cycle_exact else "cycles differ from the model's"
    print(
        f"{verdict}: {len(result.images)} images, {'bit-exact' if result.bit_exact else 'not bit-exact'}, {cycles}"
    )


def _short(word: str) -> str:
    return word if len(word) <= 24 else f"{word[:12]}…{word[-10:]}"
