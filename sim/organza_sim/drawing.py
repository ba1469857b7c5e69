"""SVG drawings of an accelerator: its pipeline, and when each engine works.

Colours are CSS variables with fallbacks (`--ink`, `--paper`, `--line`, `--image0`…), so that a page decides on light or
dark, and a stand-alone file carries its own style. Everything that comes from files is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from organza.plan import Plan, schedules_of
from organza.program import Program
from organza_sim.cycles import Timing, simulate_cycles
from organza_sim.issue_times import layer_cycles
from organza_sim.report import NOMINAL_CLOCK

__all__ = ["pipeline_svg", "timeline_svg", "write_drawings"]

COLUMNS = 4
BOX_WIDTH, BOX_HEIGHT = 176, 118
GAP_X, GAP_Y = 84, 30
COLOURS = 4

STYLE = """
  svg { --ink: #1c2733; --soft: #5b6b7b; --paper: #ffffff; --panel: #f1f5f9; --line: #b6c2cf;
        --image0: #2f6fb4; --image1: #d9822b; --image2: #3b8f5a; --image3: #8e5bb5; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --soft: #9fb0c0; --paper: #12181f; --panel: #1b242e; --line: #3d4b59;
          --image0: #6ea8e5; --image1: #f0a860; --image2: #6cc48e; --image3: #c195e6; }
  }
  .drawing .backdrop { fill: var(--paper); }
"""

SHAPES = """
  .drawing text { font-family: system-ui, sans-serif; font-size: 12px; fill: var(--ink); }
  .drawing .title { font-weight: 600; font-size: 13px; }
  .drawing .soft { fill: var(--soft); }
  .drawing .small { font-size: 11px; }
  .drawing .box { fill: var(--panel); stroke: var(--line); }
  .drawing .wire { stroke: var(--soft); stroke-width: 1.5; fill: none; }
  .drawing .arrow { fill: var(--soft); }
  .drawing .meter { fill: var(--line); }
  .drawing .grid { stroke: var(--line); stroke-width: 1; }
