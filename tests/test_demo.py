"""`organza demo`, as `make demo` runs it: the shipped generator all the way to a simulated image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from organza.cli import app


@pytest.mark.rtl
@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "-o", str(out), "--images", "4"])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["bit_exact"] is True and report["images"] == 4
    assert report["cycles"] == report["cycles_model"]
    assert report["lanes"] == 133 and report["interval"] == 7840
    # From the last output of image 1 to that of image 4, in RTL.
    assert report["utilization"] > 0.94
    assert report["psnr_db"] >= 33
    assert report["verification"]["passed"] is True
    for name in (
        "generator.v",
        "layer0_weights.hex",
        "program.safetensors",
        "plan.json",
        "report.html",
        "tb.v",
    ):
        assert (out / name).stat().st_size > 0
    with Image.open(out / "images.png") as picture:
        assert picture.size == (190 + 4 * 66 + 2, 5 * 66 + 2)
    for words in (
        "yes, every value of every layer",
        "nominal 100 MHz",
        "PSNR",
        "94.9%",
        "report.html",
    ):
        assert words in result.stdout
