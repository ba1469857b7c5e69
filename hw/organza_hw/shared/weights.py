"""Lane words of all layers of a time-shared engine in one memory."""

from amaranth import *

from organza.time_sharing import TimeSharing
from organza_hw.rom import Rom
from organza_hw.trits import TritDecoder, trit_fields
from organza_hw.weights import in_bytes, stored_words


def weights_latency(shared: TimeSharing) -> int:
    """Cycles from an address to the fields."""
    return Rom.LATENCY + (TritDecoder.LATENCY if in_bytes(shared.nodes[0].code) else 0)


class SharedWeights:
    """Words of Ti × To fields, To being the most that a layer has; lane words of a layer with fewer are their lowest fields.

    rom : what is stored, layer after layer. latency : as of `weights_latency`.
    """

    def __init__(self, shared: TimeSharing, *, file=None):
        self.shared = shared
        self.field_bits = shared.nodes[0].code.field_bits
        self.latency = weights_latency(shared)
        widths, words = zip(*map(stored_words, shared.layers), strict=True)
        self.rom = Rom(width=max(widths), words=sum(words, []), file=file and f"{file}_weights.hex", loads=shared.loads)

    def fields(self, m, addr):
        """The fields of the lane word at the `addr` of `latency` cycles before, the first one lowest."""
        m.submodules.rom = self.rom
        m.d.comb += self.rom.addr.eq(addr)
        return trit_fields(m, self.rom.data) if in_bytes(self.shared.nodes[0].code) else self.rom.data
