"""Where the lanes of an engine get their lane words from."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from organza.schedule import Schedule
from organza_hw.rom import Rom


class WeightSupply(wiring.Component):
    """Lane words of one engine, one way or another.

    Attributes
    ----------
    roms : memories that hold what is stored. latency : cycles from what asks for a word to `data`.
    words_ahead : words of a stream that can have come before they are used; 0 where words are read by their address.

    Members
    -------
    data : Out, a lane word.
    loaded : Out(1), words can be asked for; stays.
    error : Out(1), what is stored is damaged; stays. The word that is missing then never comes.
    """

    roms: list[Rom]
    latency = Rom.LATENCY
    words_ahead = 0

    data: Signal
    loaded: Signal
    error: Signal

    def __init__(self, schedule: Schedule, asks: dict):
        self.schedule, self.field_bits = schedule, schedule.node.code.field_bits
        super().__init__({"data": Out(schedule.word_bits), "loaded": Out(1), "error": Out(1), **asks})
