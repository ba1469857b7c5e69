"""Lane words that come one after the other, each once an image, and wait until the lanes have used the one before."""

from amaranth import *
from amaranth.lib.wiring import In, Out

from organza.schedule import Schedule
from organza_hw.codes import expander_of
from organza_hw.lane_walk import LaneWalk
from organza_hw.weight_supply import WeightSupply


class StreamedWeights(WeightSupply):
    """Lane words of a serial code, made anew for every image in the order in which they are used.

    One word is filled, one place a cycle (as slow as the expander is), while the one before waits for the lanes; when that has
    been taken, the next moves up and filling goes on without a gap. The last word of an image moves only when all of what is
    stored was found intact: sums of an image whose weights are damaged are never complete. Then the expander starts again.

    Throughput: see `organza_sim.issue_times.StreamTimes`. Back-pressure: the expander waits.

    Members
    -------
    ready : Out(1), high in the cycle before one more word is at `data`. take : In(1), the word at `data` is used with the
    clock edge behind this cycle; only after its `ready`.
    """

    words_ahead = 1

    ready: Signal
    take: Signal

    def __init__(self, schedule: Schedule, *, file=None):
        self.expander = expander_of(schedule.node.code)(schedule, file=file)
        self.roms = self.expander.roms
        self.schedule, self.field_bits = schedule, schedule.node.code.field_bits
        super().__init__(schedule.word_bits, {"ready": Out(1), "take": In(1)})

    def elaborate(self, platform):
        m = Module()
        expander, walk = self.expander, LaneWalk(self.schedule)
        restart = Signal()
        m.submodules.expander = ResetInserter(restart)(expander)
        m.submodules.walk = ResetInserter(restart)(walk)
        word = Signal.like(self.data)
        # `full`: the word is complete; `final`: it is the last one, and not known to be intact; `there`: `data` is a word.
        full, final, there, step = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.loaded.eq(1),
            self.error.eq(expander.error),
            restart.eq(~walk.going & expander.intact),
            self.ready.eq(full & (~there | self.take) & (~final | expander.intact)),
            expander.o.ready.eq(walk.going & walk.exists & (~full | self.ready)),
            step.eq(walk.going & (expander.o.valid | ~walk.exists) & (~full | self.ready)),
            walk.step.eq(step),
        ]
        with m.If(step):
            m.d.sync += [
                word.eq(Cat(word, Mux(walk.exists, expander.o.payload, 0))[self.field_bits :]),
                final.eq(walk.end),
            ]
        with m.Elif(restart):
            m.d.sync += final.eq(0)
        m.d.sync += [full.eq(Mux(step, walk.word_end, full & ~self.ready)), there.eq(self.ready | (there & ~self.take))]
        with m.If(self.ready):
            m.d.sync += self.data.eq(word)
        return m
