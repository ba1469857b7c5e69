"""The command `organza`: one file a command in `organza.commands`."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from organza.commands import build, compress, demo, explore, info, run, simulate, synth, train, verify
from organza.commands.common import guarded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a trained PyTorch generator to a bit-exact FPGA accelerator.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"organza {importlib.metadata.version('organza')}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


for command in (demo.demo, train.train, compress.compress, build.build, simulate.simulate, verify.verify, synth.synth, run.run, explore.explore, info.info):
    app.command()(guarded(command))


def main() -> None:
    """Entry point of the console script."""
    app()
