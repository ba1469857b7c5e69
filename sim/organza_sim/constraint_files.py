"""What vendors' tools read about pins and clocks: one text for every family, from the file of the board."""

from __future__ import annotations

from collections.abc import Mapping

from organza.board import Board, Pin

SUFFIXES = {"ecp5": ".lpf", "ice40": ".pcf", "gowin": ".cst", "xc7": ".xdc"}
_COMMENT = "Pins of the top module that `organza synth` builds for this board."
_SCREEN = "With --video it has those of the screen instead of rx and tx."


def constraints(board: Board, more: Mapping[str, Pin] | None = None) -> str:
    """Text of the constraint file, of the kind that `SUFFIXES` says. more : pins by name beside those that every chip has."""
    lines = _FAMILIES[board.device.family](board, {**board.pins, **(more or {})})
    mark = "//" if board.device.family == "gowin" else "#"
    screen = "" if board.video is None else f" {_SCREEN}"
    return "\n".join([f"{mark} {board.title}. {_COMMENT}{screen}", *lines, ""])


def _ecp5(board: Board, pins: dict[str, Pin]) -> list[str]:
    made = []
    for name, pin in pins.items():
        made.append(f'LOCATE COMP "{name}" SITE "{pin.site}";')
        made += [f'IOBUF PORT "{name}" {" ".join(_attributes(pin))};'] if pin.attributes else []
    return [*made, f'FREQUENCY PORT "clk" {board.clock.hz / 1e6:g} MHZ;']


def _ice40(board: Board, pins: dict[str, Pin]) -> list[str]:
    return [*(f"set_io {name} {pin.site}" for name, pin in pins.items()), f"set_frequency clk {board.clock.hz / 1e6:g}"]


def _gowin(board: Board, pins: dict[str, Pin]) -> list[str]:
    made = []
    for name, pin in pins.items():
        made.append(f'IO_LOC "{name}" {pin.site};')
        made += [f'IO_PORT "{name}" {" ".join(_attributes(pin))};'] if pin.attributes else []
    return made


def _xc7(board: Board, pins: dict[str, Pin]) -> list[str]:
    made = []
    for name, pin in pins.items():
        values = " ".join([f"PACKAGE_PIN {pin.site}", *(f"{key} {value}" for key, value in pin.attributes.items())])
        made.append(f"set_property -dict {{ {values} }} [get_ports {name}]")
    return [*made, f"create_clock -name clk -period {1e9 / board.clock.hz:.3f} [get_ports clk]"]


def _attributes(pin: Pin) -> list[str]:
    return [f"{key}={value}" for key, value in pin.attributes.items()]


_FAMILIES = {"ecp5": _ecp5, "ice40": _ice40, "gowin": _gowin, "xc7": _xc7}
