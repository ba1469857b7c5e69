"""The figures of a generator between two stages: how good its images are, how many bits and multiplications it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from organza.compress.chain import Chain, ChainLayer
from organza.compress.export import on_chip, to_program
from organza.compress.images import pictures, to_pictures
from organza.compress.recipe import Report
from organza.compress.stages.stage import Cost
from organza.compress.storage import Storage
from organza.metrics import Scorer, psnr
from organza.program import Program
from organza.program_file import program_hash
from organza.sampling import draw_latents

FLOAT_BITS = 32
# Latents of the calibration, of PSNR, and the first of the seeds that scores are means over.
_CALIBRATION, _PSNR, _SCORES = (256, 0), 1, 10
_BATCH = 250


@dataclass(frozen=True, kw_only=True, eq=False)
class Measuring:
    """What a run measures with. scorer : None where no network scores such images. cost : None without a cycle model."""

    teacher: Chain
    settings: Report
    scorer: Scorer | None
    cost: Callable[[Program], Cost] | None
    progress: Callable[[str, float], None] = lambda text, fraction: None

    def program(self, chain: Chain) -> Program | None:
        """The Program of `chain` as it is; None if a baseline has no lanes."""
        return to_program(chain, _latents(chain, *_CALIBRATION)) if on_chip(chain) else None

    def measure(self, chain: Chain, program: Program | None, *, quality: bool = True) -> dict[str, Any]:
        """JSON values. Images are those of `program` if there is one, else of `chain`; none are made without `quality`."""
        made: dict[str, Any] = {"images_of": "chain" if program is None else "program"}
        made |= {**self.bits(chain, program), **macs(chain, program)}
        if program is not None and self.cost is not None:
            self.progress("cycle model", 0.0)
            cost = self.cost(program)
            made |= {
                "cycles": cost.cycles, "interval": cost.interval, "lanes": cost.lanes, "macs_issued": cost.macs_issued,
                "utilization": program.macs / (cost.lanes * cost.interval),
            }  # fmt: skip
        if quality:
            made |= self.quality(chain, program)
        return made

    def quality(self, chain: Chain, program: Program | None) -> dict[str, Any]:
        """PSNR to the teacher, None if the images are equal; and the scores."""
        self.progress("PSNR to the teacher", 0.0)
        latents = draw_latents(self.settings.latents, prod(chain.input_shape), _PSNR).numpy()
        produce = producer(chain, program)
        wanted = produce_all(producer(self.teacher, None), latents)
        got = produce_all(produce, latents)
        value = psnr(wanted, got, 255)
        made: dict[str, Any] = {"psnr_db": value if np.isfinite(value) else None}
        if self.scorer is not None:
            made |= self.scores(produce, prod(chain.input_shape))
        return made

    def score(self, chain: Chain) -> float:
        """How bad the images of `chain` are, in floats: FID with one seed, or the mean square difference to the teacher's."""
        latent = prod(chain.input_shape)
        if self.scorer is not None:
            produce = producer(chain, None)
            return self.scorer.score_model(produce, latent=latent, count=self.settings.images, seed=_SCORES, batch=_BATCH).fid
        latents = draw_latents(self.settings.latents, latent, _PSNR).numpy()
        wanted, got = (produce_all(producer(one, None), latents).astype(np.float64) / 255 for one in (self.teacher, chain))
        return float(((wanted - got) ** 2).mean())

    def scores(self, produce: Callable[[np.ndarray], np.ndarray], latent: int) -> dict[str, Any]:
        """Mean, deviation and values of FID, KID and IS over the seeds."""
        assert self.scorer is not None
        found = []
        for number in range(self.settings.seeds):
            self.progress(f"FID, KID and IS, seed {number + 1} of {self.settings.seeds}", number / self.settings.seeds)
            found.append(
                self.scorer.score_model(
                    produce, latent=latent, count=self.settings.images, seed=_SCORES + number, batch=_BATCH
                )
            )
        return {
            f"{name}-{self.scorer.net}": summary([getattr(score, field) for score in found])
            for name, field in (("FID", "fid"), ("KID", "kid"), ("IS", "inception_score"))
        }

    def bits(self, chain: Chain, program: Program | None) -> dict[str, Any]:
        """Bits of the weights and of everything, and how many times smaller than the teacher in float32 that is.

        Layers that no stage has coded count 32 bits for every number that is kept, and a bitmap if some are pruned.
        """
        weights, constants = 0, 0
        nodes = {} if program is None else {node.name: node for node in program.nodes}
        for layer in chain.list:
            weights += weight_bits(layer)
            node = nodes.get(layer.name)
            constants += FLOAT_BITS * layer.co if node is None or _is_float(layer) else node.stored_bits - node.code.stored_bits
        teacher = [layer for layer in self.teacher.list if not layer.passthrough]
        numbers = sum(prod(layer.shape) for layer in teacher)
        whole = numbers + sum(layer.co for layer in teacher)
        return {
            "weight_bits": weights, "bits": weights + constants, "compression_ratio_weights": FLOAT_BITS * numbers / weights,
            "compression_ratio": FLOAT_BITS * whole / (weights + constants),
        }  # fmt: skip


