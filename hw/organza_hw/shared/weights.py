"""Lane words of all layers of a time-shared engine in one memory."""

from typing import Any

from amaranth import *

from organza.codes import Ternary
from organza.codes.trits import BYTE, TRITS
from organza.time_sharing import TimeSharing
from organza_hw.rom import Rom
from organza_hw.trits import TritDecoder, trit_fields
from organza_hw.weights import pack_words


def _trits(shared: TimeSharing) -> bool:
    code: Any = shared.nodes[0].code
    return isinstance(code, Ternary) and code.per_byte == TRITS


def weights_latency(shared: TimeSharing) -> int:
    """Cycles from an address to the fields."""
    return Rom.LATENCY + (TritDecoder.LATENCY if _trits(shared) else 0)


class SharedWeights:
    """Words of Ti × To fields, To being the most that a layer has; lane words of a layer with fewer are their lowest fields.

    rom : what is stored, layer after layer. latency : as of `weights_latency`.
    """

    def __init__(self, shared: TimeSharing, *, file=None):
        self.shared = shared
        self.field_bits = shared.nodes[0].code.field_bits
        self.trits = _trits(shared)
        self.latency = weights_latency(shared)
        words, width = [], 0
        for schedule in shared.layers:
            code: Any = schedule.node.code
            if self.trits:
                rows, bits = code.byte_words(schedule.ti, schedule.to, 1), BYTE
            else:
                rows, bits = code.words(schedule.ti, schedule.to, 1), self.field_bits
                rows = rows.reshape(len(rows), -1)
            words += pack_words(rows, bits)
            width = max(width, rows.shape[1] * bits)
        self.rom = Rom(width=width, words=words, file=file and f"{file}_weights.hex")

    def fields(self, m, addr):
        """The fields of the lane word at the `addr` of `latency` cycles before, the first one lowest."""
        m.submodules.rom = self.rom
        m.d.comb += self.rom.addr.eq(addr)
        return trit_fields(m, self.rom.data) if self.trits else self.rom.data
