"""`organza demo`: the whole road with the shipped generator."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from organza.commands.build import Limits, make_chip
from organza.commands.common import FAILED, Code, Force, Images, Json, print_json
from organza.commands.model import SHIPPED, draw_inputs, load_model
from organza.commands.steps import Steps
from organza.output_folder import new_folder

if TYPE_CHECKING:
    from organza_sim.verify import Verification

LATENT_SEED = 2
SHOWN = 16
# One mean square over this many images; seed and number are those of docs/results/quality.json.
PSNR_IMAGES, PSNR_SEED = 1000, 1


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; must be absent or empty.")
    ] = Path("organza-demo"),
    images: Images = SHOWN,
    code: Code = None,
    lanes: Annotated[
        int | None, typer.Option(help="Most multipliers to use. Default: 133.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Shipped generator → int8 → Verilog → RTL simulation → pictures and a report.

    Example: organza demo -o build/demo
    """
    started = time.monotonic()
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        with steps.step(f"Loading and quantising the shipped generator {SHIPPED}"):
            model = load_model(
                SHIPPED, weights=None, input_shape=None, calibration=None, method="mse", code=code
            )
            program = model.program
        chip, said = make_chip(steps, model, Limits(lanes=lanes), None)
        with steps.step("Simulating the Verilog") as progress:
            from organza_sim.build_folder import load_build, write_build
            from organza_sim.verify import verify

            x = draw_inputs(program.input_shape, images, LATENT_SEED)
            integers = program.quantize(x)
            write_build(folder, chip, integers)
            # From the folder, so that what was checked is what lies there.
            result = verify(load_build(folder), integers, progress=progress)
        with steps.step(f"Comparing {PSNR_IMAGES} integer and float images"):
            from organza_sim.report import make_report, psnr_db, write_report

            many = draw_inputs(program.input_shape, PSNR_IMAGES, PSNR_SEED)
            real = model.real(many)
            assert real is not None
            psnr = psnr_db(program, real, program.run(program.quantize(many)))
        with steps.step("Writing the report"):
            from organza_sim.drawing import write_drawings
            from organza_sim.html_report import render_report
            from organza_sim.pictures import comparison, labelled

            shown = x[:SHOWN]
            rtl = None if result.simulation is None else result.simulation.outputs[:SHOWN]
            rows = comparison(
                program, real=model.real(shown), reference=program.run(integers[:SHOWN]), rtl=rtl
            )
            labelled(rows).save(folder / "images.png")
            report = make_report(
                program, chip.plan, model=model.name, verification=result, psnr=psnr, budget=said
            )
            page = render_report(program, chip.plan, report, rows=rows, verification=result)
            write_drawings(folder, program, chip.plan)
            write_report(folder, report, page)
    if as_json:
        print_json(report)
    else:
        _summary(output, report, result, time.monotonic() - started)
    if not result.passed:
        raise typer.Exit(FAILED)


def _summary(output: Path, report: dict, result: Verification, seconds: float) -> None:
    images = report["images"]
    exact = (
        "yes, every value of every layer"
        if result.bit_exact
        else f"NO: {result.first or result.stopped}"
    )
    clock = report["nominal_clock_hz"] / 1e6
    psnr = (
        "identical"
        if report["psnr_db"] is None
        else f"{report['psnr_db']:.2f} dB over {PSNR_IMAGES} images"
    )
    lines = [
        ("bit-exact", f"{exact}, {images} images"),
        (
            "cycles",
            f"{report['cycles']:,} in RTL, {report['cycles_model']:,} in the model, {images} images",
        )
        if report["cycles"] is not None
        else ("cycles", "the simulation did not finish"),
        (
            "interval",
            f"{report['interval']:,} cycles from image to image, {report['latency']:,} for the first",
        ),
        (
            "utilization",
            f"{report['utilization']:.1%} of {report['lanes']} multipliers, every cycle",
        ),
        (
            "images/s",
            f"{report['nominal_images_per_second']:,.0f} at a nominal {clock:g} MHz (not a timing result)",
        ),
        ("PSNR", f"{psnr}, integer against float"),
        ("time", f"{seconds:.0f} s"),
    ]
    print("\n".join(f"{name:<12} {text}" for name, text in lines))
    print(
        f"look at      {output / 'report.html'}, {output / 'images.png'}\nread         {output / 'README.txt'}"
    )
