"""`organza synth`: from a build folder to a board's bitstream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from organza.commands.common import Force, Json, Output, print_json
from organza.commands.steps import Steps
from organza.commands.weights import Weights, read_weights
from organza.errors import UserError
from organza.output_folder import new_folder


def synth(
    build: Annotated[Path, typer.Argument(help="Build folder of 'organza build' or 'organza demo'.")],
    output: Output,
    board: Annotated[str | None, typer.Option(help="Name of a board that ships, e.g. ulx3s-85f, or a .toml file of your own.")] = None,
    asic: Annotated[bool, typer.Option("--asic", help="Generic standard cells instead of a board: gates, and memories as macros.")] = False,
    clock: Annotated[
        float | None, typer.Option(help="Megahertz of the accelerator instead of the board file's; its PLL must be able to make them.")
    ] = None,
    video: Annotated[
        bool, typer.Option("--video", help="Images one after the other on the board's HDMI/DVI output, 640×480, instead of the serial line.")
    ] = False,
    weights: Weights = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Most placements to try until the clock closes.")] = 3,
    seed: Annotated[int, typer.Option(min=1, help="The first of them, e.g. one that is known to close.")] = 1,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a board's bitstream with open tools: resources, clock, images a second. Or count the gates of a chip.

    Example: organza synth build/mine --board ulx3s-85f -o build/ulx3s
    Or, for a screen: organza synth build/mine --board ulx3s-85f --video -o build/screen
    """
    if (board is None) != asic:
        raise UserError("give either --board or --asic")
    if asic and clock is not None:
        raise UserError("--clock must not be given with --asic, which has no timing")
    if asic and video:
        raise UserError("--video must not be given with --asic, which has no pins")
    if asic and weights is not None:
        raise UserError("--weights must not be given with --asic, which loads none")
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        with steps.step(f"Reading {build}"):
            from organza.board import load_board
            from organza_sim.asic import make_cells
            from organza_sim.board_build import make
            from organza_sim.build_folder import load_build
            from organza_sim.yowasp import write_record

            chosen = None if board is None else load_board(board)
            if chosen is not None and clock is not None:
                chosen = chosen.with_core_hz(round(clock * 1e6))
            found = load_build(build)
            program = read_weights(found.chip, weights)
            if found.edited:
                raise UserError(f"{build}: {', '.join(found.edited)} was edited since the build; build again before synthesis")
        with steps.step("Mapping to gates" if chosen is None else f"Building for {chosen.title}") as say:
            if chosen is None:
                report = make_cells(found.chip, folder).report()
            else:
                report = make(
                    found.chip, chosen, Path(str(board)).stem, folder, video=video, first=seed, seeds=seeds, say=say, weights=program
                ).report()
            write_record(folder / "report.json", report)
    if as_json:
        print_json(report)
        return
    print("\n".join([*(_gates(report) if asic else _lines(report)), f"wrote {output}"]))


def _gates(report: dict) -> list[str]:
    """What a chip of standard cells takes, for people."""
    return [
        f"{report['gate_equivalents']:,} gate equivalents ({report['transistors']:,} transistors), {report['registers']:,} registers among them",
        f"{len(report['macros'])} memories as macros: {report['rom_bits']:,} bits of ROM, {report['ram_bits']:,} of RAM",
    ]


def _lines(report: dict) -> list[str]:
    """What was made, for people."""
    from organza_sim.budget import NAMES

    predicted = report["predicted"] or {}
    lines = [
        f"{NAMES[what]:12} {number:7,}"
        + (f" of {report['available'][what]:,}" if what in report["available"] else "")
        + (f", predicted {predicted[what]:,}" if what in predicted else "")
        for what, number in report["used"].items()
    ]
    if report["mhz"] is None:
        return [*lines, "not placed here: give the Verilog and the constraint file to the vendor's tools"]
    return [
        *lines, f"clock        {report['mhz']:7.1f} MHz, runs with {report['target_mhz']:g}",
        f"rate         {report['images_per_second']:7,.0f} images/s (an image every {report['interval']:,} cycles)",
        *([] if report["memory_bytes"] is None else [
            f"memory       {report['memory_images_per_second']:7,.0f} images/s, each of which reads {report['memory_bytes']:,} bytes beside the chip"
        ]),
    ]  # fmt: skip
