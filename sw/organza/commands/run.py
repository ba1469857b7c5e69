"""`organza run`: images from a board."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from organza.commands.common import Force, Images, Json, Output, print_json
from organza.commands.latents import read_inputs
from organza.commands.steps import Steps
from organza.commands.weights import Weights, read_weights
from organza.errors import UserError
from organza.output_folder import new_folder

if TYPE_CHECKING:
    from organza.board import Board
    from organza.driver import Port
    from organza_hw.build import Chip

SHOWN = 16


def run(
    build: Annotated[Path, typer.Argument(help="Build folder whose bitstream the board runs.")],
    port: Annotated[str, typer.Option(help="Serial port, e.g. /dev/ttyUSB0; 'rtl' simulates the board, 'reference' is the software.")],
    output: Output,
    board: Annotated[str, typer.Option(help="Name or .toml file of the board: the baud of its link.")] = "ulx3s-85f",
    latents: Annotated[Path | None, typer.Option(help="Real inputs (N, ...): .npy. Default: the board draws its own.")] = None,
    images: Images = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of what the board draws.")] = 0,
    weights: Weights = None,
    measure: Annotated[int, typer.Option(min=1, help="Images to measure the rate with; none of them is sent.")] = 100,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Generate images on a board, compare them with the reference, and measure its rate.

    Example: organza run build/mine --port /dev/ttyUSB0 --board ulx3s-85f --seed 1 -o build/run
    """
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        with steps.step(f"Reading {build}"):
            import time

            import numpy as np

            from organza.board import load_board
            from organza.driver import Driver
            from organza.latent_stream import draw
            from organza.program_file import program_hash
            from organza_hw.external.layout import sent_image
            from organza_sim.build_folder import load_build
            from organza_sim.pictures import comparison, labelled
            from organza_sim.yowasp import write_record

            chosen, chip = load_board(board), load_build(build).chip
            program = read_weights(chip, weights)
            image = sent_image(chip.program, chip.plan, chosen.memory, program)
            inputs = None if latents is None else program.quantize(read_inputs(program, latents, images, seed))
        with _opened(port, chosen, chip) as opened, Driver(opened) as driver:
            with steps.step(f"Asking {port} for images") as say:
                identity = driver.expect(chip.program, program_hash(chip.program))
                if image and (program.loads or port != REFERENCE) and not driver.has(image):
                    driver.load(image, lambda done: say("Loading weights", done))
                made, begun = [], time.monotonic()
                count = images if inputs is None else len(inputs)
                source = driver.latents(program, count, seed) if inputs is None else driver.images(program, inputs)
                for image in source:
                    made.append(image)
                    say(f"{len(made)} of {count}", len(made) / count)
                seconds = time.monotonic() - begun
            with steps.step(f"Measuring with {measure} images"):
                cycles, _ = driver.measure(measure, seed)
        with steps.step("Comparing with the reference"):
            outputs = np.stack(made)
            inputs = draw(program.input, program.input_shape, images, seed) if inputs is None else inputs
            reference = program.run(inputs)
            wrong = int((reference != outputs).sum())
            rows = comparison(
                program, real=None, reference=reference[:SHOWN], rtl=outputs[:SHOWN], maker=("board", f"what {port} sent")
            )
            labelled(rows).save(folder / "images.png")
            np.save(folder / "outputs.npy", outputs)
            report = {
                "port": port, "board": board, "program": identity.program.hex(), "images": len(outputs), "bit_exact": wrong == 0,
                "wrong_values": wrong, "core_hz": identity.core_hz, "cycles_per_image": cycles / measure,
                "images_per_second": None if port == REFERENCE else identity.core_hz * measure / cycles,
                "images_per_second_link": len(outputs) / seconds, "mended": driver.damages,
            }  # fmt: skip
            write_record(folder / "report.json", report)
    if as_json:
        print_json(report)
    else:
        rate = "" if port == REFERENCE else f"; {report['images_per_second']:,.0f} images/s at {identity.core_hz / 1e6:g} MHz"
        exact = "bit-exact" if not wrong else f"{wrong} VALUES DIFFER from the reference"
        mended = f", {len(driver.damages)} times asked again" if driver.damages else ""
        print(f"{len(outputs)} images, {exact}{rate}\nover the link {report['images_per_second_link']:,.1f} images/s{mended}\nwrote {output}")
    if wrong:
        raise UserError(f"{port}: {wrong} values differ from the reference; {output} has what came")


REFERENCE, RTL = "reference", "rtl"


@contextlib.contextmanager
def _opened(port: str, board: Board, chip: Chip) -> Iterator[Callable[[], Port]]:
    """What opens the port, a simulated one too."""
    from organza.driver import serial_port
    from organza.program_file import program_hash
    from organza.software_board import SoftwareBoard
    from organza_hw.loading.image import read_image

    if port == REFERENCE:
        software: Any = SoftwareBoard(
            chip.program, program_hash(chip.program), board.core_hz, load=lambda image: read_image(image, chip.program, chip.plan)
        )
        yield lambda: software
    elif port == RTL:
        from organza_sim.serial_board import serial_board

        with serial_board(chip, board) as path:
            yield serial_port(path, board.link.baud)
    else:
        yield serial_port(port, board.link.baud)
