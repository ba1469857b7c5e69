"""Where the lanes of an engine get their lane words from."""

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from organza_hw.rom import Rom


def pack_words(fields: np.ndarray, bits: int) -> list[int]:
    """Python integers of rows of unsigned fields of `bits` each, first field lowest."""
    planes = (fields[:, :, None] >> np.arange(bits)) & 1
    packed = np.packbits(planes.reshape(len(fields), -1).astype(np.uint8), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


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

    def __init__(self, word_bits: int, asks: dict):
        super().__init__({"data": Out(word_bits), "loaded": Out(1), "error": Out(1), **asks})
