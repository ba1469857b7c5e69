"""How the integers of a tensor travel: on the wires of a joint, and into the lanes."""

from amaranth import *

from organza.formats import Format, Sign


def wire_shape(form: Format) -> Shape:
    """Shape of one integer in joints, rings and output rows."""
    return Shape(form.bits, form.signed)


def lane_shape(form: Format) -> Shape:
    """Shape of an activation at the lanes."""
    return signed(2) if isinstance(form, Sign) else wire_shape(form)


def lane_value(form: Format, wire, exists):
    """The activation that a lane gets, 0 where it does not exist. Of signs, bit 0 says that it exists, bit 1 that it is −1."""
    if isinstance(form, Sign):
        return Cat(exists, exists & wire).as_signed()
    return Mux(exists, wire, 0)
