"""What the commands share: options, errors on one line, JSON for machines."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from organza.commands.steps import interruption

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder to write; must be absent or empty.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an earlier result of organza in the output folder.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON on standard output, and nothing else."),
]
Images = Annotated[int, typer.Option("--images", "-n", min=1, help="How many images.")]
Code = Annotated[
    str | None,
    typer.Option(
        help="Weight code of all layers (ternary, binary, power, affine:4, codebook:16, linear:6) or of "
        "some: layer1=codebook:16,layer2=binary; redundant=binary (ApGAN's choice), rest=linear:6. Default: linear:8."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Fixes the latents that are drawn.")]

FAILED, INTERRUPTED = 1, 130


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with errors that a user can mend as one line on standard error, and exit statuses that can be relied on.

    `ORGANZA_TRACEBACK=1` shows where an error came from instead.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        # Amaranth reports components that were made and then not used, as happens when a plan is refused.
        warnings.filterwarnings("ignore", message=".*created but never used")
        previous = {
            number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)
        }
        interruption.clear()
        complain = sys.unraisablehook
        sys.unraisablehook = functools.partial(_unraisable, complain)
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            print("organza: interrupted; nothing was written", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if os.environ.get("ORGANZA_TRACEBACK") or not _is_expected(error):
                raise
            print(f"organza: error: {_message(error)}", file=sys.stderr)
            raise typer.Exit(FAILED) from None
        finally:
            sys.unraisablehook = complain
            for number, handler in previous.items():
                signal.signal(number, handler)

    return run


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # Python drops an exception that happens to arrive inside a destructor, so the next step looks here again.
    interruption.set()
    raise KeyboardInterrupt


def _unraisable(complain: Callable[[Any], None], dropped: Any) -> None:
    """Say nothing of an interruption that arrived inside a destructor."""
    if dropped.exc_type is not KeyboardInterrupt:
        complain(dropped)


def _is_expected(error: Exception) -> bool:
    """Errors that say what to mend; anything else is a defect of Organza and shows its traceback."""
    if isinstance(error, ValueError | OSError):
        return True
    # Named, not imported: most commands need no simulator.
    return type(error).__name__ in ("VerilatorError", "RtlError")


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
