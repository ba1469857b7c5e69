# amaranth: UnusedElaboratable=no
"""A coded joint: tokens and beats stay while they wait; none is lost, repeated, moved or sent too early."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza_hw.joint_rle import RunDecoder, RunEncoder
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, Assume, begin, constant, counter, mutated, stable

pytestmark = pytest.mark.synth
N, BITS = 2, 1
BLOCK, ROW_BEATS, ROWS = 2, 3, 1  # a whole block and a short one
MANY = 16
DEPTH = 9  # the first block is read while the third is written


class EncoderHandshake(wiring.Component):
    """Any beats, and tokens taken at any time, in every lane by itself."""

    component = RunEncoder

    def __init__(self):
        super().__init__({"valid": In(1), "value": In(N * BITS), "ready": In(N)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = self.component(BITS, N, ROW_BEATS, BLOCK)
        begun = begin(m)
        m.d.comb += [encoder.i.valid.eq(self.valid), encoder.i.payload.data.as_value().eq(self.value)]
        stable(m, begun, encoder.i, Assume, "i")
        for lane in range(N):
            m.d.comb += encoder.o[lane].ready.eq(self.ready[lane])
            stable(m, begun, encoder.o[lane], Assert, f"o{lane}")
        return m


class DecoderHandshake(wiring.Component):
    """Any tokens that stay while they wait."""

    component = RunDecoder

    def __init__(self):
        super().__init__({"valid": In(N), "value": In(N * 3), "ready": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = self.component(BITS, N, ROW_BEATS * ROWS)
        begun = begin(m)
        for lane, tokens in enumerate(decoder.i):
            m.d.comb += [tokens.valid.eq(self.valid[lane]),
                         tokens.payload.as_value().eq(self.value.word_select(lane, 3))]  # fmt: skip
            stable(m, begun, tokens, Assume, f"i{lane}")
        m.d.comb += decoder.o.ready.eq(self.ready)
        stable(m, begun, decoder.o, Assert, "o")
        return m


class Beats(wiring.Component):
    """Encoder and decoder of one lane: beat number `chosen` is the same on both sides, and blocks do not stay away."""

    encoder, decoder = RunEncoder, RunDecoder

    def __init__(self):
        super().__init__({"valid": In(1), "value": In(BITS), "ready": In(1), "chosen": In(range(MANY))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = self.encoder(BITS, 1, ROW_BEATS, BLOCK)
        m.submodules.decoder = decoder = self.decoder(BITS, 1, ROW_BEATS * ROWS)
        begun = begin(m)
        constant(m, begun, self.chosen)
        for given, taken in zip(encoder.o, decoder.i, strict=True):
            wiring.connect(m, given, taken)
        m.d.comb += [encoder.i.valid.eq(self.valid), encoder.i.payload.data.as_value().eq(self.value),
                     decoder.o.ready.eq(self.ready)]  # fmt: skip
        came, went = encoder.i.valid & encoder.i.ready, decoder.o.valid & decoder.o.ready
        entered, left = counter(m, came, MANY, "entered"), counter(m, went, MANY, "left")
        column, beat = counter(m, came, ROW_BEATS, "column"), counter(m, went, ROW_BEATS * ROWS, "beat")
        waits = Signal(range(MANY))
        kept = Signal(BITS)
        with m.If(came & (entered == self.chosen)):
            m.d.sync += kept.eq(self.value)
        place = column % BLOCK  # beats of a block that is not complete
        m.d.comb += [
            waits.eq(entered - left),
            Assert(~decoder.o.valid | (waits > place)),
            Assert(~(decoder.o.valid & (left == self.chosen)) | (decoder.o.payload.data.as_value() == kept)),
            Assert(~decoder.o.valid | (decoder.o.payload.last == (beat == ROW_BEATS * ROWS - 1))),
            # A whole block is offered at once; without room there is part of a block and the short one behind it at least.
            Assert(decoder.o.valid | (waits == place)),
            Assert(encoder.i.ready | (waits > ROW_BEATS - BLOCK)),
        ]  # fmt: skip
        return m


def verilog(shell, **components):
    return to_verilog(type("Mutant", (shell,), components)(), TOP)


@pytest.mark.parametrize("shell", [EncoderHandshake, DecoderHandshake])
def test_handshake_for_all_time(shell):
    prove(verilog(shell), TOP, depth=3)


def test_nothing_lost_repeated_or_moved():
    prove(verilog(Beats), TOP, mode="bmc", depth=DEPTH)


@pytest.mark.parametrize("old, new", [
    ("full.eq(blocks >= BUFFERS)", "full.eq(0)"),
    ("write.addr.eq(Cat(place, written[0]))", "write.addr.eq(place)"),
    ("Mux(end | ~zero, 0, zeros + 1)", "Mux(~zero, 0, zeros + 1)"),
])  # fmt: skip
def test_encoder_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(Beats, encoder=mutated(RunEncoder, old, new, method="_lane")), TOP, mode="bmc", depth=DEPTH)


@pytest.mark.parametrize("old, new", [
    ("tokens.ready.eq(take & final)", "tokens.ready.eq(take)"),
    ("made.eq(Mux(final, 0, made + 1))", "made.eq(made + 1)"),
])  # fmt: skip
def test_decoder_mutants(old, new):
    with pytest.raises(ProofError, match="does not hold"):
        prove(verilog(Beats, decoder=mutated(RunDecoder, old, new)), TOP, mode="bmc", depth=DEPTH)
