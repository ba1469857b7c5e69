"""Organza: compresses a PyTorch GAN generator and generates the FPGA accelerator that runs it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from organza.lowering import lower as lower
    from organza.program import Program as Program
    from organza.program_file import load_program as load_program
    from organza.program_file import save_program as save_program

# Imported on first use: gateware and simulation need the Program, and must not wait for PyTorch.
_HOMES = {
    "lower": "organza.lowering",
    "Program": "organza.program",
    "load_program": "organza.program_file",
    "save_program": "organza.program_file",
    "build": "organza_sim.api",
    "simulate": "organza_sim.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'organza' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
