"""`organza compress` as a user meets it, and one clear line for everything that can be wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from organza.cli import app
from organza.compress import run_folder
from organza.compress.stages.finetune import FinetuneStage
from organza.program_file import load_program, program_hash
from tests.organza.compress.tiny_run import STAGES, TEACHER, write_files


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tiny recipe, in which the command is given."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compress", *(str(argument) for argument in arguments)])


def refused(message: str, *arguments: str | Path, status: int = 1) -> None:
    """The command says one line that matches and nothing on standard output."""
    result = run(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith("organza: ")]
    assert result.exit_code == status, result.output
    assert len(lines) == 1 and re.search(message, lines[0]), result.stderr
    assert result.stdout == "" and "Traceback" not in result.output


def test_from_recipe_to_accelerator(here: Path) -> None:
    result = run("recipe.toml", "-o", "out", "--lanes", "20", "--steps", "1", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads(Path("out/report.json").read_text())
    last = report["stages"][-1]
    assert last["cycles"] >= last["interval"] > 0 and last["lanes"] <= 20 and last["macs_issued"] >= last["macs_executed"]
    assert report["stages"][2]["notes"]["steps"] == 1
    program = load_program("out/program.safetensors")
    assert program_hash(program) == report["program"]["hash"]
    built = CliRunner().invoke(app, ["build", "out/program.safetensors", "-o", "chip", "--lanes", "20", "--json"])
    assert built.exit_code == 0, built.output
    made = json.loads(built.stdout)
    assert made["interval"] == last["interval"] and made["stored_bits"] == last["bits"]
    again = run("recipe.toml", "-o", "out", "--lanes", "20", "--steps", "1", "--resume")
    assert again.exit_code == 0 and "wrote out/report.html and the Program" in again.stdout and "finetune" in again.stdout


def test_teacher_and_data_of_the_command_line(here: Path) -> None:
    files = here / "elsewhere"
    files.mkdir()
    for name in ("model.py", "w.safetensors"):
        (here / name).rename(files / name)
    (here / "recipe.toml").write_text('[teacher]\nloss = "lsgan"\n[report]\nimages = 4\nlatents = 4\n' + STAGES)
    own = ("--teacher", "elsewhere/model.py:make_generator", "--weights", "elsewhere/w.safetensors", "--input-shape", "6,1,1")
    own = (*own, "--data", "pictures", "--steps", "1", "--seed", "5", "--json")
    refused("stage 2: finetune: loss adversarial needs a discriminator", "recipe.toml", "-o", "out", *own)
    refused("weights goes with --teacher", "recipe.toml", "-o", "out", "--weights", "x.safetensors")
    judge = ("--discriminator", "elsewhere/model.py:make_discriminator", "--discriminator-weights", "d.safetensors")
    result = run("recipe.toml", "-o", "out", *own, *judge)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["seed"] == 5 and report["data"] == "pictures" and report["images"] == 24
    assert Path("out/0-start/judge.safetensors").exists()


def test_a_student_of_the_command_line(here: Path) -> None:
    (here / "recipe.toml").write_text("[report]\nimages = 4\nlatents = 4\nseeds = 1\n[[stage]]\nquantize = { when = 'after' }")
    teacher = ("--teacher", "dcgan32-w16", "--discriminator", "none", "--data", "sample", "--json")
    report = json.loads(run("recipe.toml", "-o", "wide", *teacher, "--student", "2").stdout)
    assert report["stages"][1]["compression_ratio_weights"] > 4 * 8  # an eighth as wide
    report = json.loads(run("recipe.toml", "-o", "same", *teacher, "--student", "dcgan32-w16").stdout)
    assert report["stages"][1]["compression_ratio_weights"] == 4
    refused("student.checkpoint: .*gone.safetensors: no such file", "recipe.toml", "-o", "out", *teacher, "--student", "gone.safetensors")


HUGE = "[[stage]]\nfinetune = { steps = 2, batch = 8, losses = { pixel = 1e39 } }"


@pytest.mark.parametrize("teacher, stages, message", [
    (TEACHER, STAGES.replace("bits", "bit"), "recipe.toml: stage 1: quantize: bit: code uniform has no such option; it has bits"),
    (TEACHER, STAGES.replace("finetune", "finetuning"), "recipe.toml: stage 2: must be one of .*finetune, .*not 'finetuning'"),
    (TEACHER, STAGES.replace('"uniform"', '"octal"'), "recipe.toml: stage 1: quantize: code must be one of uniform, .*, not 'octal'"),
    (TEACHER + "speed = 3\n", STAGES, "recipe.toml: report: unknown key 'speed'; known are images, seeds, latents, lanes"),
    (TEACHER, STAGES + "[[stage]]\nfinetune = { steps = 1 }", "recipe.toml: stage 3 .encode. and stage 4 .finetune. are in the wrong order"),
    (TEACHER, STAGES.replace("4 }", '4 }\n[[stage]]\nquantize = { code = "binary" }'),
     "recipe.toml: stage 1 .quantize. and stage 2 .quantize. exclude each other: a layer has one weight code"),
    (TEACHER.replace('"w.safetensors"', '"d.safetensors"'), STAGES, "teacher.checkpoint: .*d.safetensors: tensor '.*' is missing"),
    (TEACHER.replace("make_discriminator", "make_grey").replace('discriminator_weights = "d.safetensors"\n', ""), STAGES,
     "teacher.discriminator: "),
    (TEACHER + '[student]\ncheckpoint = "model.py:make_other"\ninput_shape = [6, 1, 1]\n', STAGES,
     r"student: image must have shape \(3, 8, 8\) as the teacher's"),
    (TEACHER.replace('"pictures"', '"grey"'), STAGES, "grey: images must have 3 channels as the teacher's, not 1; convert them"),
    (TEACHER.replace('"pictures"', '"gone"'), STAGES, "gone: must be a file or folder"),
    (TEACHER, STAGES.replace("batch = 8", "batch = 99"), "stage 2: finetune: images must be at least one batch .99., not 24"),
])  # fmt: skip
def test_mistakes_are_one_line_and_nothing_is_written(here: Path, teacher: str, stages: str, message: str) -> None:
    (here / "grey").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(here / "grey" / "a.png")
    (here / "recipe.toml").write_text(teacher + stages)
    refused(message, "recipe.toml", "-o", "out", "--json")
    assert not Path("out").exists()


def test_no_recipe(here: Path) -> None:
    refused("gone.toml: cannot be read .No such file", "gone.toml", "-o", "out")


def test_numbers_that_are_none_say_when_and_what_is_kept(here: Path) -> None:
    (here / "recipe.toml").write_text(TEACHER + "[[stage]]\nquantize = { code = 'uniform', when = 'during' }\n" + HUGE)
    message = "stage 2: finetune: training diverged at step 1: a loss was inf; use a smaller rate .*; the networks before it are kept in out/1-quantize"
    refused(message, "recipe.toml", "-o", "out", "--json")
    assert Path("out/1-quantize/generator.safetensors").exists() and not Path("out/2-finetune").exists()


def test_a_full_disk_keeps_what_is_complete(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, count = run_folder.save_chain, 0

    def full(path: Path, *rest: object) -> None:
        nonlocal count
        count += 1
        if count > 6:  # teacher, judge and twice two networks fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, *rest)

    monkeypatch.setattr(run_folder, "save_chain", full)
    refused("stage 2: finetune: out: cannot be written .No space left on device.; .* give --resume", "recipe.toml", "-o", "out", "--json")
    assert sorted(path.name for path in Path("out").iterdir()) == [".lock", "0-start", "1-quantize"]
    monkeypatch.setattr(run_folder, "save_chain", original)
    assert run("recipe.toml", "-o", "out", "--resume", "--json").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_complete(here: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    original = FinetuneStage.apply

    def signalled(self, state, context):
        if not context.rehearsal:
            os.kill(os.getpid(), number)
        return original(self, state, context)

    monkeypatch.setattr(FinetuneStage, "apply", signalled)
    message = "interrupted; complete stages are kept in out, --resume goes on from there"
    refused(message, "recipe.toml", "-o", "out", "--json", status=130)
    assert sorted(path.name for path in Path("out").iterdir()) == [".lock", "0-start", "1-quantize"]


def test_an_interruption_before_the_first_stage_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self, state, context):
        raise KeyboardInterrupt

    monkeypatch.setattr(FinetuneStage, "apply", interrupted)  # in the rehearsal
    refused("interrupted", "recipe.toml", "-o", "out", "--json", status=130)
    assert not Path("out").exists()
