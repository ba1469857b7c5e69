"""Running recipes: what comes out, going on after anything, and mistakes that are found before anything is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from organza.compress.chain_file import load_chain
from organza.compress.export import to_program
from organza.compress.run import run_recipe
from organza.compress.stages.finetune import FinetuneStage
from organza.compress.stages.stage import Cost
from organza.errors import UserError
from organza.program_file import load_program, program_hash
from organza.sampling import draw_latents
from tests.organza.compress.tiny_run import STAGES, TEACHER, loaded, write_files

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Files, and their run in `whole`."""
    folder = tmp_path_factory.mktemp("recipe")
    read, settings = loaded(write_files(folder))
    run_recipe(read, folder / "whole", settings)
    return folder


def again(folder: Path, out: Path, stages: str, **settings: object) -> dict:
    """Run the files of `folder` with other stages."""
    recipe = folder / "other.toml"
    recipe.write_text(TEACHER + stages)
    read, how = loaded(recipe, **settings)
    return run_recipe(read, out, how)


def copy(whole: Path, out: Path) -> Path:
    subprocess.run(["cp", "-a", whole / "whole", out], check=True)
    return out


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_the_folder_holds_every_stage_and_the_program(whole):
    out = whole / "whole"
    report = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in report["stages"]] == ["teacher", "quantize", "finetune", "encode"]
    program = load_program(out / "program.safetensors")
    assert report["program"]["hash"] == program_hash(program) and [n.code.kind for n in program.nodes] == ["huffman"] * 2
    chain, _ = load_chain(out / "3-encode" / "generator.safetensors")
    latents = draw_latents(256, 6, 0).reshape(256, 6, 1, 1)
    assert program_hash(to_program(chain, latents)) == program_hash(program)
    assert load_chain(out / "3-encode" / "critic.safetensors")[0].input_shape == (3, 8, 8)
    last = report["stages"][-1]
    assert last["bits"] == report["program"]["stored_bits"] == sum(node.stored_bits for node in program.nodes)
    assert last["compression_ratio"] == pytest.approx(report["program"]["compression_ratio"])
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "a recipe of the tests" in page and program_hash(program)[:16] in page
    assert {path.name for path in out.iterdir()} == {
        "0-start", "1-quantize", "2-finetune", "3-encode", "program.safetensors", "report.json", "report.html", ".lock",
    }  # fmt: skip


def test_the_same_recipe_gives_the_same_program(whole, tmp_path):
    report = again(whole, tmp_path / "again", STAGES)
    assert report["program"]["hash"] == json.loads((whole / "whole/report.json").read_text())["program"]["hash"]


def test_going_on_does_nothing_again_and_says_the_same(whole, tmp_path):
    out = copy(whole, tmp_path / "run")
    before, said = stamps(out), json.loads((out / "report.json").read_text())
    report = again(whole, out, STAGES, resume=True)
    del before["program.safetensors"]
    assert before.items() <= stamps(out).items() and report == said


def test_changed_stages_and_those_behind_them_are_done_again(whole, tmp_path):
    out = copy(whole, tmp_path / "run")
    before = stamps(out)
    report = again(whole, out, STAGES.replace("steps = 3", "steps = 2"), resume=True)
    after = stamps(out)
    kept = {name for name in before if after.get(name) == before[name]}
    assert {name.split("/")[0] for name in kept} == {"0-start", "1-quantize"}
    assert report["stages"][2]["notes"]["steps"] == 2
    shorter = again(whole, out, STAGES.partition("[[stage]]\nencode")[0].replace("steps = 3", "steps = 2"), resume=True)
    assert [row["name"] for row in shorter["stages"]] == ["teacher", "quantize", "finetune"]
    assert not (out / "3-encode").exists()


def test_quality_of_the_last_stage_alone(whole, tmp_path):
    """Intermediate stages keep what costs nothing; the last one says what it says in a full report."""
    out = tmp_path / "run"
    (whole / "last.toml").write_text(TEACHER + 'quality = "last"\n' + STAGES)
    read, settings = loaded(whole / "last.toml")
    rows = run_recipe(read, out, settings)["stages"]
    full = json.loads((whole / "whole/report.json").read_text())["stages"]
    assert ["psnr_db" in row for row in rows] == [False, False, False, True] and all("psnr_db" in row for row in full)
    assert [row["bits"] for row in rows] == [row["bits"] for row in full] and rows[-1]["psnr_db"] == full[-1]["psnr_db"]
    assert "a recipe of the tests" in (out / "report.html").read_text()


