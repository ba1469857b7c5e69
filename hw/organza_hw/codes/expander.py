"""What makes the fields of a serial code, one after the other."""

from typing import ClassVar

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from organza.schedule import Schedule
from organza_hw.lane_walk import lane_fields, lane_places
from organza_hw.rom import Rom


class Expander(wiring.Component):
    """Fields of all weights in the order of the lane words (`organza_hw.lane_walk`), places without a weight left out; then
    silence until a reset.

    A field takes `interval` cycles, a place without a weight one. The first field is offered in
    cycle `latency` + `interval` - 1, counted from 0 behind the reset. Full back-pressure.

    Parameters
    ----------
    schedule : layer and lanes; its code is serial. file : prefix of the files that hold what is
        stored, or None.

    Attributes
    ----------
    roms : memories that hold what is stored.

    Members
    -------
    o : stream of fields.
    intact : Out(1), at most 1 cycle after the last field was taken: what is stored has no error.
        Stays.
    error : Out(1), it has one; no more fields. Stays.
    """

    kind: ClassVar[str]
    latency: int
    roms: list[Rom]

    o: stream.Interface
    intact: Signal
    error: Signal

    def __init__(self, schedule: Schedule):
        super().__init__({
            "o": Out(stream.Signature(schedule.node.code.field_bits)), "intact": Out(1), "error": Out(1),
        })  # fmt: skip

    @staticmethod
    def interval(code) -> int:
        """Cycles of a field."""
        return 1

    @classmethod
    def load_end(cls, schedule: Schedule) -> int:
        """Cycle that fills the last place of the lane words."""
        waits = (cls.interval(schedule.node.code) - 1) * sum(lane_fields(schedule))
        return cls.latency + waits + lane_places(schedule) - 1
