"""Run-length decoder."""

from amaranth import *

from organza.codes import RunLength
from organza_hw.code_reader import CodeReader
from organza_hw.codes.expander import Expander
from organza_hw.lane_walk import lane_fields


class RunLengthExpander(Expander):
    """One field a cycle.

    An error is: more or fewer fields than the layer has, a stream that goes on behind them, a wrong
    check sum.
    """

    kind = RunLength.kind
    latency = CodeReader.LATENCY + 1

    def __init__(self, schedule, *, file=None):
        super().__init__(schedule)
        code = schedule.node.code
        self.run_bits, self.pair_bits, self.count = (
            code.run_bits,
            code.pair_bits,
            sum(lane_fields(schedule)),
        )
        self.reader = CodeReader(
            code.stream(schedule.ti, schedule.to, schedule.node.groups, schedule.streamed_words), most=self.pair_bits,
            file=file and f"{file}_weights.hex",
        )  # fmt: skip
        self.roms = [self.reader.rom]

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self.reader
        # Fields that no pair has made yet, but one, so that the sign tells whether there are any.
        left = Signal(signed(self.count.bit_length() + 1), init=self.count - 1)
        over = left[-1]
        zeros, value = Signal(self.run_bits), Signal.like(self.o.payload)
        run = reader.bits[-self.run_bits :]
        decode, good = Signal(), Signal()
        m.d.comb += [
            decode.eq(
                reader.there
                & (~self.o.valid | (self.o.ready & (zeros == 0)))
                & ~over
                & ~self.error
            ),
            good.eq(decode & reader.good & ~(left - run)[-1]),
            reader.take.eq(good),
            self.o.payload.eq(Mux(zeros == 0, value, 0)),
        ]
        with m.If(good):
            m.d.sync += [
                self.o.valid.eq(1),
                zeros.eq(run),
                value.eq(reader.bits),
                left.eq(left - run - 1),
            ]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(zeros != 0), zeros.eq(Mux(zeros == 0, 0, zeros - 1))]
        reader.judge(m, self, over=over, refused=decode & ~good)
        return m
