"""`report.html`: one file that needs nothing else, readable in light and dark."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from organza.plan import Plan
from organza.program import Program
from organza_sim.api import Simulation
from organza_sim.budget_planner import lines
from organza_sim.cycles import simulate_cycles
from organza_sim.drawing import pipeline_svg, timeline_svg
from organza_sim.pictures import Row, strip
from organza_sim.report import NOMINAL_CLOCK
from organza_sim.verify import Verification

__all__ = ["render_report"]

TIMELINE_IMAGES = 4
MOST_COLUMNS = 16


@dataclass(frozen=True)
class Fact:
    """A number at the top of the page."""

    name: str
    value: str
    about: str = ""


def render_report(
    program: Program,
    plan: Plan,
    report: dict,
    *,
    rows: Sequence[Row] = (),
    verification: Verification | None = None,
    simulation: Simulation | None = None,
) -> str:
    """The page for `report` (of `make_report`), with pictures in `rows` where there are any."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("organza_sim"), PackageLoader("organza")]),  # the style is shared
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    if simulation is None and verification is not None:
        simulation = verification.simulation
    images = min(TIMELINE_IMAGES, len(simulation.image_ends)) if simulation else TIMELINE_IMAGES
    timing = simulate_cycles(program, plan, images)
    measured = [int(end) for end in simulation.image_ends] if simulation else None
    about = (
        "Bars: when each engine issues work, from the cycle model, which knows no stalls from outside. "
        + (
            "Marks: the last output of each image, as measured in the simulated Verilog."
            if measured
            else "Marks: the last output of each image."
        )
    )
    strips = [
        {
            "title": row.title,
            "about": row.about,
            "urls": strip(row)[:MOST_COLUMNS],
            "width": row.pixels.shape[2],
            "height": row.pixels.shape[1],
        }
        for row in rows
    ]
    return environment.get_template("report.html.j2").render(
        title=f"{report['model']} · Organza",
        r=report,
        verdict=_verdict(verification),
        subtitle=_subtitle(program, report),
        facts=_facts(report),
        verification=verification,
        strips=strips,
        columns=max((len(strip["urls"]) for strip in strips), default=1),
        # Drawings escape what they quote.
        pipeline=Markup(pipeline_svg(program, plan)),
        timeline=Markup(timeline_svg(plan, timing, images=images, measured=measured)),
        timeline_about=about,
        most_macs=max(row["macs_issued"] for row in report["layers"]),
        version=importlib.metadata.version("organza"),
    )


def _verdict(verification: Verification | None) -> dict[str, str]:
    if verification is None:
        return {"kind": "quiet", "text": "not verified"}
    if verification.passed:
        return {"kind": "good", "text": "✓ bit-exact and cycle-exact"}
    if verification.bit_exact and verification.memory:
        return {"kind": "bad", "text": "✗ memory images differ from the Program"}
    return {
        "kind": "bad",
        "text": "✗ cycles differ" if verification.bit_exact else "✗ not bit-exact",
    }


def _subtitle(program: Program, report: dict) -> str:
    tensors = " to ".join(
        "×".join(map(str, shape)) for shape in (program.input_shape, program.output_shape)
    )
    measured = (
        f"{report['images']} images through simulated Verilog"
        if report["images"]
        else "numbers of the cycle model"
    )
    return (
        f"{len(program.nodes)} layers from {tensors} on {report['lanes']} multipliers; {measured}."
    )


def _facts(report: dict) -> list[Fact]:
    source = "measured in RTL" if report["cycles"] is not None else "cycle model"
    facts = [
        Fact("Utilization", f"{report['utilization']:.1%}", source),
        Fact("Cycles between images", f"{report['interval']:,}", source),
        Fact("Cycles of one image", f"{report['latency']:,}", source),
        Fact(
            "Images a second",
            f"{report['nominal_images_per_second']:,.0f}",
            f"at a nominal {NOMINAL_CLOCK / 1e6:g} MHz, not a timing result",
        ),
    ]
    if report["cycles"] is not None:
        difference = report["cycles"] - report["cycles_model"]
        facts.append(
            Fact(
                "Cycles, RTL − model",
                f"{difference:+,}" if difference else "0",
                f"{report['cycles']:,} for {report['images']} images",
            )
        )
    if report["budget"] is not None:
        used = report["budget"]["used"]
        facts.append(
            Fact(
                "Predicted LUTs", f"{used['luts']:,}",
                f"on {report['board'] or 'ECP5'}; {used['multipliers']:,} multipliers, {used['block_rams']:,} block RAMs; "
                f"{lines(report['budget'])[-1]}",
            )
        )  # fmt: skip
    if report["psnr_db"] is not None:
        facts.append(Fact("PSNR", f"{report['psnr_db']:.1f} dB", "integer against float images"))
    facts.append(
        Fact(
            "Stored",
            f"{report['stored_bits'] / 8192:,.1f} KiB",
            f"{report['compression_ratio']:.2f}× smaller than float32",
        )
    )
    facts.append(
        Fact(
            "Energy of an image", f"{report['energy_uj']:,.3g} µJ",
            f"a 45 nm process, modelled; an FPGA at most about {report['energy_fpga_uj'] / 1000:,.2g} mJ",
        )
    )  # fmt: skip
    return facts