""" + "".join(f"  .drawing .c{k} {{ fill: var(--image{k}); }}\n" for k in range(COLOURS))


def write_drawings(folder: Path, program: Program, plan: Plan) -> None:
    """Write `pipeline.svg` and `timeline.svg` into `folder`, readable on light and on dark pages."""
    (folder / "pipeline.svg").write_text(pipeline_svg(program, plan, standalone=True) + "\n")
    timing = simulate_cycles(program, plan, COLOURS)
    (folder / "timeline.svg").write_text(timeline_svg(plan, timing, standalone=True) + "\n")


def _svg(width: float, height: float, label: str, parts: list[str], standalone: bool) -> str:
    style = (STYLE if standalone else "") + SHAPES
    backdrop = (
        f'<rect class="backdrop" width="{width:g}" height="{height:g}"/>' if standalone else ""
    )
    # `width` keeps a drawing from being enlarged; the page may shrink it.
    return (
        f'<svg class="drawing" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title><style>{style}</style>{backdrop}'
        + "".join(parts)
        + "</svg>"
    )


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def pipeline_svg(program: Program, plan: Plan, *, standalone: bool = False) -> str:
    """Engines with Ti × To × P, and the joints between them with channels a beat and rows of the ring."""
    parts = []
    count = len(plan.engines)
    columns = min(COLUMNS, count)
    width = columns * BOX_WIDTH + (columns + 1) * GAP_X
    rows = -(-count // columns)
    height = rows * BOX_HEIGHT + (rows + 1) * GAP_Y
    utilizations = []
    works = plan.works(program)
    for k, (name, engine, work) in enumerate(zip(plan.engine_names, plan.engines, works, strict=True)):
        schedules = schedules_of(work)
        node, last = schedules[0].node, schedules[-1].node
        x = GAP_X + (k % columns) * (BOX_WIDTH + GAP_X)
        y = GAP_Y + (k // columns) * (BOX_HEIGHT + GAP_Y)
        tilings = dict.fromkeys(f"{schedule.to}×{schedule.p}" for schedule in schedules)
        share = sum(schedule.node.macs for schedule in schedules) / (work.lanes * plan.interval)
        utilizations.append(share)
        parts.append(
            f"<g><title>{escape(name)}: {_shape(node.input_shape)} to {_shape(last.output_shape)}</title>"
        )
        parts.append(
            f'<rect class="box" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
        )
        weight = schedules[0].order == "weight"
        parts.append(_text(x + 12, y + 22, _short(name, 13 if weight else 22), kind="title"))
        if weight:
            parts.append(_text(x + BOX_WIDTH - 12, y + 22, "weight order", kind="small soft", anchor="end"))
        parts.append(_text(x + 12, y + 42, f"{work.lanes} lanes", kind="c0"))
        lanes = f"{engine.Ti}×{_either(tilings)}"
        parts.append(_text(x + BOX_WIDTH - 12, y + 42, lanes, anchor="end"))
        parts.append(_text(x + 12, y + 60, "kernel" if len(schedules) == 1 else "layers", kind="soft small"))
        kernel = f"{node.y.kernel}×{node.x.kernel} {_strides(node)}".strip() if len(schedules) == 1 else str(len(schedules))
        parts.append(_text(x + BOX_WIDTH - 12, y + 60, kernel, kind="small", anchor="end"))
        parts.append(_text(x + 12, y + 77, "cycles an image", kind="soft small"))
        parts.append(
            _text(x + BOX_WIDTH - 12, y + 77, f"{sum(layer_cycles(work)):,}", kind="small", anchor="end")
        )
        parts.append(_text(x + 12, y + 94, "utilization", kind="soft small"))
        parts.append(_text(x + BOX_WIDTH - 12, y + 94, f"{share:.1%}", kind="small", anchor="end"))
        parts.append(
            f'<rect class="meter" x="{x + 12}" y="{y + 102}" width="{BOX_WIDTH - 24}" height="5" rx="2.5"/>'
        )
        parts.append(
            f'<rect class="c0" x="{x + 12}" y="{y + 102}" width="{(BOX_WIDTH - 24) * share:.1f}" height="5" rx="2.5"/>'
        )
        parts.append("</g>")
        parts += _joint(k, columns, plan, _shape(node.input_shape))
    parts += _joint(count, columns, plan, _shape(program.output_shape))
    label = f"Pipeline of {count} engines with {plan.lanes} lanes; " + ", ".join(
        f"{name} {share:.0%}" for name, share in zip(plan.engine_names, utilizations, strict=True)
    )
    return _svg(width, height, label, parts, standalone)


def _either(tilings: Iterable[str]) -> str:
    """One tiling, or the first few of several."""
    first, *others = tilings
    return first if not others else f"({first}, {others[0]}{', …' if len(others) > 1 else ''})"


def _strides(node) -> str:
    up = f"↑{node.y.up}×{node.x.up}" if node.y.up > 1 or node.x.up > 1 else ""
    down = f"↓{node.y.down}×{node.x.down}" if node.y.down > 1 or node.x.down > 1 else ""
    return f"{up} {down}".strip()


def _joint(number: int, columns: int, plan: Plan, shape: str) -> list[str]:
    """The arrow into engine `number`, or out of the last one."""
    joint = plan.joints[number]
    last = number == len(plan.joints) - 1
    column, row = number % columns, number // columns
    if last and column == 0 and number:
        column, row = columns, row - 1
    y = GAP_Y + row * (BOX_HEIGHT + GAP_Y) + BOX_HEIGHT / 2
    left = column * (BOX_WIDTH + GAP_X)
    x0, x1 = left + 6, left + GAP_X - 6
    parts = []
    if number and column == 0:  # comes from the end of the row above
        above = y - BOX_HEIGHT / 2 - GAP_Y / 2
        right = columns * (BOX_WIDTH + GAP_X)
        parts.append(
            f'<path class="wire" d="M{right} {y - BOX_HEIGHT - GAP_Y:g} h{GAP_X / 2} V{above:g} H5 V{y:g} H{x1}"/>'
        )
    else:
        parts.append(f'<path class="wire" d="M{x0} {y:g} H{x1}"/>')
    parts.append(f'<path class="arrow" d="M{x1 + 5} {y:g} l-8 -4.5 v9 z"/>')
    middle = left + GAP_X / 2
    parts.append(_text(middle, y - 24, shape, kind="small", anchor="middle"))
    parts.append(_text(middle, y - 9, f"n = {joint.n}{'' if joint.coding == 'plain' else ' ' + joint.coding}", kind="small soft", anchor="middle"))
    if not last:
        rows = "row" if joint.depth == 1 else "rows"
        parts.append(
            _text(middle, y + 20, f"{joint.depth} {rows}", kind="small soft", anchor="middle")
        )
    return parts


def _runs(starts: list[int], ends: list[int], units: int, images: int) -> list[tuple[int, int, int]]:
    """(image, first, last cycle) of stretches without a gap, from the first and last issue of every output unit."""
    made: list[tuple[int, int, int]] = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        image = number // units
        if image >= images:
            break
        if made and made[-1][0] == image and made[-1][2] + 1 == start:
            made[-1] = image, made[-1][1], end
        else:
            made.append((image, start, end))
    return made


def timeline_svg(
    plan: Plan,
    timing: Timing,
    *,
    images: int = 4,
    measured: list[int] | None = None,
    standalone: bool = False,
) -> str:
    """Which engine issues work when, one colour an image; marks where an image is complete.

    `measured` are the cycles of the images' last beats in RTL, counted from the first input beat; they are drawn over the
    model's.
    """
    images = min(images, len(timing.sent))
    left, right, bar, step, top = 150, 30, 20, 34, 34
    span = timing.sent[images - 1] - timing.first
    width = 1040
    scale = (width - left - right) / span
    count = len(plan.engines)
    bottom = top + count * step
    height = bottom + 74
    parts = []
    tick = _tick(span)
    for value in range(0, span + 1, tick):
        x = left + value * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 8}" y2="{bottom}"/>')
        parts.append(_text(x, top - 14, f"{value:,}", kind="small soft", anchor="middle"))
    parts.append(_text(12, top - 14, "cycle", kind="small soft"))
    for k, (name, times) in enumerate(zip(plan.engine_names, timing.engines, strict=True)):
        y = top + k * step
        runs = _runs(times.start, times.end, len(times.start) // len(timing.sent), images)
        busy = sum(end - start + 1 for _, start, end in runs)
        parts.append(f"<g><title>{escape(name)}: works in {busy:,} of {span:,} cycles</title>")
        parts.append(_text(12, y + bar - 5, _short(name, 20), kind="title"))
        for image, start, end in runs:
            x = left + (start - timing.first) * scale
            parts.append(
                f'<rect class="c{image % COLOURS}" x="{x:.2f}" y="{y}" width="{max((end - start + 1) * scale, 0.3):.2f}" '
                f'height="{bar}"/>'
            )
        parts.append("</g>")
    parts.append(_text(12, bottom + bar - 4, "image complete", kind="soft"))
    ends = measured[:images] if measured else [sent - timing.first for sent in timing.sent[:images]]
    for image, end in enumerate(ends):
        x = left + end * scale
        parts.append(f'<path class="c{image % COLOURS}" d="M{x:.1f} {bottom + 3} l-6 12 h12 z"/>')
        anchor = "end" if image == images - 1 else "middle"
        parts.append(
            _text(
                x + (10 if anchor == "end" else 0),
                bottom + 30,
                f"{end:,}",
                kind="small",
                anchor=anchor,
            )
        )
    x = left
    for image in range(images):
        parts.append(
            f'<rect class="c{image % COLOURS}" x="{x}" y="{bottom + 46}" width="12" height="12" rx="2"/>'
        )
        parts.append(_text(x + 18, bottom + 56, f"image {image + 1}", kind="small"))
        x += 84
    note = f"{tick:,} cycles are {tick / NOMINAL_CLOCK * 1e6:g} µs at a nominal {NOMINAL_CLOCK / 1e6:g} MHz"
    parts.append(_text(width - right, bottom + 56, note, kind="small soft", anchor="end"))
    label = f"Timeline of {count} engines over {images} images and {span:,} cycles"
    return _svg(width, height, label, parts, standalone)


def _tick(span: int) -> int:
    """A round number of cycles that divides `span` into at most ten parts."""
    unit = 1
    while True:
        for factor in (1, 2, 5):
            if span <= 10 * factor * unit:
                return factor * unit
        unit *= 10