def test_other_weights_of_the_teacher_start_again(whole, tmp_path):
    files = tmp_path / "files"
    subprocess.run(["cp", "-a", whole, files], check=True)
    before = stamps(files / "whole")
    from safetensors.torch import load_file, save_file

    tensors = load_file(files / "w.safetensors")
    tensors["0.bias"][0] += 1
    save_file(tensors, files / "w.safetensors")
    again(files, files / "whole", STAGES, resume=True)
    assert not before.items() & stamps(files / "whole").items()


def test_an_interrupted_stage_is_all_that_is_lost(whole, tmp_path, monkeypatch):
    out, original = tmp_path / "run", FinetuneStage.apply

    def interrupted(self, state, context):
        if not context.rehearsal:
            state.generator.list[0].weight.data.zero_()
            raise KeyboardInterrupt
        return original(self, state, context)

    monkeypatch.setattr(FinetuneStage, "apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        again(whole, out, STAGES)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "0-start", "1-quantize"]
    monkeypatch.setattr(FinetuneStage, "apply", original)
    before = stamps(out)
    report = again(whole, out, STAGES, resume=True)
    assert before.items() <= stamps(out).items()
    assert report["program"]["hash"] == json.loads((whole / "whole/report.json").read_text())["program"]["hash"]


def test_numbers_that_are_none_stop_with_stage_and_step(whole, tmp_path, monkeypatch):
    out, original = tmp_path / "run", FinetuneStage.apply

    def spoiled(self, state, context):
        if not context.rehearsal:
            context.images[:] = 0

            def before_step(step, steps):
                if step == 1:
                    state.generator.list[0].weight.data.fill_(float("nan"))

            return context.finetune(state, self.config(), before_step)
        return original(self, state, context)

    monkeypatch.setattr(FinetuneStage, "apply", spoiled)
    wanted = "^stage 2: finetune: training diverged at step 2: a loss was nan; .* the networks before it are kept in .*/1-quantize$"
    with pytest.raises(UserError, match=wanted):
        again(whole, out, STAGES)
    assert torch.isfinite(load_chain(out / "1-quantize" / "generator.safetensors")[0].list[0].weight).all()


def test_weights_that_are_no_numbers_are_not_kept(whole, tmp_path, monkeypatch):
    original = FinetuneStage.apply

    def spoiled(self, state, context):
        if not context.rehearsal:
            state.generator.list[1].weight.data.fill_(float("inf"))
            return {}
        return original(self, state, context)

    monkeypatch.setattr(FinetuneStage, "apply", spoiled)
    with pytest.raises(UserError, match="^stage 2: finetune: .*generator.safetensors: tensor '.*' must be finite"):
        again(whole, tmp_path / "run", STAGES)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "0-start", "1-quantize"]


@pytest.mark.parametrize("stages, message", [
    ("[[stage]]\nquantize = { when = 'after', layers = ['layer7'] }", "stage 1: quantize: unknown layer 'layer7'"),
    (STAGES.replace("huffman", "relative").replace('"uniform", bits = 4', '"em"'), "stage 3: encode: .*relative must be around one of"),
    (STAGES.replace("batch = 8", "batch = 80"), "stage 2: finetune: images must be at least one batch .80., not 24"),
    (STAGES + "[[stage]]\nquantize = { when = 'after', layers = ['layer0'] }", "are in the wrong order|exclude each other"),
])  # fmt: skip
def test_stages_that_cannot_work_are_found_before_anything_is_written(whole, tmp_path, stages, message):
    out = tmp_path / "deep" / "run"
    with pytest.raises(UserError, match=message):
        again(whole, out, stages)
    assert not out.parent.exists()


