"""Reports: stable keys, right sums, and a page that stands alone and shows no error in a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from organza.brightness import unit_range
from organza.commands.verify import print_verdict
from organza.program import Program
from organza_sim import api
from organza_sim.cycles import simulate_cycles
from organza_sim.drawing import pipeline_svg, timeline_svg
from organza_sim.html_report import render_report
from organza_sim.pictures import comparison, labelled
from organza_sim.planner import plan_program
from organza_sim.report import (
    compression_ratio,
    layer_rows,
    make_report,
    psnr_db,
    write_report,
)
from organza_sim.verify import Difference, ExponentDifference, ExponentVerdict, ImageVerdict, LayerVerdict, Verification
from tests.tiny import LANES, tiny_inputs, tiny_program

KEYS = [
    "bit_exact",
    "images",
    "cycles",
    "cycles_model",
    "latency",
    "interval",
    "macs_effectual",
    "macs_issued",
    "lanes",
    "utilization",
    "compression_ratio",
    "stored_bits",
    "psnr_db",
    "board",
    "plan",
]
VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = '<script>alert("&1")</script>'


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.seen: list[str] = []
        self.urls: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        assert self.tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        values = dict(attrs)
        self.urls += [
            value
            for name in ("src", "href", "xlink:href", "action")
            if (value := values.get(name)) is not None
        ]
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag


def named(name: str) -> Program:
    first, second = tiny_program().nodes
    return Program((dataclasses.replace(first, name=name), second))


def verified(program: Program, simulation: api.Simulation | None, *, right: bool) -> Verification:
    difference = None if right else Difference(program.nodes[0].name, 1, 2, 0, 1, 5, 4)
    exponent = ExponentDifference(program.nodes[0].name, 1, "peak", 7, None)
    ends = [100, 200, 300] if simulation is None else [int(end) for end in simulation.image_ends]
    return Verification(
        images=tuple(ImageVerdict(k, right or k != 1, end, end) for k, end in enumerate(ends)),
        layers=tuple(
            LayerVerdict(node.name, node.code.label, 81, int(not right), difference) for node in program.nodes
        ),
        stopped=None,
        exponents=(ExponentVerdict(program.nodes[0].name, len(ends), -31, -29, 2, 5 * int(not right), None if right else exponent),),
        simulation=simulation,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it, of a model and a layer whose names want to be HTML."""
    program = named(EVIL)
    plan = plan_program(program, LANES)
    x = tiny_inputs(3)
    outputs = program.run(x)
    timing = simulate_cycles(program, plan, 3)
    ends = np.array(timing.sent) - timing.first
    simulation = api.Simulation(outputs, ends, program.macs, plan.lanes, 1e6)
    verification = verified(program, simulation, right=True)
    real = program.dequantize(outputs) + 0.01
    rows = comparison(program, real=real, reference=outputs, rtl=outputs)
    report = make_report(
        program, plan, model=EVIL, verification=verification, psnr=psnr_db(program, real, outputs)
    )
    folder = tmp_path_factory.mktemp("report")
    write_report(
        folder, report, render_report(program, plan, report, rows=rows, verification=verification)
    )
    return folder


def test_json_has_the_stable_keys_and_right_numbers(page: Path) -> None:
    report = json.loads((page / "report.json").read_text())
    assert [key for key in report if key in KEYS] == KEYS
    program = named(EVIL)
    plan = plan_program(program, LANES)
    rows = report["layers"]
    assert report["macs_effectual"] == sum(row["macs_effectual"] for row in rows) == program.macs
    assert report["macs_issued"] == sum(s.issues * s.lanes for s in plan.schedules(program))
    assert report["macs_effectual"] <= report["macs_issued"]
    assert report["lanes"] == sum(row["lanes"] for row in rows) == plan.lanes <= LANES
    assert report["cycles"] == report["cycles_model"] and report["images"] == 3
    assert report["utilization"] == pytest.approx(program.macs / (plan.lanes * plan.interval))
    assert report["nominal_images_per_second"] == pytest.approx(100e6 / report["interval"])
    assert report["bit_exact"] is True and report["board"] is None
    parts = ("operations", "weights", "activations", "sums")
    assert report["energy_uj"] == pytest.approx(sum(row[f"energy_{part}_uj"] for row in rows for part in parts))
    assert report["energy_fpga_uj"] == pytest.approx(14e-6 * program.macs)
    # An error of 0.01 in [-1, 1] is 0.005 in [0, 1], except where the picture saturates.
    assert report["psnr_db"] == pytest.approx(-20 * math.log10(0.005), abs=1)


def test_ratio_and_rows_by_hand() -> None:
    program = tiny_program()
    stored = sum(node.stored_bits for node in program.nodes)
    assert compression_ratio(program) == pytest.approx(32 * (4 * 3 * 9 + 3 + 3 * 16 + 1) / stored)
    first, second = layer_rows(program)
    assert (first["activation"], second["activation"]) == ("relu", "table")
    assert first["macs_effectual"] == 4 * 3 * 9 and "lanes" not in first
    # Taps that exist along an axis of 6 outputs from 3 inputs, k4 s2 p1: 1 + 2·4 + 1.
    assert second["macs_effectual"] == 3 * 10 * 10


