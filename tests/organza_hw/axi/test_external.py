# amaranth: UnusedElaboratable=no
"""Lane words over an AXI stream, from a memory beside the chip, driven by cocotbext-axi."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from organza.codes import Linear
from organza.program import Program
from organza_hw.axi.top import TOP, axi_verilog, weight_bytes
from organza_hw.external.supply import external_words
from organza_sim.cocotb_runner import run_bench
from organza_sim.planner import plan_program
from tests.organza_hw.axi.test_top import data, verilog
from tests.tiny import tiny_inputs, tiny_program

BENCH = "tests.organza_hw.axi.external_bench"


@pytest.mark.rtl
def test_words_that_come_when_they_like(tmp_path: Path) -> None:
    program = tiny_program()
    name = program.nodes[0].name
    plan = plan_program(program, 8, orders={name: "weight"}, memories={name: "external"})
    size, words = weight_bytes(program, plan)["weights0"], external_words(plan.schedules(program)[0])
    assert len(words) > 8  # more than can wait
    given = data(program, plan, tiny_inputs(4))
    given["patience"] *= 5
    given["words"] = b"".join(word.to_bytes(size, "little") for word in words).hex()
    (tmp_path / "data.json").write_text(json.dumps(given))
    results = run_bench(
        verilog(program, plan, tmp_path), TOP, BENCH, parameters={"data": str(tmp_path / "data.json")}, hdl_clock=False, folder=tmp_path,
    )  # fmt: skip
    assert len(results) == 3


def test_words_that_are_too_wide() -> None:
    first = tiny_program().nodes[0]
    code = Linear(np.ones((64, 3, 1, 1), int))
    node = replace(first, code=code, y=replace(first.y, kernel=1), x=replace(first.x, kernel=1))
    program = Program((node,))
    plan = plan_program(program, 192, orders={node.name: "weight"}, memories={node.name: "external"})
    with pytest.raises(ValueError, match=rf"^{node.name}: lane words of an AXI stream must have at most 128 bytes, not 192$"):
        axi_verilog(program, plan)