def program_figures(program: Program, teacher: Chain) -> dict[str, Any]:
    """What a chip that is built from `program` holds."""
    layers = [layer for layer in teacher.list if not layer.passthrough]
    numbers = sum(prod(layer.shape) + layer.co for layer in layers)
    stored = sum(node.stored_bits for node in program.nodes)
    return {
        "hash": program_hash(program), "stored_bits": stored, "buffer_bits": sum(node.buffer_bits for node in program.nodes),
        "compression_ratio": FLOAT_BITS * numbers / stored,
    }  # fmt: skip


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, sample deviation (0 of one value) and the values."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "deviation": deviation, "values": values}


def _is_float(layer: ChainLayer) -> bool:
    return layer.coder is None and layer.storage == Storage()


def weight_bits(layer: ChainLayer) -> int:
    """Bits of the weights of one layer as they are, tables, indices and centroids included."""
    if layer.passthrough:
        return 0
    if _is_float(layer):
        number = prod(layer.shape)
        if layer.mask is None:
            return FLOAT_BITS * number
        return min(FLOAT_BITS * number, number + FLOAT_BITS * int(layer.mask.sum()))
    if layer.coder is not None and not layer.coder.chip:
        with torch.no_grad():
            return layer.coder.stored_bits(layer.masked_weight(), layer.mask)
    coded = layer.float_layer().coded
    assert coded is not None
    return layer.storage.bits(coded.code, layer.groups)


def macs(chain: Chain, program: Program | None) -> dict[str, int | None]:
    """MACs an image: at output positions (as papers count them), where weights meet real inputs, and of weights that are
    not skipped."""
    outside, effectual = 0, 0
    for layer in chain.list:
        if layer.passthrough:
            continue
        outside += prod(layer.shape) * layer.y.output * layer.x.output
        ci, cog, _, _ = layer.shape
        effectual += ci * cog * layer.y.tap_count * layer.x.tap_count
    passing = {layer.name for layer in chain.list if layer.passthrough}
    executed: int | None = sum(node.macs for node in program.nodes if node.name not in passing) if program else None
    if program is None and all(layer.mask is None for layer in chain.list):
        executed = effectual
    return {"macs_output_counted": outside, "macs_effectual": effectual, "macs_executed": executed}


def producer(chain: Chain, program: Program | None) -> Callable[[np.ndarray], np.ndarray]:
    """Latents float32 (n, latent) to pictures uint8 (n, C, H, W)."""
    chain.eval()

    def produce(latents: np.ndarray) -> np.ndarray:
        x = latents.reshape(len(latents), *chain.input_shape)
        if program is None:
            return pictures(chain, torch.from_numpy(x))
        return to_pictures(chain, program.dequantize(program.run(program.quantize(x))))

    return produce


def produce_all(produce: Callable[[np.ndarray], np.ndarray], latents: np.ndarray) -> np.ndarray:
    """Pictures of many latents, batch by batch."""
    return np.concatenate([produce(latents[start : start + _BATCH]) for start in range(0, len(latents), _BATCH)])


def _latents(chain: Chain, count: int, seed: int) -> torch.Tensor:
    return draw_latents(count, prod(chain.input_shape), seed).reshape(count, *chain.input_shape)