def test_folders_are_not_shared_nor_taken(whole, tmp_path):
    other = tmp_path / "mine"
    (other / "1-holiday").mkdir(parents=True)
    for resume in (False, True):
        with pytest.raises(UserError, match="mine: output folder must be empty or absent, or hold an earlier run"):
            again(whole, other, STAGES, resume=resume)
    assert (other / "1-holiday").is_dir()
    with pytest.raises(UserError, match="whole: output folder holds a run; give --resume to go on with it"):
        again(whole, whole / "whole", STAGES)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError, match="file: exists and is no folder"):
        again(whole, file, STAGES)
    out = copy(whole, tmp_path / "run")
    (out / "4-notes").mkdir()  # of the user's own
    import fcntl

    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="run: another run is at work there"):
            again(whole, out, STAGES, resume=True)
    again(whole, out, STAGES.replace("steps = 3", "steps = 1"), resume=True)
    assert (out / "4-notes").is_dir()


def test_damaged_stages_are_named(whole, tmp_path):
    out = copy(whole, tmp_path / "run")
    (out / "2-finetune" / "generator.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="2-finetune/generator.safetensors: must be .*; remove the folder .*2-finetune to do that stage again"):
        again(whole, out, STAGES, resume=True)
    (out / "1-quantize" / "stage.json").write_text("{")
    report = again(whole, out, STAGES, resume=True)
    assert report["program"]["hash"] == json.loads((whole / "whole/report.json").read_text())["program"]["hash"]


def test_what_a_killed_run_was_writing_goes_away(whole, tmp_path):
    out = copy(whole, tmp_path / "run")
    (out / ".2-finetune.1.tmp").mkdir()
    for left in (".2-finetune.1.tmp/generator.safetensors", "2-finetune/.images.png.1.tmp", ".report.json.1.tmp"):
        (out / left).write_text("half of it")
    again(whole, out, STAGES, resume=True)
    assert not list(out.rglob(".*.tmp"))


def test_the_cycle_model_is_what_the_caller_hands_in(whole, tmp_path):
    seen = []

    def cost(program):
        seen.append(program_hash(program))
        return Cost(cycles=100, interval=50, lanes=3, macs_issued=200)

    report = again(whole, tmp_path / "run", "[[stage]]\nquantize = { when = 'after', bits = 3 }", cost=cost)
    row = report["stages"][1]
    assert (row["cycles"], row["interval"], row["lanes"], row["macs_issued"]) == (100, 50, 3, 200)
    assert row["utilization"] == row["macs_executed"] / 150 and seen == [report["program"]["hash"]]
    assert "cycles" not in report["stages"][0]


def test_baselines_end_without_a_program(whole, tmp_path):
    out = tmp_path / "run"
    report = again(whole, out, "[[stage]]\nquantize = { code = 'float16', when = 'after' }")
    assert report["program"] is None and not (out / "program.safetensors").exists()
    row = report["stages"][1]
    assert row["images_of"] == "chain" and row["psnr_db"] > 50 and row["compression_ratio_weights"] == 2


@pytest.mark.parametrize("parts", [
    ["kill:17:60", "full:31:60", "short:1500:9000"],
    pytest.param(["kill:1:1", "full:1:1", "short:100:700"], marks=pytest.mark.full),
])  # fmt: skip
def test_runs_that_break_off_anywhere_go_on_to_the_same_program(whole, parts):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "tests.organza.compress.broken_runs", str(whole), *parts]
    made = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert made.returncode == 0, made.stderr
    lines = [json.loads(line) for line in made.stdout.splitlines()]
    broken = [line for line in lines if line["status"]]
    assert len(lines) - len(broken) == len(parts)  # every kind of break was tried until a run came to its end
    assert {line["mode"] for line in broken} == {"kill", "full", "short"}
    for line in broken:
        assert line["same"] and not line["hidden"], line
        if line["mode"] == "kill":
            assert line["status"] == -9
        else:
            assert line["status"] == 3 and "cannot be written (" in line["error"] and line["error"].endswith("give --resume"), line


def test_latents_are_those_of_the_seed(whole):
    report = json.loads((whole / "whole/report.json").read_text())
    assert report["seed"] == 0 and report["images"] == 24 and np.isfinite(report["stages"][1]["psnr_db"])
