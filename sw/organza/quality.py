"""How much the integers cost: the shipped generator in float and as a Program. ``python -m organza.quality``.

Writes `docs/results/quality.json`: PSNR over 1,000 seeded latents (one MSE over all pixels, images in [0, 1], the float
model after BatchNorm folding), and FID, KID, IS by the shipped classifier over 10,000 images of the same latents for
three seeds. ``--codes`` writes `docs/results/codes.json` instead: PSNR and stored bits of every weight code, encoded after
training, on the same latents; ``--adders`` writes `docs/results/adders.json`, the same for a binary layer with approximate adders.
``--exponents`` writes `docs/results/exponents.json`: flexpoint with exponents that calibration got wrong, frozen and managed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from organza.classifier import load_classifier
from organza.datasets import load_images
from organza.exponents import ExponentRule
from organza.float_layers import float_run
from organza.lowering import fold_generator, layer_codes, lower
from organza.manage import with_rules
from organza.metrics import Scorer, psnr
from organza.program import Program
from organza.program_file import program_hash
from organza.quantize import quantize
from organza.sampling import draw_latents

COMMAND = "python -m organza.quality"
CHECKPOINT = Path(__file__).parent / "assets" / "dcgan32-w16.safetensors"
CALIBRATION = (256, 0)
PSNR_LATENTS = (1000, 1)
SEEDS = (10, 11, 12)
WRONG_BITS = (-6, -4, -2, 0, 2, 4, 6, 8)
SETTLING = 20
CODES = (
    "flexpoint", "flexpoint:managed", "linear:8", "affine:8", "codebook:16", "tanh:4", "linear:4", "affine:4", "power:4", "affine:2", "ternary", "binary",
    "layer0=ternary,layer1=codebook:16,layer2=power:4,layer3=affine:6",
)  # fmt: skip
ADDERS = ("layer1=binary", *(f"layer1=binary:{kind}{low}" for kind in ("loa", "notcarry") for low in range(2, 7)))
TABLES = {"codes": CODES, "adders": ADDERS}


def calibration_latents(latent: int) -> np.ndarray:
    """The seeded latents that the shipped generator is calibrated with, float64 (256, latent, 1, 1)."""
    count, seed = CALIBRATION
    return draw_latents(count, latent, seed).numpy().astype(np.float64)[:, :, None, None]


def images_of(program: Program, latents: np.ndarray) -> np.ndarray:
    """Images in [0, 1] of real latents (N, latent)."""
    outputs = program.run(program.quantize(latents.reshape(len(latents), *program.input_shape)))
    return (program.dequantize(outputs) + 1) / 2


def measure(data: str, count: int, seeds: tuple[int, ...]) -> dict:
    """All figures; `data` names the real images that FID and KID compare with."""
    calibration = calibration_latents(64)
    program = lower(CHECKPOINT, calibration)
    layers, _ = fold_generator(CHECKPOINT, calibration)

    def integer(latents: np.ndarray) -> np.ndarray:
        return images_of(program, latents).clip(0, 1)

    def floating(latents: np.ndarray) -> np.ndarray:
        values = latents.reshape(len(latents), *program.input_shape).astype(np.float64)
        return (np.asarray(float_run(layers, values)) + 1) / 2

    latents = draw_latents(PSNR_LATENTS[0], 64, PSNR_LATENTS[1]).numpy()
    started = time.perf_counter()
    made = integer(latents)
    rate = len(latents) / (time.perf_counter() - started)
    result = {
        "command": COMMAND,
        "program": program_hash(program),
        "psnr_db": round(psnr(floating(latents), made), 3),
        "psnr_latents": PSNR_LATENTS[0],
        "reference_images_per_second": round(rate),
        "images": count,
        "seeds": list(seeds),
    }
    scorer = Scorer(load_classifier(), load_images(data, split="test", resolution=32))
    for name, produce in (("float", floating), ("integer", integer)):
        scores = [scorer.score_model(produce, latent=64, count=count, seed=seed) for seed in seeds]
        result[name] = {
            key: {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)), "values": values}
            for key, values in (
                (f"FID-{scorer.net}", [score.fid for score in scores]),
                (f"KID-{scorer.net}", [score.kid for score in scores]),
                (f"IS-{scorer.net}", [score.inception_score for score in scores]),
            )
        }
    return result


def measure_codes(name: str) -> dict:
    """PSNR and stored bits of the shipped generator in every weight code of a table."""
    calibration = calibration_latents(64)
    layers, values = fold_generator(CHECKPOINT, calibration)
    latents = draw_latents(PSNR_LATENTS[0], 64, PSNR_LATENTS[1]).numpy()
    wanted = (float_run(layers, latents.astype(np.float64)).numpy() + 1) / 2
    rows = []
    for text in TABLES[name]:
        program = quantize(layers, values, codes=layer_codes(text, layers))
        rows.append({
            "code": text,
            "psnr_db": round(psnr(wanted, images_of(program, latents).clip(0, 1)), 2),
            "weight_bits": sum(node.code.stored_bits for node in program.nodes),
        })  # fmt: skip
    return {"command": f"{COMMAND} --{name}", "latents": PSNR_LATENTS[0], "codes": rows}


def measure_exponents(wrong: Sequence[int] = WRONG_BITS) -> dict:
    """PSNR of the shipped generator in flexpoint when the exponents between its layers are wrong by some bits at first.

    Frozen ones stay so; managed ones are picked by the rule. "settled" leaves out the first `SETTLING` images. Images with an
    overflow are those of any layer.
    """
    calibration = calibration_latents(64)
    layers, values = fold_generator(CHECKPOINT, calibration)
    latents = draw_latents(PSNR_LATENTS[0], 64, PSNR_LATENTS[1]).numpy()
    wanted = (float_run(layers, latents.astype(np.float64)).numpy() + 1) / 2
    right = quantize(layers, values, codes=layer_codes("flexpoint:managed", layers))
    rows = []
    for bits in wrong:
        def begin(rule: ExponentRule, bits: int = bits) -> ExponentRule:
            return replace(rule, initial=min(max(rule.initial + bits, rule.low), rule.high))

        def hold(rule: ExponentRule) -> ExponentRule:
            return replace(rule, low=rule.initial, high=rule.initial)

        managed = with_rules(right, begin)
        row: dict[str, float | int] = {"bits": bits}
        for name, program in (("frozen", with_rules(managed, hold)), ("managed", managed)):
            trace = program.trace(program.quantize(latents.reshape(len(latents), *program.input_shape)))
            made = ((program.dequantize(trace.layers[-1]) + 1) / 2).clip(0, 1)
            over = np.any([seen.overflow for seen in trace.exponents if seen is not None], 0)
            row |= {
                f"{name}_psnr_db": round(psnr(wanted, made), 2),
                f"{name}_settled_psnr_db": round(psnr(wanted[SETTLING:], made[SETTLING:]), 2),
                f"{name}_overflows": int(over.sum()),
            }
        rows.append(row)
    return {"command": f"{COMMAND} --exponents", "latents": PSNR_LATENTS[0], "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion-mnist", help="real images: a name or a path")
    parser.add_argument("--codes", dest="table", action="store_const", const="codes", help="every weight code instead")
    parser.add_argument("--adders", dest="table", action="store_const", const="adders", help="approximate adders instead")
    parser.add_argument(
        "--exponents", dest="table", action="store_const", const="exponents", help="wrong exponents instead, frozen and managed"
    )
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.table is None:
        result = measure(arguments.data, 10_000, SEEDS)
    else:
        result = measure_exponents() if arguments.table == "exponents" else measure_codes(arguments.table)
    output = arguments.output or Path("docs/results", f"{arguments.table or 'quality'}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
