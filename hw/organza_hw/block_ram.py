"""Memories for block RAM: what is read while it is written does not matter."""

from typing import Any

from amaranth.lib import memory

# Yosys's name for it. Without it, synthesis keeps every word that is written in registers for a cycle and compares addresses, to
# give a reader what the word was before, as Verilog says; the comparison then follows the block RAM's late output.
ATTRIBUTE = "no_rw_check"


def block_ram(shape, depth, init=()) -> memory.Memory:
    """Memory of `depth` words, the first ones `init` and all others zero, whose readers use no word that they address in the cycle that
    writes it."""
    attributes: Any = {ATTRIBUTE: 1}  # the stubs know strings only
    return memory.Memory(shape=shape, depth=depth, init=init, attrs=attributes)
