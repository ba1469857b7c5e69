"""`organza info`: what a Program, a Plan or a build folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from organza.commands.common import Json, print_json
from organza.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from organza.plan import Plan
    from organza.program import Program

# Wide enough for any table here; a narrower terminal wraps whole lines instead of single cells.
WIDTH = 140


def info(
    path: Annotated[
        Path, typer.Argument(help="Program (.safetensors), Plan (.json) or build folder.")
    ],
    as_json: Json = False,
) -> None:
    """Show layers, shapes, formats, bits, MACs; with a Plan also lanes, cycles and utilization.

    Example: organza info build/mine
    """
    from organza.plan import load_plan
    from organza.program_file import load_program

    program: Program | None = None
    plan: Plan | None = None
    budget: dict[str, Any] | None = None
    if path.is_dir():
        from organza_sim.build_folder import load_build

        chip = load_build(path).chip
        program, plan = chip.program, chip.plan
        budget = _budget(path, plan)
    elif path.suffix == ".json":
        plan = load_plan(path)
    else:
        program = load_program(path)
    if program is None:
        assert plan is not None
        _show_plan(plan, as_json)
    else:
        _show(program, plan, budget, as_json)


def _budget(build: Path, plan: Plan) -> dict[str, Any] | None:
    """What the planner said of its budget when this Plan was made, if it made it."""
    import json

    try:
        report = json.loads((build / "report.json").read_text())
        same = report["plan"]["program"] == plan.program and report["plan"]["interval"] == plan.interval
        return report["budget"] if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of another version, or edited: nothing else here rests on it


def _show(program: Program, plan: Plan | None, budget: dict[str, Any] | None, as_json: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from organza.program_file import program_hash
    from organza_sim.report import compression_ratio, layer_rows

    rows: list[dict] = layer_rows(program, plan)
    summary: dict[str, object] = {
        "program": program_hash(program),
        "input_shape": list(program.input_shape),
        "output_shape": list(program.output_shape),
        "macs_effectual": program.macs,
        "stored_bits": sum(node.stored_bits for node in program.nodes),
        "compression_ratio": compression_ratio(program),
    }
    if plan is not None:
        summary |= {
            "lanes": plan.lanes,
            "cycles_model": plan.cycles,
            "interval": plan.interval,
            "utilization": program.macs / (plan.lanes * plan.interval),
            "resources": plan.resources,
            "budget": budget,
        }
    if as_json:
        print_json({**summary, "layers": rows})
        return
    console = Console(highlight=False, width=WIDTH)
    table = _table(
        "layer", "tensor", "taps", "code", "bits/weight", "ratio", "formats", "then", "MACs", "kbit"
    )
    for row in rows:
        table.add_row(
            Text(row["name"]),
            f"{_times(row['input_shape'])} → {_times(row['output_shape'])}",
            _taps(row),
            row["code"],
            f"{row['bits_per_weight']:.2f}",
            f"{row['compression_ratio']:.1f}×",
            f"{_format(row['input_format'])} → {_format(row['output_format'])}",
            row["activation"],
            f"{row['macs_effectual']:,}",
            f"{row['stored_bits'] / 1000:,.1f}",
        )
    console.print(table)
    if plan is not None:
        print()
        table = _table(
            "layer", "Ti×To×P", "lanes", "order", "weights", "memory kbit", "beat", "rows", "cycles", "executed", "utilization"
        )
        for row in rows:
            table.add_row(
                Text(row["name"]),
                f"{row['ti']}×{row['to']}×{row['p']}",
                str(row["lanes"]),
                row["order"],
                row["memory"],
                f"{row['image_bits'] / 1000:,.1f}",
                str(row["beat"]),
                str(row["depth"]),
                f"{row['cycles']:,}",
                f"{row['macs_issued']:,}",
                f"{row['utilization']:.1%}",
            )
        console.print(table)
        print(
            f"\n{plan.lanes} lanes, {plan.cycles:,} cycles for one image, one every {plan.interval:,}, "
            f"utilization {summary['utilization']:.1%} (cycle model)"
        )
        if budget is not None:
            from organza_sim.budget_planner import lines

            print("\n".join(lines(budget)))
    print(
        f"{program.macs:,} effectual MACs an image, {summary['stored_bits']:,} bits stored, "
        f"{summary['compression_ratio']:.2f}× smaller than float32"
    )
    print(f"Program {summary['program']}")


def _show_plan(plan: Plan, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.console import Console
    from rich.text import Text

    if as_json:
        print_json({**asdict(plan), "lanes": plan.lanes})
        return
    table = _table("layer", "Ti×To×P", "lanes", "order", "weights", "epilogues", "beat", "rows")
    for engine, joint in zip(plan.engines, plan.joints, strict=False):
        if not engine.layers:
            raise UserError("Plan has an engine without a layer; plan the Program again")
        for number, layer in enumerate(engine.layers):
            # What several layers share stands beside the first of them.
            shared = str(engine.Ti * engine.C), layer.order, engine.memory, str(engine.E), str(joint.n), str(joint.depth)
            table.add_row(
                Text(layer.node), f"{engine.Ti}×{layer.To}×{layer.P}", *(shared if number == 0 else ("",) * len(shared))
            )
    Console(highlight=False, width=WIDTH).print(table)
    print(
        f"\n{plan.lanes} lanes, {plan.cycles:,} cycles for one image, one every {plan.interval:,}"
    )
    print(f"for Program {plan.program}")


def _table(*columns: str) -> Table:
    """Columns without lines; all but the first few are numbers."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        left = column in ("layer", "tensor", "taps", "formats", "then", "Ti×To×P", "order", "weights")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table


def _taps(row: dict) -> str:
    """Kernel, and what differs from a plain one: up, down, crops and groups."""
    text = [_times(row["kernel"])]
    for name, sign in (("up", "↑"), ("down", "↓")):
        if row[name] != [1, 1]:
            text.append(sign + _times(row[name]))
    crops = [*row["crop_before"], *row["crop_after"]]
    if any(crops):
        text.append(f"crop {crops[0] if len(set(crops)) == 1 else ','.join(map(str, crops))}")
    if row["groups"] > 1:
        text.append(f"groups {row['groups']}")
    return " ".join(text)


def _times(values: list[int]) -> str:
    return "×".join(map(str, values))


def _format(form: dict) -> str:
    return f"{'s' if form['signed'] else 'u'}{form['bits']}{' managed' if 'exponents' in form else ''}"
