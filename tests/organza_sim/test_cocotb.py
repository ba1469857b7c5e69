import shutil

import pytest
from amaranth.hdl import signed

from organza_hw.verilog import to_verilog
from organza_sim.cocotb_runner import BenchError, run_bench
from tests.sim.toy import FAULTS, Toy

pytestmark = pytest.mark.rtl
BENCH = "tests.sim.bench_toy"


@pytest.fixture(scope="module")
def verilog():
    return to_verilog(Toy(signed(9), 4, faulty=True), "generator")


# Icarus Verilog is no dependency; where a machine has it, it must agree.
SETUPS = [("verilator", True), ("verilator", False)] + [("icarus", True)] * bool(shutil.which("iverilog"))


@pytest.mark.parametrize("simulator, hdl_clock", SETUPS)
def test_bench_passes(tmp_path, verilog, simulator, hdl_clock):
    results = run_bench(
        verilog, "generator", BENCH, simulator=simulator, hdl_clock=hdl_clock, folder=tmp_path
    )
    assert len(results) == 4
    assert all(result.simulated_ns > 600 for result in results)
    assert (tmp_path / f"{BENCH}.log").exists()


@pytest.mark.parametrize(
    "fault, message",
    [
        ("drop", "only 57 of 60 beats came, and none in the last 200 cycles"),
        ("duplicate", "63 beats came instead of 60"),
        ("value", "wrong values"),
        ("unstable", "stream o changes beat "),
        ("retract", "stream o withdraws beat "),
        ("stuck", "only 1 of 60 beats came"),
    ],
)
def test_faults_are_found(verilog, fault, message):
    with pytest.raises(BenchError, match=f"(?s)^Bench {BENCH} has . failing tests:.*{message}"):
        run_bench(verilog, "generator", BENCH, parameters={"fault": FAULTS[fault]})


def test_bench_without_tests_is_an_error(verilog):
    with pytest.raises(BenchError, match="^Bench tests.sim.toy ended with status"):
        run_bench(verilog, "generator", "tests.sim.toy")


def test_wrong_arguments(verilog):
    with pytest.raises(
        ValueError, match="^Simulator must be 'verilator' or 'icarus', not 'magic'$"
    ):
        run_bench(verilog, "generator", BENCH, simulator="magic")
    with pytest.raises(ValueError, match="^Verilog must have a module 'nothing', but has none$"):
        run_bench(verilog, "nothing", BENCH)
