"""cocotb bench of a component with plain ports that promises exact latencies and has no handshake.

Its parameter ``tables`` has under the name of every table ``inputs``, the value of every input port
in every cycle, and ``outputs``, what every output port must be at the end of every cycle, or null
where it may be anything. All values are the bits of the port as an unsigned integer.
"""

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly

from organza_sim.benches.stream import parameters, start


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(table=sorted(parameters().get("tables", {})))
async def recorded(dut, table):
    """Plays a table from its first cycle to its last."""
    inputs, outputs = (parameters()["tables"][table][side] for side in ("inputs", "outputs"))
    (cycles,) = {len(column) for column in [*inputs.values(), *outputs.values()]}
    compared = dict.fromkeys(outputs, 0)
    await start(dut)
    for cycle in range(cycles):
        await FallingEdge(dut.clk)
        for port, column in inputs.items():
            dut[port].value = column[cycle]
        await ReadOnly()
        for port, column in outputs.items():
            if (wanted := column[cycle]) is None:
                continue
            seen = dut[port].value
            assert seen.is_resolvable, f"port {port} is unknown in cycle {cycle}"
            assert int(seen) == wanted, (
                f"port {port} is {int(seen):x} instead of {wanted:x} in cycle {cycle}"
            )
            compared[port] += 1
    assert all(compared.values()), f"the table {table} does not say what an output must be"
