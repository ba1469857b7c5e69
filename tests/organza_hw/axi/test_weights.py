# amaranth: UnusedElaboratable=no
"""Weights through AXI registers into a chip that was built for others: outputs are those of the reference with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organza.host_protocol import tensor_bytes
from organza_hw.axi.top import TOP
from organza_hw.loading.image import weight_image
from organza_sim.cocotb_runner import run_bench
from tests.loadable_programs import other_weights, random_loadable
from tests.organza_hw.axi.test_top import data, verilog
from tests.plans import random_plan
from tests.shared_engines import shared_case
from tests.strategies import random_input

pytestmark = pytest.mark.rtl
BENCH = "tests.organza_hw.axi.weights_bench"
IMAGES, LOADS = 4, 5
SHARED = 6  # of `shared_case`: ternary layers on one engine


@pytest.mark.parametrize("kind", ["linear", "ternary", pytest.param("shared", marks=pytest.mark.full)])
def test_loaded_and_loaded_again(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    if kind == "shared":
        case = shared_case(SHARED, images=IMAGES, loads=True)
        program, plan, x = case.program, case.plan, case.x
        assert program.nodes[0].code.kind == "ternary"
    else:
        program = random_loadable(rng, kind, max_size=4, max_channels=4)
        plan, x = random_plan(rng, program, max_lanes=8), random_input(rng, program, IMAGES)
    given = data(program, plan, x)
    given["weights"] = []
    for _ in range(LOADS):
        other = other_weights(rng, program)
        outputs = [tensor_bytes(one, program.output).hex() for one in other.run(x)]
        given["weights"].append([weight_image(program, plan, other).hex(), outputs])
    (tmp_path / "data.json").write_text(json.dumps(given))
    results = run_bench(
        verilog(program, plan, tmp_path), TOP, BENCH, parameters={"data": str(tmp_path / "data.json")}, hdl_clock=False, folder=tmp_path,
    )  # fmt: skip
    assert len(results) == 2