def test_brightness() -> None:
    program = tiny_program()
    assert list(unit_range(program, np.array([-1.0, 0.0, 1.0, 2.0]))) == [0, 0.5, 1, 1]
    hidden = Program(program.nodes[:1])
    assert list(unit_range(hidden, np.array([0.0, 255 / 32]))) == [0, 1]
    same = np.zeros((1, 1, 6, 6), np.int64)
    assert psnr_db(program, program.dequantize(same), same) is None


def test_pictures_show_differences() -> None:
    program = tiny_program()
    reference = program.run(tiny_inputs(2))
    wrong = reference.copy()
    wrong[1, 0, 2, 3] += 1 if wrong[1, 0, 2, 3] < 127 else -1
    rows = comparison(program, real=program.dequantize(reference), reference=reference, rtl=wrong)
    assert [row.title for row in rows] == [
        "float",
        "integer",
        "RTL",
        "float − integer ×16",
        "integer − RTL",
    ]
    assert np.argwhere(rows[-1].pixels != 128).tolist() == [[1, 2, 3, 0]]
    assert rows[-1].about == "1 values differ"
    assert (rows[3].pixels == 128).all()
    assert (rows[0].pixels == rows[1].pixels).all()
    picture = labelled(rows)
    assert picture.size == (190 + 2 * 62 + 2, 5 * 62 + 2)


def test_page_stands_alone(page: Path) -> None:
    text = (page / "report.html").read_text()
    parsed = Page(text)
    assert all(url.startswith("data:") for url in parsed.urls)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)
    assert "script" not in parsed.seen and EVIL not in text and "&lt;script&gt;" in text
    assert len(parsed.images) == 5 * 3
    for image in parsed.images:
        src, alt = image["src"], image["alt"]
        assert src and alt
        decoded = Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2])))
        decoded.load()
        assert decoded.size == (6, 6)
    assert "prefers-color-scheme: dark" in text
    assert "bit-exact and cycle-exact" in text


def test_page_of_a_failed_verification_says_where() -> None:
    program = named("net.0")
    plan = plan_program(program, LANES)
    verification = dataclasses.replace(
        verified(program, None, right=False), stopped=f"stuck: {EVIL}"
    )
    report = make_report(program, plan, model="m", verification=verification)
    text = render_report(program, plan, report, verification=verification)
    assert Page(text)
    assert "✗ not bit-exact" in text and "What is wrong" in text
    assert "layer net.0, image 1, channel 2, y 0, x 1: expected 5, got 4" in text
    assert "First wrong value: layer net.0, image 1, peak of its exponents: expected 7, got nothing." in text
    assert EVIL not in text
    assert report["bit_exact"] is False and report["cycles"] is None


def test_exponents_are_shown(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the page and on the terminal: range, overflows, and what is wrong."""
    assert "<td>-31</td><td>-29</td><td>2</td>" in (page / "report.html").read_text()
    print_verdict(verified(tiny_program(), None, right=False))
    shown = capsys.readouterr().out
    assert re.search(r"net\.0 +-31 +-29 +2 +5 +image 1, peak of its exponents: expected 7, got nothing", shown)
    assert "first difference: layer net.0, image 1, peak" in shown


def test_drawings_are_xml_and_show_every_engine() -> None:
    program = named(EVIL)
    plan = plan_program(program, LANES)
    timing = simulate_cycles(program, plan, 4)
    for text in (
        pipeline_svg(program, plan, standalone=True),
        timeline_svg(plan, timing, standalone=True),
    ):
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img" and root.get("aria-label")
        words = "".join(root.itertext())
        assert EVIL[:10] in words and "net.3" in words
    timeline = ElementTree.fromstring(timeline_svg(plan, timing, images=2))
    bars = [r for r in timeline.iter("{http://www.w3.org/2000/svg}rect") if r.get("height") == "20"]
    assert {bar.get("class") for bar in bars} == {"c0", "c1"}
    span = timing.sent[1] - timing.first
    drawn = sum(float(bar.get("width", 0)) for bar in bars) / (1040 - 150 - 30) * span
    busy = 2 * sum(schedule.cycles for schedule in plan.schedules(program))
    assert drawn == pytest.approx(busy, rel=0.02)


if shutil.which("chromium"):  # no dependency; where a machine has it, the page is looked at too

    def test_page_in_a_browser(page: Path, tmp_path: Path) -> None:
        picture = tmp_path / "page.png"
        result = subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--enable-logging=stderr",
                "--log-level=0",
                "--window-size=1200,1600",
                f"--screenshot={picture}",
                (page / "report.html").as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert not [line for line in result.stderr.splitlines() if "CONSOLE" in line]
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.shape == (1600, 1200)
        assert len(np.unique(pixels)) > 50
