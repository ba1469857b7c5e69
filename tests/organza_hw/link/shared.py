"""What tests of the link have in common."""

from amaranth.sim import Simulator

from organza.link import END, ESC, ESC_END, ESC_ESC

SPECIAL = bytes([END, ESC, ESC_END, ESC_ESC])


def changes(inputs):
    """Only what is not as it was: setting a port is what takes a simulation its time."""
    last = {}
    for cycle in inputs:
        yield {name: value for name, value in cycle.items() if last.get(name) != value}
        last |= cycle


async def silence(ctx, stream, cycles):
    """Nothing more comes out of a stream that could give it."""
    ctx.set(stream.ready, 1)
    for _ in range(cycles):
        _, _, there = await ctx.tick().sample(stream.valid)
        assert not there


def simulate(component, testbench):
    """Run a testbench, which counts its cycles itself."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
