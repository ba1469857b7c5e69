"""Runs cocotb benches on the Verilog of one component."""

from amaranth.hdl import Shape
from amaranth.lib import data

from organza_sim.cocotb_runner import run_bench

TOP = "component"


def run(verilog, bench, parameters, **options):
    """Run a bench on a component; the names of the tests that passed."""
    module = f"organza_sim.benches.{bench}"
    results = run_bench(verilog, TOP, module, parameters=parameters, **options)
    return [result.name.removeprefix(f"{module}.") for result in results]


def bits(shape, value):
    """A value of an Amaranth shape, lists for arrays, as the bits of a port."""
    if isinstance(shape, data.Layout):
        return shape.const(value).as_value().value % 2 ** Shape.cast(shape).width
    return int(value) % 2 ** Shape.cast(shape).width
