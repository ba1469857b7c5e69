"""`organza build`: from a generator to Verilog, memory images and a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from organza.commands.common import Code, Force, Json, Output, print_json
from organza.commands.model import SHIPPED, Model, load_model
from organza.commands.steps import Steps
from organza.output_folder import new_folder

if TYPE_CHECKING:
    from organza.plan import Plan
    from organza_hw.build import Chip
    from organza_sim.budget import Budget

SHOWN = 16
PSNR_IMAGES = 256


def build(
    output: Output,
    source: Annotated[
        str,
        typer.Argument(
            help="my_model.py:make_generator (a function that returns a torch.nn.Module; the file is executed), a checkpoint "
            "of 'organza train', a Program, or the name of the shipped generator."
        ),
    ] = SHIPPED,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of a Python generator: .safetensors.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(help="Shape of one input, e.g. 64,1,1; needed without --calibration."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Typical inputs (N, ...): .npy. Default: drawn from a normal distribution."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="How activations are clipped: mse, percentile or max.")
    ] = "mse",
    code: Code = None,
    lanes: Annotated[
        int | None, typer.Option(help="Most lanes to use. Default: 133, without another budget.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="Plan for what this board has, e.g. ulx3s-85f, or a .toml file of your own.")
    ] = None,
    luts: Annotated[int | None, typer.Option(min=1, help="Most LUTs of four inputs, as predicted.")] = None,
    dsps: Annotated[int | None, typer.Option(min=0, help="Most multipliers of 18×18 bits.")] = None,
    ram: Annotated[int | None, typer.Option(min=0, help="Most block RAMs of 18 kbit.")] = None,
    bandwidth: Annotated[
        float | None, typer.Option(help="Most megabits a second of inputs, outputs and weights of an external memory.")
    ] = None,
    goal: Annotated[str, typer.Option(help="What is made as short as possible: interval between images, or latency of one.")] = "interval",
    arithmetic: Annotated[
        str | None, typer.Option(help="Lanes by layer, e.g. layer1=packed,layer2=lut; see docs/codes.md.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="Loops by layer, e.g. layer0=weight: each weight word is read once an image; others: row.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Weights by layer: external (beside the chip, in weight order, docs/external.md); of serial codes expand (a buffer), or in weight order stream."),
    ] = None,
    joint_coding: Annotated[
        str, typer.Option(help="Activations between engines: plain, or rle (run lengths of zeros).")
    ] = "plain",
    share: Annotated[
        str | None,
        typer.Option(
            help="Layers on one engine, one after the other: all, 8x16 for all on Ti×C lanes, layer0..layer2=8x16, or none; more in "
            "docs/hardware.md. Default: none, unless a device's limit or the latency is better kept by all."
        ),
    ] = None,
    loadable: Annotated[
        str | None,
        typer.Option(help="Layers whose weights are loaded at run time, 'all' or e.g. layer0,layer1: other weights without synthesis."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Use this plan.json instead of planning.")
    ] = None,
    axi: Annotated[
        bool, typer.Option("--axi", help="Also a top with AXI4-Stream ports and AXI4-Lite registers; see docs/axi.md.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantise a generator to int8 and generate its accelerator.

    Example: organza build my_model.py:make_generator --weights w.safetensors --calibration z.npy -o build/mine
    """
    with Steps(quiet=as_json) as steps, new_folder(output, replace=force) as folder:
        with steps.step(f"Loading {source}"):
            from organza.errors import UserError
            from organza.run_length import CODINGS
            from organza_sim.planner import GOALS

            coding = None if joint_coding == "plain" else joint_coding
            planned = {
                "lanes": lanes, "board": board, "luts": luts, "dsps": dsps, "ram": ram, "bandwidth": bandwidth,
                "goal": None if goal == "interval" else goal,
                "arithmetic": arithmetic, "order": order, "memory": memory, "joint-coding": coding, "share": share,
            }  # fmt: skip
            if goal not in GOALS:
                raise UserError(f"--goal must be {' or '.join(GOALS)}, not {goal!r}")
            if bandwidth is not None and not bandwidth > 0:
                raise UserError(f"--bandwidth must be above 0, not {bandwidth:g}")
            for name, value in planned.items():
                if plan is not None and value is not None:
                    raise UserError(f"--{name} must not be given with --plan, which says it already")
            if joint_coding not in CODINGS:
                raise UserError(f"--joint-coding must be {' or '.join(CODINGS)}, not {joint_coding!r}")
            model = load_model(
                source,
                weights=weights,
                input_shape=input_shape,
                calibration=calibration,
                method=method,
                code=code,
            )
            if loadable is not None:
                from organza.layer_options import parse_loadable

                model = replace(model, program=parse_loadable(loadable, model.program))
        limits = Limits(lanes=lanes, board=board, luts=luts, dsps=dsps, ram=ram, bandwidth=bandwidth)
        chip, said = make_chip(
            steps, model, limits, plan, arithmetic=arithmetic, order=order, memory=memory, joint_coding=joint_coding, goal=goal, share=share
        )
        with steps.step("Writing the build folder"):
            report = _write(folder, model, chip, said, axi)
    if as_json:
        print_json(report)
        return
    print(
        f"{report['model']}: {len(chip.program.nodes)} layers on {report['lanes']} multipliers, an image every "
        f"{report['interval']:,} cycles, utilization {report['utilization']:.1%} (cycle model)"
    )
    if report["budget"] is not None:
        from organza_sim.budget_planner import lines

        print("\n".join(lines(report["budget"])))
    print(f"wrote {output}; next: organza verify {output}")


