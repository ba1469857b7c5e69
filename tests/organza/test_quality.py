"""The recorded quality of the shipped generator: recomputed where that is fast, and within its limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.float_layers import float_run
from organza.lowering import fold_generator, lower
from organza.metrics import psnr
from organza.quality import (
    ADDERS,
    CHECKPOINT,
    PSNR_LATENTS,
    SEEDS,
    calibration_latents,
    images_of,
    measure_codes,
    measure_exponents,
)
from organza.sampling import draw_latents

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def recorded():
    return json.loads((RESULTS / "quality.json").read_text())


def test_psnr_is_what_the_record_says(recorded):
    """1,000 seeded latents, one mean square error over all pixels, the float model after folding."""
    calibration = calibration_latents(64)
    program = lower(CHECKPOINT, calibration)
    layers, _ = fold_generator(CHECKPOINT, calibration)
    count, seed = PSNR_LATENTS
    latents = draw_latents(count, 64, seed).numpy()
    wanted = (float_run(layers, latents.astype(np.float64)).numpy() + 1) / 2
    made = psnr(wanted, images_of(program, latents).clip(0, 1))
    assert made == pytest.approx(recorded["psnr_db"], abs=0.05)
    assert made >= 33


def test_integers_are_as_good_as_floats(recorded):
    """FID of the integer model within 5 % of the float model's, or two deviations of the seeds."""
    assert (recorded["images"], recorded["seeds"]) == (10_000, list(SEEDS))
    real, integer = (recorded[name]["FID-fashion-cnn"] for name in ("float", "integer"))
    assert len(real["values"]) == len(integer["values"]) == 3
    spread = 2 * max(real["deviation"], integer["deviation"])
    assert abs(integer["mean"] - real["mean"]) <= max(0.05 * real["mean"], spread)


def test_the_reference_is_fast_enough_for_metrics(recorded):
    assert recorded["reference_images_per_second"] >= 300


def test_approximate_adders():
    record = json.loads((RESULTS / "adders.json").read_text())
    assert [row["code"] for row in record["codes"]] == list(ADDERS)
    exact, *rest = (row["psnr_db"] for row in record["codes"])
    for kind in (rest[:5], rest[5:]):
        assert exact + 0.1 > kind[0] and kind[2:] == sorted(kind[2:], reverse=True)  # more wrong bits, worse pictures
        assert kind[4] < exact - 0.5


@pytest.mark.full
def test_approximate_adders_again(monkeypatch):
    record = json.loads((RESULTS / "adders.json").read_text())
    monkeypatch.setattr("organza.quality.TABLES", {"adders": ADDERS[::5]})
    again = measure_codes("adders")["codes"]
    for row, old in zip(again, record["codes"][::5], strict=True):
        assert row["psnr_db"] == pytest.approx(old["psnr_db"], abs=0.05)


def test_managed_exponents_do_not_depend_on_calibration():
    """However wrong the first exponents are, after some images they are as good as those of calibration."""
    recorded = json.loads((RESULTS / "exponents.json").read_text())
    rows = {row["bits"]: row for row in recorded["rows"]}
    (again,) = measure_exponents([-6])["rows"]
    assert again == pytest.approx(rows[-6], abs=0.05)
    right = rows[0]["frozen_psnr_db"]
    assert all(row["managed_settled_psnr_db"] >= right - 0.1 for row in rows.values())
    # Half a percent of the images, from the start to the end.
    assert all(row["managed_overflows"] <= 6 for row in rows.values())
    assert rows[-6]["frozen_overflows"] == 1000 and rows[-6]["frozen_psnr_db"] < 10
    assert rows[8]["frozen_psnr_db"] < right - 25
