"""A small generator on a board of every family, up to the bitstream; what does not fit or close; `organza synth`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import organza
from organza.board import Board, load_board
from organza.cli import app
from organza.errors import UserError
from organza.loadable import loadable
from organza.quality import CHECKPOINT, calibration_latents
from organza_hw.build import Chip, build
from organza_sim import toolchain
from organza_sim.board_build import SCREEN_CLOCKS, make
from organza_sim.build_folder import write_build
from organza_sim.planner import DEFAULT_LANES, plan_program
from organza_sim.sharing import parse_shares
from organza_sim.toolchain import place
from tests.repeated import some_now
from tests.strategies import random_input, random_program

pytestmark = pytest.mark.synth


@pytest.fixture(scope="module")
def chip() -> Chip:
    rng = np.random.default_rng(4)
    program = random_program(rng, 1, max_size=3, max_channels=3)
    return build(program, plan_program(program, 2))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORGANZA_CACHE", str(tmp_path / "cache"))


def smaller(board: Board, **device: int) -> Board:
    return board.model_copy(update={"device": board.device.model_copy(update=device)})


@pytest.mark.parametrize("name", some_now(["icebreaker", "ulx3s-25f", "tang-nano-9k"], 1))
def test_bitstreams(tmp_path: Path, chip: Chip, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of every family, with the clock that its PLL makes, as nextpnr derives it; a second time from the cache."""
    board, seen = load_board(name), []
    monkeypatch.setattr(toolchain, "place", lambda *args, **kwargs: seen.append(place(*args, **kwargs)) or seen[-1])
    try:
        made = make(chip, board, name, tmp_path)
    except UserError as error:  # small devices do not close at once; the message says at what they do
        assert "the clock closes at" in str(error)
        board = board.with_core_hz(board.core_hz // 2)
        made = make(chip, board, name, tmp_path)
    (core,) = seen[-1]["fmax"].values()
    assert core["constraint"] == pytest.approx(board.core_hz / 1e6, rel=1e-3)
    assert made.mhz is not None and made.mhz >= board.core_hz / 1e6 == made.target_mhz
    assert all(made.used[what] <= number for what, number in made.available.items() if what in made.used)
    if board.device.family == "ecp5":
        predicted = made.predicted
        assert predicted is not None and made.used["luts"] == pytest.approx(predicted["luts"], rel=0.1)
        assert all(made.used[what] == predicted[what] for what in ("multipliers", "block_rams"))
    else:
        assert made.predicted is None
    image = (tmp_path / made.bitstream).read_bytes()
    assert len(image) > 10_000 and made.images_per_second == board.core_hz / chip.plan.interval
    (tmp_path / made.bitstream).unlink()
    placed = len(seen)
    assert make(chip, board, name, tmp_path) == made
    assert (tmp_path / made.bitstream).read_bytes() == image and len(seen) == placed


def test_sources_for_vendors(tmp_path: Path, chip: Chip) -> None:
    made = make(chip, load_board("arty-a7-35t"), "arty-a7-35t", tmp_path)
    assert (made.mhz, made.bitstream) == (None, "") and made.used["luts"] > 100 and made.used["multipliers"] >= 1
    assert {"board.v", "board.xdc", "generator.v"} <= {path.name for path in tmp_path.iterdir()}


def test_what_does_not_fit(tmp_path: Path, chip: Chip) -> None:
    """Multipliers are known before placement; LUTs after it."""
    board = load_board("ulx3s-25f")
    with pytest.raises(
        UserError, match=r"^does not fit ulx3s-25f: \d+ multipliers of 1 \(\d+ too many\); fewer --lanes, a --code of "
    ):
        make(chip, smaller(board, multipliers=1), "ulx3s-25f", tmp_path)
    assert not list(tmp_path.glob("*.bit"))


@pytest.mark.full
def test_a_clock_that_does_not_close(tmp_path: Path, chip: Chip) -> None:
    board = load_board("icebreaker").with_core_hz(120_000_000)
    with pytest.raises(
        UserError, match=r"^icebreaker: the clock closes at \d+\.\d MHz, not at 120; give --clock \d+, or more --seeds$"
    ):
        make(chip, board, "icebreaker", tmp_path)
    assert not list(tmp_path.glob("*.bin"))


def test_seeds_from_one_on_until_the_clock_closes(tmp_path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def placed(folder: Path, board: Board, top: str, *, seed: int, more: dict) -> dict:
        tried.append(seed)
        mhz = {4: 10.0, 5: 40.0}[seed]
        (folder / "board.bin").write_bytes(bytes([seed]))
        return {"fmax": {"clk": {"achieved": mhz}}, "utilization": {cell: {"used": 1} for cell in toolchain.CELLS["ice40"].values()}}

    monkeypatch.setattr(toolchain, "place", placed)
    monkeypatch.setattr(toolchain, "pack", lambda *args: "board.bin")
    board = load_board("icebreaker")
    made = make(chip, board, "icebreaker", tmp_path, first=4, seeds=5)
    assert tried == [4, 5] and (made.seed, made.mhz) == (5, 40.0) and (tmp_path / "board.bin").read_bytes() == bytes([5])


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_command(tmp_path: Path, chip: Chip) -> None:
    folder, output = tmp_path / "build", tmp_path / "out"
    folder.mkdir()
    write_build(folder, chip, random_input(np.random.default_rng(0), chip.program, 2))
    code, text = run("synth", str(folder), "--board", "icebreaker", "--clock", "12", "-o", str(output))
    assert code == 0 and "clock" in text and "images/s" in text
    report = json.loads((output / "report.json").read_text())
    assert report["target_mhz"] == 12 and report["bitstream"] == "board.bin" and (output / "board.bin").exists()
    assert report["images_per_second"] == pytest.approx(12e6 / chip.plan.interval, abs=0.1)

    other = tmp_path / "other"
    for arguments, message in (
        (("--board", "ulx4s"), "unknown board 'ulx4s'; known are "),
        (("--board", "icebreaker", "--clock", "30.01"), "PLL of ice40 must give 30010000 Hz from 12000000 Hz"),
        (("--board", "icebreaker", "--clock", "0.5"), "core_hz: must be greater than or equal to 1000000, not 500000"),
    ):
        code, text = run("synth", str(folder), *arguments, "-o", str(other))
        assert code != 0 and message in text.replace("\n", " ") and not other.exists()
    (folder / "generator.v").write_text("// nothing\n")
    code, text = run("synth", str(folder), "--board", "icebreaker", "-o", str(other))
    assert (
        code != 0
        and "generator.v was edited since the build; build again" in text.replace("\n", " ")
        and not other.exists()
    )


@pytest.mark.full
def test_a_screen(tmp_path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--video`: three clocks, as nextpnr derives them, and a pad with two bits a clock on each line; and where one does not close."""
    folder, output, seen = tmp_path / "build", tmp_path / "out", []
    folder.mkdir()
    write_build(folder, chip, random_input(np.random.default_rng(0), chip.program, 2))
    monkeypatch.setattr(toolchain, "place", lambda *args, **kwargs: seen.append(place(*args, **kwargs)) or seen[-1])
    code, text = run("synth", str(folder), "--board", "ulx3s-25f", "--clock", "75", "--video", "-o", str(output))
    assert code == 0 and "runs with 75" in text, text
    report = json.loads((output / "report.json").read_text())
    clocks = {name.removeprefix("$glbnet$"): clock for name, clock in seen[-1]["fmax"].items()}
    assert [clocks[name]["constraint"] for name in SCREEN_CLOCKS] == pytest.approx([25, 125], rel=1e-3)
    (core,) = [clock for name, clock in clocks.items() if name not in SCREEN_CLOCKS]
    assert core["constraint"] == pytest.approx(75, rel=1e-3) and report["mhz"] == round(core["achieved"], 2)
    assert all(clock["achieved"] >= clock["constraint"] for clock in clocks.values())
    used = {name: cell["used"] for name, cell in seen[-1]["utilization"].items()}
    assert used["EHXPLLL"] == 2 and used["IOLOGIC"] + used["SIOLOGIC"] == 4
    assert len((output / "board.bit").read_bytes()) > 10_000

    late = json.loads(json.dumps(seen[-1]))
    late["fmax"] = {name: clock | ({"achieved": 99.5} if name.endswith("shift_clk") else {}) for name, clock in late["fmax"].items()}
    monkeypatch.setattr(toolchain, "place", lambda *args, **kwargs: late)
    with pytest.raises(UserError, match=r"^mine: a clock of the screen closes at 99\.5 MHz, not at 125; give more --seeds$"):
        make(chip, load_board("ulx3s-25f"), "mine", tmp_path, video=True, seeds=2)

    other = tmp_path / "other"
    for arguments, message in (
        (("--board", "ecpix5-85f"), "Board must have a table [video] for a screen"), (("--asic",), "--video must not be given with --asic"),
    ):  # fmt: skip
        code, text = run("synth", str(folder), *arguments, "--video", "-o", str(other))
        assert code != 0 and message in text.replace("\n", " ") and not other.exists()


RECORDED = json.loads((Path(__file__).parents[2] / "docs/results/boards.json").read_text())["rows"]


def told(row: dict) -> str:
    """A row in the words of docs/boards.md."""
    used = row["used"]
    return f"{used['luts']:,} {'LUTs' if row['board'].startswith('ulx3s') else 'logic cells'}, {used['multipliers']} multipliers, {used['block_rams']} block RAMs"


def test_what_is_recorded() -> None:
    """The rates follow from the clocks and the Plans of today, and the documentation says the same."""
    text = (Path(__file__).parents[2] / "docs/boards.md").read_text()
    for row in RECORDED.values():
        assert row["mhz"] >= row["target_mhz"] and all(row["used"][what] <= row["available"][what] for what in row["used"] if what in row["available"])
        assert row["images_per_second"] == pytest.approx(row["target_mhz"] * 1e6 / row["interval"], abs=0.1)
        assert told(row) in text and f"closes at {row['mhz']:.1f} MHz" in text
        assert f"{round(row['images_per_second'], -1):,.0f} images a second" in text and row["command"] in text


def test_the_shipped_generator_on_an_ulx3s_is_todays_plan() -> None:
    """At least 125 MHz and 14,000 images a second."""
    row = RECORDED["shipped generator, int8, 133 lanes"]
    assert row["interval"] == plan_program(organza.lower(CHECKPOINT, calibration_latents(64)), DEFAULT_LANES).interval <= 8928
    assert row["target_mhz"] == 125 and row["images_per_second"] > 14_000


def test_the_shipped_generator_on_an_icebreaker_is_todays_plan() -> None:
    """At least 30 MHz and 1,000 images a second, all weights on the chip."""
    row = RECORDED["shipped generator, ternary, 16×4 lanes shared, weights from the flash"]
    program = loadable(organza.lower(CHECKPOINT, calibration_latents(64), code="ternary"))
    plan = plan_program(program, 64, shares=parse_shares("16x4/2x2/short", program, 64))
    assert (row["interval"], row["cycles"]) == (plan.interval, plan.cycles)
    assert row["target_mhz"] == 30 and row["images_per_second"] > 1000 and row["used"]["large_rams"] == 4
