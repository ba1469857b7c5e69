"""Training: every loss runs, and a stopped run resumes to the very same weights."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from organza.checkpoint import load_checkpoint, load_discriminator, load_generator, save_checkpoint
from organza.errors import UserError
from organza.losses import discriminator_loss, generator_loss, gradient_penalty
from organza.models import GeneratorConfig
from organza.sampling import draw_latents
from organza.train_config import TrainConfig
from organza.train_log import Progress
from organza.train_run import Run
from organza.training import train

MODEL = GeneratorConfig(4, 1, 32, 1)
IMAGES = np.random.default_rng(3).integers(0, 256, (26, 1, 32, 32), dtype=np.uint8)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("organza.train_run._CALIBRATION_BATCHES", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(loss: str = "dcgan", **changes) -> TrainConfig:
    return TrainConfig.for_loss(MODEL, loss, epochs=2, batch=8, seed=1, **changes)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "state.safetensors")[0]


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("loss", "stop_at"), [("dcgan", 1), ("lsgan", 3), ("wgan-gp", 5)])
def test_resumed_equals_uninterrupted(tmp_path: Path, loss: str, stop_at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = train(config(loss), IMAGES, out=whole, log_every=1)
    assert result.finished and result.step == result.steps == 6
    stopped = train(config(loss), IMAGES, out=parts, stop_at=stop_at, log_every=1)
    assert not stopped.finished and stopped.step == stop_at
    load_generator(stopped.generator)
    assert train(config(loss), IMAGES, out=parts, resume=True, log_every=1).finished
    expected = tensors(whole)
    found = tensors(parts)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    a, b = (load_generator(folder / "generator.safetensors")[0] for folder in (whole, parts))
    z = draw_latents(2, 4, 0)
    assert torch.equal(a(z), b(z))
    lines = [log(folder) for folder in (whole, parts)]
    for line in lines[0] + lines[1]:
        del line["images_per_second"]
    assert lines[0] == lines[1] and [x["step"] for x in lines[0]] == [1, 2, 3, 4, 5, 6]


def test_what_a_run_writes(tmp_path: Path) -> None:
    reports: list[Progress] = []
    result = train(config(), IMAGES, out=tmp_path / "new" / "run", progress=reports.append)
    assert [r.step for r in reports] == [3, 6] and [r.epoch for r in reports] == [1, 2]
    assert all(r.images_per_second > 0 for r in reports)
    names = sorted(p.name for p in result.generator.parent.iterdir())
    assert names == ["discriminator.safetensors", "generator.safetensors", "log.jsonl", "samples.png", "state.safetensors"]
    kept, state = load_discriminator(result.generator.with_name("discriminator.safetensors"))[0], tensors(result.generator.parent)
    assert all(torch.equal(value, state[f"d.{key}"]) for key, value in kept.state_dict().items())
    model, metadata = load_generator(result.generator)
    assert model.config == MODEL and metadata["step"] == 6
    assert TrainConfig.from_dict(metadata["training"]) == config()
    with Image.open(result.generator.parent / "samples.png") as picture:
        assert picture.size == (684, 684)


def test_ctrl_c_saves_and_can_be_resumed(tmp_path: Path) -> None:
    def interrupt(report: Progress) -> None:
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    stopped = train(config(), IMAGES, out=tmp_path, progress=interrupt, log_every=1)
    assert not stopped.finished and stopped.step == 3
    assert signal.getsignal(signal.SIGINT) is before
    assert train(config(), IMAGES, out=tmp_path, resume=True).finished
    again = train(config(), IMAGES, out=tmp_path, resume=True)
    assert again.finished and again.d_loss is None


def test_training_moves_the_generator_towards_the_data() -> None:
    run = Run(TrainConfig.for_loss(GeneratorConfig(4, 4, 32, 1), "dcgan", lr=5e-3, ema=0.9))
    real = torch.full((8, 1, 32, 32), 0.8)
    for step in range(60):
        run.step(real, step, 60)
    assert float(run.averaged()(draw_latents(16, 4, 0)).detach().mean()) > 0.5


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_averaged_generator_has_its_own_batch_statistics(ema: float) -> None:
    run = Run(config(ema=ema))
    for step in range(3):
        run.step(torch.zeros(8, 1, 32, 32), step, 10)
    model = run.averaged()
    z = draw_latents(256, 4, 9)
    with torch.no_grad():
        evaluated = model(z)
        assert torch.allclose(evaluated, model.train()(z), atol=0.05)


def test_losses_by_hand() -> None:
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    assert discriminator_loss("wgan-gp", real, fake).item() == pytest.approx(-1.5)
    assert generator_loss("wgan-gp", fake).item() == pytest.approx(0.5)
    assert discriminator_loss("lsgan", real, fake).item() == pytest.approx(0.5 * (1 + 0.5))
    assert generator_loss("lsgan", fake).item() == pytest.approx(0.5 * 2.5)
    zero = torch.zeros(2)
    assert discriminator_loss("dcgan", zero, zero).item() == pytest.approx(2 * np.log(2))
    assert generator_loss("dcgan", fake).item() == pytest.approx(
        np.mean(np.log1p(np.exp([0.0, 1.0])))
    )
    images = torch.rand(2, 1, 4, 4)
    penalty = gradient_penalty(lambda x: 3 * x[:, 0, 0, 0], images, images, torch.rand(2, 1, 1, 1))
    assert penalty.item() == pytest.approx(4)
    for call in (lambda: discriminator_loss("x", real, fake), lambda: generator_loss("x", fake)):
        with pytest.raises(ValueError, match="loss must be one of dcgan, wgan-gp, lsgan, got 'x'"):
            call()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"loss": "x"}, UserError, "loss must be one of dcgan, wgan-gp, lsgan, got 'x'"),
        ({"epochs": 0}, UserError, r"epochs must be in \[1, 10000\], got 0"),
        ({"batch": 1}, UserError, r"batch must be in \[2, 4096\], got 1"),
        ({"batch": 8.0}, TypeError, "batch must be an int, got float"),
        ({"seed": -1}, UserError, "seed must be in .*, got -1"),
        ({"lr": 0.0}, UserError, r"lr must be in \(0, 1\), got 0.0"),
        ({"lr": float("nan")}, UserError, r"lr must be in \(0, 1\), got nan"),
        ({"ema": 1.0}, UserError, r"ema must be in \[0, 1\), got 1.0"),
        ({"model": 3}, TypeError, "model must be a GeneratorConfig, got int"),
    ],
)
def test_config_is_checked(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(config(), **changes)


def test_settings_that_are_no_config() -> None:
    with pytest.raises(ValueError, match="training config must have the fields of TrainConfig"):
        TrainConfig.from_dict({"loss": "dcgan"})


def test_images_are_checked(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="config must be a TrainConfig, got str"):
        train("dcgan", IMAGES, out=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="images must be a numpy array of uint8"):
        train(config(), IMAGES.astype(np.float32), out=tmp_path)
    with pytest.raises(UserError, match=r"images must have shape \(N, \(1, 32, 32\)\), got"):
        train(config(), IMAGES.repeat(3, axis=1), out=tmp_path)
    with pytest.raises(UserError, match=r"images must be at least one batch \(8\), got 7"):
        train(config(), IMAGES[:7], out=tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_folder_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold state\.safetensors to resume from, found none"):
        train(config(), IMAGES, out=tmp_path, resume=True)
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="output folder must be empty or absent"):
            train(config(), IMAGES, out=out)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="run: cannot be written: Not a directory"):
        train(config(), IMAGES, out=tmp_path / "file" / "run")


def test_a_run_resumes_only_with_its_own_state(tmp_path: Path) -> None:
    train(config(), IMAGES, out=tmp_path, stop_at=2)
    with pytest.raises(UserError, match=r"other settings: epochs 2 \(given 3\)"):
        train(replace(config(), epochs=3), IMAGES, out=tmp_path, resume=True)
    path = tmp_path / "state.safetensors"
    good, metadata = load_checkpoint(path)
    del metadata["format"]
    for key, value, message in (
        ("g.net.0.weight", None, r"cannot resume: .*'net\.0\.weight' is missing"),
        ("g_opt.0.exp_avg", None, r"'g_opt\.0\.exp_avg' must have shape .* found none"),
        ("d_opt.0.exp_avg", torch.zeros(3), r"'d_opt\.0\.exp_avg' .* found \(3,\)"),
        ("d_opt.99.exp_avg", torch.zeros(3), r"'d_opt\.99\.exp_avg' is no part of a run"),
        ("x.y", torch.zeros(3), "tensors of 'x' are no part of a run"),
    ):
        changed = {k: v for k, v in good.items() if k != key}
        save_checkpoint(path, changed if value is None else {**changed, key: value}, metadata)
        with pytest.raises(UserError, match=message):
            train(config(), IMAGES, out=tmp_path, resume=True)
    save_checkpoint(path, good, metadata)
    (tmp_path / "log.jsonl").write_text("rubbish\n")
    with pytest.raises(UserError, match=r"log\.jsonl: must hold one JSON object .* a line"):
        train(config(), IMAGES, out=tmp_path, resume=True)
    save_checkpoint(path, good, {**metadata, "kind": "generator"})
    with pytest.raises(UserError, match="cannot resume: .* must hold a training run, found 'gene"):
        train(config(), IMAGES, out=tmp_path, resume=True)


def test_divergence_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "step", lambda *_: (float("nan"), 0.0))
    with pytest.raises(UserError, match="training diverged: losses must be finite, got nan"):
        train(config(), IMAGES, out=tmp_path)
