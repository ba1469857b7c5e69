"""A build folder holds what it says, belongs together, and is complete or absent."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from organza.errors import UserError
from organza.output_folder import new_folder
from organza.plan import dump_plan, load_plan
from organza.program_file import save_program
from organza_hw.build import Chip
from organza_sim import api, testbench
from organza_sim.build_folder import load_build, write_build
from tests.tiny import LANES, tiny_inputs, tiny_program


@pytest.fixture(scope="module")
def chip() -> Chip:
    return api.build(tiny_program(), lanes=LANES)


@pytest.fixture
def folder(chip: Chip, tmp_path: Path) -> Path:
    write_build(tmp_path, chip, tiny_inputs(3))
    return tmp_path


def test_written_and_read_again(chip: Chip, folder: Path) -> None:
    build = load_build(folder)
    assert build.chip.source == chip.source
    assert build.chip.files == chip.files
    assert build.chip.plan == chip.plan
    assert build.chip.memory_bits == chip.memory_bits
    assert build.edited == () and build.wrong_words == ()
    readme = (folder / "README.txt").read_text()
    assert all(name in readme for name in chip.files)
    assert "iverilog -g2012 -o tb.vvp tb.v generator.v && vvp tb.vvp" in readme


@pytest.mark.rtl
def test_plain_testbench_passes(chip: Chip, folder: Path) -> None:
    result = testbench.simulate(testbench.Testbench(folder, ("generator.v",)), "verilator")
    assert "PASS" in result.message
    assert result.cycles == api.simulate(chip, tiny_inputs(3)).cycles


def test_edits_are_found(folder: Path) -> None:
    path = folder / "layer1_weights.hex"
    lines = path.read_text().splitlines()
    wrong = f"{int(lines[4], 16) ^ 1:0{len(lines[4])}x}"
    lines[4] = f"{wrong}  // edited by hand"
    path.write_text("// a comment is no word\n" + "\n".join(lines) + "\n")
    build = load_build(folder)
    (difference,) = build.wrong_words
    assert (difference.file, difference.line, difference.count) == ("layer1_weights.hex", 6, 1)
    assert int(difference.got, 16) ^ int(difference.expected, 16) == 1
    assert build.edited == ("layer1_weights.hex",)
    with (folder / "generator.v").open("a") as file:
        file.write("// harmless\n")
    assert load_build(folder).edited == ("generator.v", "layer1_weights.hex")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zz\n", r"layer0_weights.hex:1: must be a hexadecimal word of \d+ bits, not 'zz'"),
        ("f" * 80 + "\n", r"layer0_weights.hex:1: must be a hexadecimal word"),
        ("0\n", r"layer0_weights.hex: must hold \d+ words, not 1"),
    ],
)
def test_damaged_memory_images(folder: Path, text: str, message: str) -> None:
    (folder / "layer0_weights.hex").write_text(text)
    with pytest.raises(UserError, match=message):
        load_build(folder)


@pytest.mark.parametrize(
    "name",
    ["generator.v", "plan.json", "layer0_constants.hex", "files.json", "program.safetensors"],
)
def test_missing_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        load_build(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_build(tmp_path / "nowhere")


def test_parts_of_different_builds(folder: Path) -> None:
    plan = load_plan(folder / "plan.json")
    dump_plan(dataclasses.replace(plan, program="0" * 64), folder / "plan.json")
    with pytest.raises(
        UserError, match=r"plan.json: Plan belongs to Program 000000000000…, not to"
    ):
        load_build(folder)
    dump_plan(plan, folder / "plan.json")
    node = tiny_program().nodes[0]
    other = dataclasses.replace(
        node, epilogue=dataclasses.replace(node.epilogue, bias=node.epilogue.bias + 1)
    )
    save_program(
        dataclasses.replace(tiny_program(), nodes=(other, *tiny_program().nodes[1:])),
        folder / "program.safetensors",
    )
    with pytest.raises(UserError, match=r"plan.json: Plan belongs to Program"):
        load_build(folder)


def test_folder_appears_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    with new_folder(target) as folder:
        assert not target.exists()
        (folder / "report.json").write_text("{}")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with (
        pytest.raises(UserError, match=r"not empty; choose another one, or give --force"),
        new_folder(target),
    ):
        pytest.fail("must not start")
    with new_folder(target, replace=True) as folder:
        (folder / "report.json").write_text("new")
        assert (target / "report.json").read_text() == "{}"
    assert (target / "report.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "a" / "b") as folder:
        (folder / "half").write_text("")
        raise error
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.json").write_text("old")
    with pytest.raises(error), new_folder(tmp_path / "old", replace=True):
        raise error
    assert (tmp_path / "old" / "report.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target, message in (
        (tmp_path / "file", "exists and is no folder"),
        (tmp_path / "file" / "below", "cannot be"),
        (tmp_path / ("x" * 300), "cannot be"),
    ):
        with pytest.raises(UserError, match=message), new_folder(target):
            pytest.fail("must not start")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with (
        pytest.raises(UserError, match="no earlier result"),
        new_folder(tmp_path / "other", replace=True),
    ):
        pytest.fail("must not start")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    with new_folder(tmp_path) as folder:
        (folder / "x").write_text(str(os.getpid()))
    assert (tmp_path / "x").exists()


def test_inputs_are_checked() -> None:
    program = tiny_program()
    with pytest.raises(ValueError, match=r"Inputs must have shape \(N, 4, 1, 1\)"):
        api.to_integers(program, np.zeros((2, 5)))
    with pytest.raises(ValueError, match="between -128 and 127, not 0…128"):
        api.to_integers(program, np.array([[0, 1, 2, 128]]))
    with pytest.raises(ValueError, match="finite"):
        api.to_integers(program, np.full((1, 4), np.nan))
    assert (
        api.to_integers(program, np.array([[0.0, 1.0, -1.0, 99.0]])).ravel() == [0, 32, -32, 127]
    ).all()
    with pytest.raises(TypeError, match="must be a Program, not str"):
        api.build("program")  # type: ignore[arg-type]
