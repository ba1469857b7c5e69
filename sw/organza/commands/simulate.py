"""`organza simulate`: run a build's Verilog and keep what it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from organza.commands.common import Force, Images, Json, Output, Seed, print_json
from organza.commands.latents import model_name, read_inputs
from organza.commands.steps import Steps
from organza.commands.weights import Weights, read_weights
from organza.errors import UserError
from organza.output_folder import new_folder


def simulate(
    build: Annotated[
        Path, typer.Argument(help="Build folder of 'organza build' or 'organza demo'.")
    ],
    output: Output,
    latents: Annotated[
        Path | None, typer.Option(help="Real inputs (N, ...): .npy. Default: drawn.")
    ] = None,
    images: Images = 16,
    seed: Seed = 0,
    weights: Weights = None,
    trace: Annotated[
        str | None,
        typer.Option(
            help="Also write waveforms into the output folder under this name, e.g. wave.vcd."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Simulate the Verilog in a build folder: images, cycles, waveforms.

    Example: organza simulate build/mine --seed 1 --images 4 --trace wave.vcd -o build/run
    """
    if trace is not None and (Path(trace).name != trace or not trace.endswith(".vcd")):
        raise UserError(
            f"--trace must be a file name that ends in .vcd, not {trace!r}: waveforms are written as VCD"
        )
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        with steps.step(f"Reading {build}"):
            import numpy as np

            from organza_sim import api
            from organza_sim.build_folder import load_build
            from organza_sim.html_report import render_report
            from organza_sim.pictures import comparison, labelled
            from organza_sim.report import make_report, write_report

            chip = load_build(build).chip
            program = read_weights(chip, weights)
            x = read_inputs(program, latents, images, seed)
        with steps.step("Simulating") as progress:
            result = api.simulate(
                chip, x, trace=None if trace is None else folder / trace, progress=progress,
                weights=None if weights is None else program,
            )
        with steps.step("Writing the results"):
            np.save(folder / "inputs.npy", x)
            np.save(folder / "outputs.npy", result.outputs)
            reference = program.run(program.quantize(x[:16]))
            rows = comparison(program, real=None, reference=reference, rtl=result.outputs[:16])
            labelled(rows).save(folder / "images.png")
            report = make_report(
                chip.program, chip.plan, model=model_name(build), simulation=result
            )
            page = render_report(chip.program, chip.plan, report, rows=rows, simulation=result)
            write_report(folder, report, page)
    if as_json:
        print_json(report)
        return
    print(
        f"{len(x)} images in {result.cycles:,} cycles, the first in {result.latency:,}, one every {result.interval:,}; "
        f"utilization {result.utilization:.1%}\n"
        f"simulated {result.cycles_per_second:,.0f} cycles/s\nwrote {output}"
    )
