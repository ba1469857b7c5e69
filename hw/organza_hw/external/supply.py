"""Lane words that come through a port, each once an image."""

from amaranth import *
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from organza.plan import Work
from organza.schedule import EXTERNAL_WORDS
from organza.time_sharing import TimeSharing
from organza_hw.weight_supply import WeightSupply, pack_words


def word_signature(work: Work) -> stream.Signature:
    """Of an engine's port: a lane word, and whether it is the last of an image."""
    return stream.Signature(data.StructLayout({"data": work.word_bits, "last": 1}))


def external_words(work: Work) -> list[int]:
    """Lane words of an image in the order in which they come, layer after layer, first field lowest."""
    made = []
    for schedule in work.stored if isinstance(work, TimeSharing) else [work]:
        rows = schedule.node.code.words(schedule.ti, schedule.to, schedule.node.groups)
        made += pack_words(rows.reshape(len(rows), -1)[schedule.streamed_words], schedule.node.code.field_bits)
    return made


class ExternalWeights(WeightSupply):
    """Lane words from a memory beside the chip, in the order in which they are used, over and over.

    They come ahead of their use, those of the next image behind those of this one. `last` comes with the last word of an
    image and no other; else the port has lost a word or had one too many, and no sum is complete from then on.

    Throughput: one word a cycle. Latency: six cycles from the port to the operands. Back-pressure: the port is not ready while
    `EXTERNAL_WORDS` wait.

    Members
    -------
    words : In, stream of `word_signature`. ready, take : as of `StreamedWeights`.
    """

    words_ahead = EXTERNAL_WORDS

    words: stream.Interface
    ready: Signal
    take: Signal

    def __init__(self, work: Work, *, file=None):
        self.roms, self.count = [], work.words
        super().__init__(work.word_bits, {"ready": Out(1), "take": In(1), "words": In(word_signature(work))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=len(self.data), depth=EXTERNAL_WORDS)
        number, good = Signal(range(max(self.count, 2))), Signal()
        end, taken = number == self.count - 1, self.words.valid & self.words.ready
        m.d.comb += [
            self.loaded.eq(1),
            good.eq(self.words.payload.last == end),
            # What is wrong is taken, so that the error can be seen wherever the port comes from.
            self.words.ready.eq(queue.w_rdy & ~self.error),
            queue.w_data.eq(self.words.payload.data),
            queue.w_en.eq(taken & good),
            self.ready.eq(queue.w_en),
            self.data.eq(queue.r_data),
            queue.r_en.eq(self.take),
        ]
        with m.If(taken):
            m.d.sync += number.eq(Mux(end, 0, number + 1))
            with m.If(~good):
                m.d.sync += self.error.eq(1)
        return m