@dataclass(frozen=True)
class Limits:
    """Budgets as they are typed. bandwidth : megabits a second."""

    lanes: int | None = None
    board: str | None = None
    luts: int | None = None
    dsps: int | None = None
    ram: int | None = None
    bandwidth: float | None = None

    def budget(self) -> Budget:
        """What the planner takes; the default lanes where nothing is given. Raises `UserError` for a board that does not exist."""
        from organza.board import load_board
        from organza_sim.budget import Budget
        from organza_sim.planner import DEFAULT_LANES

        given: dict[str, Any] = {
            "lanes": self.lanes, "luts": self.luts, "multipliers": self.dsps, "block_rams": self.ram,
            "bandwidth": None if self.bandwidth is None else self.bandwidth * 1e6,
        }  # fmt: skip
        if self.board is not None:
            return Budget.of_board(load_board(self.board), Path(self.board).stem, **given)
        if all(value is None for value in given.values()):
            given["lanes"] = DEFAULT_LANES
        return Budget(**given)


def make_chip(
    steps: Steps,
    model: Model,
    limits: Limits,
    plan: Path | None,
    *,
    arithmetic: str | None = None,
    order: str | None = None,
    memory: str | None = None,
    joint_coding: str = "plain",
    goal: str = "interval",
    share: str | None = None,
) -> tuple[Chip, dict[str, Any] | None]:
    """Plan and generate the accelerator for `model`; what the planner says of its budget, None for a given Plan."""
    with steps.step("Planning"):
        from organza.codes.spec import parse_arithmetic
        from organza.errors import UserError
        from organza.layer_options import parse_memories, parse_orders
        from organza.plan import load_plan
        from organza_sim import api
        from organza_sim.budget_planner import plan_within
        from organza_sim.planner import DEFAULT_LANES, choices_of
        from organza_sim.sharing import parse_shares

        chosen: Plan
        said = None
        if plan is not None:
            chosen = load_plan(plan)
        else:
            program = model.program
            lane_kinds = None if arithmetic is None else parse_arithmetic(arithmetic, program)
            orders = {} if order is None else parse_orders(order, program, lane_kinds or {})
            memories = {} if memory is None else parse_memories(memory, program, orders)
            most = DEFAULT_LANES if limits.lanes is None else limits.lanes
            choice = choices_of(program, lane_kinds, orders, memories)[program.nodes[0].name]  # layers that share an engine have all the same
            shares = None if share is None else parse_shares(share, program, most, choice)
            try:
                planned = plan_within(
                    program, limits.budget(), goal=goal, arithmetic=lane_kinds, orders=orders, memories=memories, coding=joint_coding,
                    shares=shares,
                )
            except ValueError as error:
                if share is None or isinstance(error, UserError):
                    raise  # says what to do
                raise UserError(f"--share {share}: {error}") from error
            chosen, said = planned.plan, planned.report()
    with steps.step("Generating Verilog"):
        return api.build(model.program, plan=chosen), said


def _write(folder: Path, model: Model, chip: Chip, budget: dict[str, Any] | None, axi: bool) -> dict[str, Any]:
    from organza_sim.build_folder import write_build
    from organza_sim.drawing import write_drawings
    from organza_sim.html_report import render_report
    from organza_sim.pictures import comparison, labelled
    from organza_sim.report import joint_traffic, make_report, psnr_db, write_report

    program = model.program
    x = model.inputs[:PSNR_IMAGES]
    integers = program.quantize(x)
    layers = program.run_layers(integers)
    reference = layers[-1]
    write_build(folder, chip, integers, axi=axi)
    real = model.real(x)
    psnr = None if real is None else psnr_db(program, real, reference)
    rows = comparison(
        program, real=None if real is None else real[:SHOWN], reference=reference[:SHOWN], rtl=None
    )
    labelled(rows).save(folder / "images.png")
    traffic = joint_traffic(program, chip.plan, layers)
    report = make_report(program, chip.plan, model=model.name, psnr=psnr, traffic=traffic, budget=budget)
    write_drawings(folder, program, chip.plan)
    write_report(folder, report, render_report(program, chip.plan, report, rows=rows))
    return report
