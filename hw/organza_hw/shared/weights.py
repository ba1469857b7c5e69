"""Lane words of all layers of a time-shared engine: in one memory, or beside the chip."""

from amaranth import *

from organza.time_sharing import TimeSharing
from organza_hw.external.supply import ExternalWeights
from organza_hw.lanes.dot import register
from organza_hw.rom import Rom
from organza_hw.trits import TritDecoder, trit_fields
from organza_hw.weights import in_bytes, stored_words


def weights_latency(shared: TimeSharing) -> int:
    """Cycles from an address, or an issue with a new word, to the fields."""
    return Rom.LATENCY + (TritDecoder.LATENCY if _decodes(shared) else 0)


def _decodes(shared: TimeSharing) -> bool:
    """Whether fields are made of bytes; beside the chip are the fields themselves."""
    return in_bytes(shared.nodes[0].code) and not shared.external


class SharedWeights:
    """Words of Ti × To fields, To being the most that a layer has; lane words of a layer with fewer are their lowest fields.

    rom : what is stored, layer after layer; None where words are beside the chip. supply : of these, None for a memory. latency : as
    of `weights_latency`.
    """

    def __init__(self, shared: TimeSharing, *, file=None, early: bool = False):
        self.shared = shared
        self.field_bits = shared.nodes[0].code.field_bits
        self.latency = weights_latency(shared)
        self.supply = ExternalWeights(shared) if shared.external else None
        self.rom = None
        if not self.supply:
            widths, words = zip(*map(stored_words, shared.layers), strict=True)
            self.rom = Rom(
                width=max(widths), words=sum(words, []), file=file and f"{file}_weights.hex", loads=shared.loads, early=early,
            )  # fmt: skip

    @property
    def words_ahead(self) -> int:
        """Words of a stream that can have come before they are used, 0 of a memory."""
        return self.supply.words_ahead if self.supply else 0

    def fields(self, m, sequencer, *, later: int = 0):
        """The fields of the lane word of the issue of `latency` + `later` cycles before, the first one lowest."""
        if self.supply:
            # The word stays for all issues of its pass.
            issue = sequencer.issue
            take = register(m, issue.valid & issue.word, stages=self.latency - 1 + later)
            m.submodules.weights = self.supply
            m.d.comb += [sequencer.word_ready.eq(self.supply.ready), self.supply.take.eq(take)]
            return register(m, self.supply.data, enable=take, reset=False)
        assert self.rom is not None
        m.submodules.rom = self.rom
        m.d.comb += self.rom.addr.eq(register(m, sequencer.weight_addr, stages=later))
        return trit_fields(m, self.rom.data) if _decodes(self.shared) else self.rom.data
