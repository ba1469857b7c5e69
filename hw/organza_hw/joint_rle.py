"""A run-length coded joint: an encoder behind the producer's output rows, a decoder before the consumer's ring.

Between them are n streams of tokens, one for each channel of a beat; see `organza.run_length`, whose `lane_tokens` they
are. The encoder collects a block of beats while the one before it is read. A token stays on its wires until the decoder
has made all its values, so the encoder gets the room of a block back in the cycle in which the block's last beat leaves the
decoder, whatever the values are: the cycles of a coded joint do not depend on the data.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from organza.run_length import BLOCK, RUN_BITS
from organza_hw.joint import joint_signature

BUFFERS = 2  # blocks that an encoder holds


def token_layout(shape):
    """One token: with `run` the low bits of `value` are zeros - 1, else `value` is the raw bits of a value."""
    return data.StructLayout({"value": max(Shape.cast(shape).width, RUN_BITS), "run": 1})


def memory_bits(shape, n):
    """Bits of the memories of an encoder."""
    return n * BUFFERS * BLOCK * (1 + token_layout(shape).size)


class RunEncoder(wiring.Component):
    """Beats to tokens.

    Latency: the first token of a block is at `o` in the cycle after the one that takes the block's last beat. Throughput: a
    beat a cycle while tokens are taken as a `RunDecoder` takes them, a beat a cycle. Full back-pressure.

    Parameters
    ----------
    shape : of a value. n : channels a beat. row_beats : beats of a row; blocks do not go on behind it.
    block : most beats of a block, a power of two up to `BLOCK`.

    Members
    -------
    i : In, stream of `joint_signature`; `last` is not looked at. o : Out, n streams of `token_layout`.
    """

    i: stream.Interface
    o: list[stream.Interface]

    def __init__(self, shape, n, row_beats, block=BLOCK):
        self.shape, self.n, self.row_beats, self.block = shape, n, row_beats, block
        super().__init__({
            "i": In(joint_signature(shape, n)),
            "o": Out(stream.Signature(token_layout(shape))).array(n),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        column = Signal(range(max(self.row_beats, 2)))
        place = Signal(range(self.block))
        written = Signal(range(2 * BUFFERS))  # complete blocks, modulo 4; the low bit is the buffer
        take, row_last, end = Signal(), Signal(), Signal()
        full = [Signal(name=f"full{number}") for number in range(self.n)]
        m.d.comb += [
            self.i.ready.eq(~Cat(full).any()),
            take.eq(self.i.valid & self.i.ready),
            row_last.eq(column == self.row_beats - 1),
            end.eq(take & (row_last | (place == self.block - 1))),
        ]
        with m.If(take):
            m.d.sync += [column.eq(Mux(row_last, 0, column + 1)), place.eq(Mux(end, 0, place + 1))]
        m.d.sync += written.eq(written + end)
        raw, width = self.i.payload.data.as_value(), Shape.cast(self.shape).width
        for number in range(self.n):
            self._lane(m, number, raw.word_select(number, width), take, end, written, full[number])
        return m

    def _lane(self, m, number, value, take, end, written, full):
        """One lane's memory of tokens: a run that goes on is written over itself."""
        tokens = self.o[number]
        layout = data.StructLayout({"token": tokens.payload.shape(), "end": 1})
        m.submodules[f"lane{number}"] = memory = Memory(shape=layout, depth=BUFFERS * self.block, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        at = Signal(range(self.block), name=f"at{number}")  # tokens of the block so far, an open run left out
        zeros = Signal(range(self.block), name=f"zeros{number}")  # in the open run
        zero, place = Signal(name=f"zero{number}"), Signal(range(self.block), name=f"place{number}")
        m.d.comb += [
            zero.eq(value == 0),
            place.eq(Mux(zero | (zeros == 0), at, at + 1)),
            write.en.eq(take), write.addr.eq(Cat(place, written[0])),
            write.data.token.run.eq(zero), write.data.token.value.eq(Mux(zero, zeros, value)), write.data.end.eq(end),
        ]  # fmt: skip
        with m.If(take):
            m.d.sync += [
                at.eq(Mux(end, 0, Mux(zero, at, place + 1))),
                zeros.eq(Mux(end | ~zero, 0, zeros + 1)),
            ]

        token = Signal(range(self.block), name=f"token{number}")
        passed = Signal.like(written, name=f"passed{number}")  # blocks read to their end, modulo 4
        blocks = Signal.like(written, name=f"blocks{number}")
        taken, done = Signal(name=f"taken{number}"), Signal(name=f"done{number}")
        m.d.comb += [
            blocks.eq(written - passed),
            full.eq(blocks >= BUFFERS),
            read.addr.eq(Cat(token, passed[0])),
            tokens.valid.eq(blocks != 0), tokens.payload.eq(read.data.token),
            taken.eq(tokens.valid & tokens.ready), done.eq(taken & read.data.end),
        ]  # fmt: skip
        m.d.sync += passed.eq(passed + done)
        with m.If(taken):
            m.d.sync += token.eq(Mux(done, 0, token + 1))


class RunDecoder(wiring.Component):
    """Tokens to beats.

    Latency: none. Throughput: a beat a cycle. Full back-pressure; a token is taken together with the last beat it makes.

    Parameters
    ----------
    shape : of a value. n : channels a beat. image_beats : beats of an image, for `last`.

    Members
    -------
    i : In, n streams of `token_layout`. o : Out, stream of `joint_signature`.
    """

    i: list[stream.Interface]
    o: stream.Interface

    def __init__(self, shape, n, image_beats):
        self.shape, self.n, self.image_beats = shape, n, image_beats
        super().__init__({
            "i": In(stream.Signature(token_layout(shape))).array(n),
            "o": Out(joint_signature(shape, n)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        beat = Signal(range(max(self.image_beats, 2)))
        take = Signal()
        m.d.comb += [
            self.o.valid.eq(Cat(tokens.valid for tokens in self.i).all()),
            self.o.payload.last.eq(beat == self.image_beats - 1),
            take.eq(self.o.valid & self.o.ready),
        ]
        with m.If(take):
            m.d.sync += beat.eq(Mux(self.o.payload.last, 0, beat + 1))
        width = Shape.cast(self.shape).width
        raw = self.o.payload.data.as_value()
        for number, tokens in enumerate(self.i):
            made = Signal(RUN_BITS, name=f"made{number}")  # zeros of the run
            final = ~tokens.payload.run | (made == tokens.payload.value[:RUN_BITS])
            m.d.comb += [
                raw.word_select(number, width).eq(Mux(tokens.payload.run, 0, tokens.payload.value)),
                tokens.ready.eq(take & final),
            ]
            with m.If(take):
                m.d.sync += made.eq(Mux(final, 0, made + 1))
        return m
