"""Verilog text of a component, the same on every machine.

The one place that imports Amaranth's private port directions; Amaranth is pinned below 0.6 for it.
"""

import os

from amaranth.back import verilog
from amaranth.hdl import Const, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["to_verilog"]


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog source of ``component`` with ``name`` as its top module.

    Every member of the signature becomes a port whose name joins the member path with two
    underscores (``i.payload`` becomes ``i__payload``). Members tied to a constant, such as the
    ``ready`` of an ``always_ready`` stream, have no port. Pins that are read and driven are no
    members: an attribute ``inouts`` has them by their names. The text holds no source locations.

    Raises :exc:`TypeError` if ``component`` is not a component or ``name`` is not a string.
    """
    if not isinstance(component, wiring.Component):
        raise TypeError(f"Component must be a wiring.Component, not {component!r}")
    if not isinstance(name, str):
        raise TypeError(f"Module name must be a string, not {name!r}")
    # A Yosys of the system would write different text; a user who sets the variable decides.
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    ports = {}
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if isinstance(value, Const):
            # verilog.convert would refuse it (amaranth#1574).
            continue
        # Without a direction, an output that nothing drives would silently become an input.
        flow = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports["__".join(map(str, path))] = (value, flow)
    for path, pins in getattr(component, "inouts", {}).items():
        ports[path] = (pins, PortDirection.Inout)
    return verilog.convert(component, name=name, ports=ports, emit_src=False,
                           strip_internal_attrs=True)
