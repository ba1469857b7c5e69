"""`organza train`: train a generator, or with --classifier the network that scores one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from organza.errors import UserError

CLASSIFIER_FILE = "classifier.safetensors"
# Options whose default depends on the run to resume: set there, they are compared, not replaced.
_STORED = ("width", "latent", "resolution", "channels", "loss", "epochs", "batch", "seed", "lr")


def train(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="'fashion-mnist', 'sample', an IDX file, a folder of MNIST IDX files, "
            "CIFAR-10 (binary), or a folder of pictures."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--output", "-o", "--out", help="Folder to write; absent or empty, or see --resume.")
    ],
    width: Annotated[int, typer.Option(help="Channels of the last hidden layer.")] = 16,
    latent: Annotated[int, typer.Option(help="Length of the latent vector.")] = 64,
    resolution: Annotated[int, typer.Option(help="Side of the images: 32 or 64.")] = 32,
    channels: Annotated[int, typer.Option(help="Colours of the images: 1 or 3.")] = 1,
    loss: Annotated[str, typer.Option(help="dcgan, wgan-gp or lsgan.")] = "dcgan",
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 18,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 128,
    seed: Annotated[int, typer.Option(help="Fixes every random draw.")] = 0,
    lr: Annotated[float, typer.Option(help="Adam's rate.")] = 2e-4,
    limit: Annotated[int | None, typer.Option(help="Use only the first images.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, its settings kept.")
    ] = False,
    classifier: Annotated[
        bool, typer.Option("--classifier", help="Train the scoring classifier instead.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a DCGAN generator on your images (or a classifier to score one).

    Ctrl-C saves and stops; --resume goes on to the same result as if it had not.

    Example: organza train fashion-mnist -o build/mine --epochs 18
    """
    options = {key: value for key, value in locals().items() if key in _STORED}
    given = {
        key: value
        for key, value in options.items()
        if (source := context.get_parameter_source(key)) is not None and source.name != "DEFAULT"
    }
    if classifier:
        report = _train_classifier(data, out, options, given, limit, resume, quiet=as_json)
    else:
        report = _train_generator(data, out, options, given, limit, resume, quiet=as_json)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    elif report["finished"]:
        print(f"wrote {report['checkpoint']} in {report['seconds']:.0f} s")
    else:
        print(f"stopped at step {report['step']} of {report['steps']}; --resume goes on from here")
    if not report["finished"]:
        raise typer.Exit(130)


def _train_generator(
    data: str,
    out: Path,
    options: dict,
    given: dict,
    limit: int | None,
    resume: bool,
    *,
    quiet: bool,
) -> dict[str, object]:
    # Imported here: loading torch takes seconds that `organza --help` need not wait for.
    from organza import training
    from organza.datasets import load_images

    if resume:
        config, _, _ = training.read_state(out)
        stored = {**config.to_dict(), **config.model.to_dict()}
        for key, value in given.items():
            if stored[key] != value:
                raise UserError(f"{out}: was started with --{key} {stored[key]}, got {value}")
    else:
        config = _config(options)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: output folder must be empty or absent (or use --resume)")
    images = load_images(
        data, channels=config.model.channels, resolution=config.model.resolution, limit=limit
    )
    bar = Progress(
        TextColumn("epoch {task.fields[epoch]}/" + str(config.epochs)),
        BarColumn(),
        TextColumn("D {task.fields[d]:.3f}  G {task.fields[g]}  {task.fields[rate]:.0f} img/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with bar:
        task = bar.add_task("train", total=None, epoch=0, d=0.0, g="-", rate=0.0)

        def show(p: training.Progress) -> None:
            bar.update(
                task,
                completed=p.step,
                total=p.steps,
                epoch=p.epoch,
                d=p.d_loss,
                g="-" if p.g_loss is None else f"{p.g_loss:.3f}",
                rate=p.images_per_second,
            )

        result = training.train(config, images, out=out, resume=resume, progress=show)
    return {
        "finished": result.finished,
        "checkpoint": str(result.generator),
        "step": result.step,
        "steps": result.steps,
        "images": len(images),
        "seconds": round(result.seconds, 1),
        "d_loss": result.d_loss,
        "g_loss": result.g_loss,
        "config": config.to_dict(),
    }


def _config(options: dict):  # noqa: ANN202 - its type needs torch, imported late
    from organza.models import GeneratorConfig
    from organza.training import TrainConfig

    shape = ("latent", "width", "resolution", "channels")
    try:
        model = GeneratorConfig(**{key: options[key] for key in shape})
        rest = {key: options[key] for key in ("epochs", "batch", "seed", "lr")}
        return TrainConfig.for_loss(model, options["loss"], **rest)
    except ValueError as error:
        raise UserError(str(error)) from error


def _train_classifier(
    data: str,
    out: Path,
    options: dict,
    given: dict,
    limit: int | None,
    resume: bool,
    *,
    quiet: bool,
) -> dict[str, object]:
    from organza.classifier import (
        ClassifierConfig,
        accuracy,
        save_classifier,
        train_classifier,
    )
    from organza.datasets import load_dataset

    if resume:
        raise UserError("--resume must not be given with --classifier: it trains in minutes")
    for key in ("width", "latent", "loss"):
        if key in given:
            raise UserError(f"--{key} must not be given with --classifier: it shapes a generator")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: output folder must be empty or absent")
    shape = {key: options[key] for key in ("resolution", "channels")}
    train_set = load_dataset(data, split="train", limit=limit, **shape)
    test_set = load_dataset(data, split="test", limit=limit, **shape)
    if train_set.labels is None or test_set.labels is None:
        raise UserError(f"{data}: must have labels to train a classifier, found none")
    stem = "fashion" if data in ("fashion-mnist", "sample") else Path(data).stem
    try:
        config = ClassifierConfig(name=f"{stem}-cnn", **shape)
    except ValueError as error:
        raise UserError(str(error)) from error
    settings = {
        "epochs": given.get("epochs", 6),
        "batch": options["batch"],
        "seed": options["seed"],
        "lr": given.get("lr", 2e-3),
    }
    console = Console(stderr=True, quiet=quiet)
    start = time.monotonic()
    model = train_classifier(
        train_set.images,
        train_set.labels,
        config=config,
        progress=lambda n, of, mean: console.print(f"epoch {n}/{of}  loss {mean:.4f}"),
        **settings,
    )
    seconds = time.monotonic() - start
    right = accuracy(model, test_set.images, test_set.labels)
    console.print(f"accuracy on the {len(test_set.images)} test images: {right:.4f}")
    path = out / CLASSIFIER_FILE
    save_classifier(path, model, {"training": settings, "accuracy": right})
    return {
        "finished": True,
        "checkpoint": str(path),
        "seconds": round(seconds, 1),
        "test_accuracy": right,
        "images": len(train_set.images),
        "settings": settings,
    }
