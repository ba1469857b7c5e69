"""Answers a host's requests with what the accelerator makes; see `organza.host_protocol`."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from organza.host_protocol import (
    COUNT_BYTES,
    CYCLE_BYTES,
    IDENTITY_BYTES,
    LOAD_CHUNK,
    LOADED_BYTES,
    MEASURED_BYTES,
    OFFSET_BYTES,
    RUN_BYTES,
    STATE_BYTES,
    STATUS_BYTES,
    Kind,
    Refusal,
)
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.link.beat_bytes import BeatPacker, BeatUnpacker
from organza_hw.link.frames import BYTE, FrameReceiver, FrameTransmitter
from organza_hw.link.latents import Latents
from organza_hw.loading.loader import LOAD_PORTS, WeightLoader

STATES = {
    Kind.HELLO: "HELLO", Kind.IMAGE: "IMAGE", Kind.LATENTS: "RUN", Kind.MEASURE: "RUN", Kind.LOAD: "LOAD", Kind.WEIGHTS: "WEIGHTS",
}  # fmt: skip
NEEDS_WEIGHTS = (Kind.IMAGE, Kind.LATENTS, Kind.MEASURE)
VERDICT = WeightLoader.VERDICT + 2  # cycles from the last byte of an image to what the accelerator says of it


class Host(wiring.Component):
    """Bytes from and to a host on one side, an accelerator on the other.

    One request at a time; another can wait, and one that comes while the input of an image is still needed is damage with
    `Reason.BUSY`. Inputs are fed while outputs leave, so that no accelerator waits for ever. Replies have full back-pressure.

    Parameters
    ----------
    identity : `Identity`. formats : of input and output. beats : integers of a beat of the input and the output joint.

    Members
    -------
    received : In, stream of `RECEIVED`, always ready. sent : Out, stream of bytes.
    i : Out, stream of `joint_signature`, to the accelerator. o : In, from it. error : In(32), its error bits, others 0.
    load, loaded, refusal, image : to and from the `load` ports of an accelerator whose weights are loaded, and only then.
    loading : In(1), something else uses `load`; also only then.
    """

    received: stream.Interface
    sent: stream.Interface
    i: stream.Interface
    o: stream.Interface
    error: Signal
    load: stream.Interface
    loaded: Signal
    refusal: Signal
    image: Signal
    loading: Signal

    def __init__(self, identity, *, formats, beats):
        self.identity, self.formats = identity, formats
        shapes = [wire_shape(form) for form in formats]
        self.receiver = FrameReceiver(identity.longest_request)
        self.packer = BeatPacker(identity.input_shape, shapes[0], beats[0])
        self.unpacker = BeatUnpacker(identity.output_shape, shapes[1], beats[1])
        super().__init__({
            "received": In(self.receiver.i.signature.flip()), "sent": Out(stream.Signature(BYTE)),
            "i": Out(joint_signature(shapes[0], beats[0])), "o": In(joint_signature(shapes[1], beats[1])),
            "error": In(BYTE * STATUS_BYTES),
            **({**{name: port.flip() for name, port in LOAD_PORTS.items()}, "loading": In(1)} if identity.loads else {}),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.transmitter = transmitter = FrameTransmitter()
        m.submodules.packer, m.submodules.unpacker = packer, unpacker = self.packer, self.unpacker
        m.submodules.latents = latents = Latents(self.formats[0])
        wiring.connect(m, wiring.flipped(self.received), receiver.i)
        wiring.connect(m, transmitter.o, wiring.flipped(self.sent))
        wiring.connect(m, packer.o, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), unpacker.i)

        kind, sequence = Signal(BYTE), Signal(BYTE)
        place = Signal(range(max(receiver.most, IDENTITY_BYTES + STATUS_BYTES, MEASURED_BYTES, LOADED_BYTES)))  # of a byte of a frame
        images, reason = Signal(BYTE * COUNT_BYTES), Signal(BYTE)  # images that are not yet sent or measured; why not
        feed, fed = Signal(), Signal(BYTE * COUNT_BYTES)  # begin with inputs; of so many
        reply, length = Signal(BYTE), Signal.like(transmitter.frame.payload.length)
        m.d.comb += [
            transmitter.frame.payload.kind.eq(reply), transmitter.frame.payload.sequence.eq(sequence),
            transmitter.frame.payload.length.eq(length),
        ]  # fmt: skip
        begin = Signal()  # of a run
        measured = self._measure(m, begin, images)
        fed_all = self._feed(m, feed, fed, kind == Kind.IMAGE)
        status = [self.error.word_select(k, BYTE) for k in range(STATUS_BYTES)]
        text = Array([*(Const(byte, BYTE) for byte in self.identity.pack()), *status])
        taken = Signal(BYTE * (OFFSET_BYTES - 1))  # chunks of an image of weights that came
        state_bytes = self._state(taken) if self.identity.loads else Const(0, BYTE * LOADED_BYTES)
        step, run, nothing = Signal(range(RUN_BYTES + receiver.READ_LATENCY + 1)), Signal(BYTE * RUN_BYTES), Signal()
        state, count = run[: BYTE * STATE_BYTES], run[BYTE * STATE_BYTES :]
        request = receiver.frame.payload

        def send(name, number, *more):
            return [reply.eq(name), length.eq(number), place.eq(0), *more]

        # A byte every other cycle, far more than the line takes: between registers, so that neither side adds to the other's cycle.
        body = transmitter.payload
        with m.If(body.ready):
            m.d.sync += body.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += receiver.damage.ready.eq(1)
                m.d.sync += place.eq(0)
                with m.If(receiver.damage.valid):
                    m.d.sync += send(Kind.DAMAGE, 1, sequence.eq(0), reason.eq(receiver.damage.payload))
                    m.next = "HEAD"
                # An output can be complete before all of its input has been taken.
                with m.Elif(receiver.frame.valid & fed_all):
                    m.d.comb += receiver.frame.ready.eq(1)
                    m.d.sync += [kind.eq(request.kind), sequence.eq(request.sequence)]
                    m.d.sync += send(Kind.DAMAGE, 1, reason.eq(Refusal.KIND))
                    m.next = "REFUSE"
                    with m.Switch(request.kind):
                        for number, size in self.identity.requests.items():
                            with m.Case(number):
                                m.d.sync += reason.eq(Refusal.SIZE)
                                with m.If(request.length == size):
                                    m.next = STATES[number]
                                    if self.identity.loads and number in NEEDS_WEIGHTS:
                                        with m.If(~self.loaded):
                                            m.d.sync += reason.eq(Refusal.UNLOADED)
                                            m.next = "REFUSE"
            with m.State("REFUSE"):
                m.d.comb += receiver.release.eq(1)
                m.next = "HEAD"
            with m.State("HELLO"):
                m.d.comb += receiver.release.eq(1)
                m.d.sync += send(Kind.IDENTITY, IDENTITY_BYTES + STATUS_BYTES)
                m.next = "HEAD"
            with m.State("IMAGE"):
                m.d.comb += [feed.eq(1), fed.eq(1)]
                m.d.sync += send(Kind.PIXELS, self.identity.output_size, images.eq(1))
                m.next = "HEAD"
            if self.identity.loads:
                self._load(m, receiver, taken, reason, send)
            with m.State("RUN"):
                # State and images, one byte after the other.
                m.d.comb += receiver.address.eq(step)
                m.d.sync += step.eq(step + 1)
                with m.If(step != RUN_BYTES + receiver.READ_LATENCY):
                    m.d.sync += run.eq(Cat(run[BYTE:], receiver.data))
                with m.Else():
                    m.d.comb += receiver.release.eq(1)
                    m.d.sync += [step.eq(0), images.eq(count), nothing.eq((count == 0) | (state == 0))]
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += [latents.state.eq(state), fed.eq(count)]
                m.next = "HEAD"
                with m.If(nothing):
                    m.d.sync += send(Kind.DAMAGE, 1, reason.eq(Refusal.SIZE))
                with m.Else():
                    m.d.comb += [latents.load.eq(1), feed.eq(1), begin.eq(1)]
                    m.d.sync += send(Kind.PIXELS, self.identity.output_size)
                    with m.If(kind == Kind.MEASURE):
                        m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.comb += unpacker.o.ready.eq(1)
                with m.If(unpacker.o.valid & unpacker.end):
                    m.d.sync += images.eq(images - 1)
                    with m.If(images == 1):
                        m.next = "MEASURED"
            with m.State("MEASURED"):
                m.d.sync += send(Kind.MEASURED, MEASURED_BYTES)
                m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += transmitter.frame.valid.eq(1)
                with m.If(transmitter.frame.ready):
                    m.next = "BODY"
            with m.State("BODY"):
                some, octet = Signal(), Signal(BYTE)
                m.d.comb += some.eq(1)
                with m.Switch(reply):
                    with m.Case(Kind.IDENTITY):
                        m.d.comb += octet.eq(text[place])
                    with m.Case(Kind.PIXELS):
                        m.d.comb += [some.eq(unpacker.o.valid), octet.eq(unpacker.o.payload), unpacker.o.ready.eq(~body.valid)]
                    with m.Case(Kind.MEASURED):
                        m.d.comb += octet.eq(measured.word_select(place, BYTE))
                    if self.identity.loads:
                        with m.Case(Kind.LOADED):
                            m.d.comb += octet.eq(state_bytes.word_select(place, BYTE))
                    with m.Default():
                        m.d.comb += octet.eq(reason)
                with m.If(some & ~body.valid):
                    m.d.sync += [body.valid.eq(1), body.payload.eq(octet), place.eq(place + 1), length.eq(length - 1)]
                    with m.If(length == 1):
                        m.next = "IDLE"
                        with m.If(reply == Kind.PIXELS):
                            m.d.sync += [images.eq(images - 1), length.eq(self.identity.output_size)]
                            with m.If(images != 1):
                                m.next = "HEAD"
        return m

    def _state(self, taken):
        """Payload of LOADED."""
        flags = [Cat(flag, Const(0, BYTE - len(flag))) for flag in (Cat(self.loaded, self.loading), self.refusal)]
        return Cat(*flags, Const(0, BYTE), taken, Const(0, BYTE), self.image)

    def _load(self, m, receiver, taken, reason, send):
        """States of LOAD and WEIGHTS; `taken` chunks of an image have been."""
        count = OFFSET_BYTES + LOAD_CHUNK
        place, wait, offset = Signal(range(count)), Signal(range(VERDICT)), Signal(BYTE * OFFSET_BYTES)
        latest, number = Signal.like(taken), offset[BYTE:]  # of the chunk that came last, of the one that comes
        begins, follows, again = Signal(), Signal(), Signal()
        assert LOAD_CHUNK == 1 << BYTE
        with m.State("LOAD"):
            m.d.comb += receiver.address.eq(place)
            # The offset, byte by byte; each is there some cycles after its address.
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == receiver.READ_LATENCY):
                m.d.sync += [wait.eq(0), place.eq(place + 1), offset.eq(Cat(offset, receiver.data)[BYTE:])]
                with m.If(place == OFFSET_BYTES - 1):
                    m.next = "OFFSET"
        with m.State("OFFSET"):
            whole = offset[:BYTE] == 0
            m.d.sync += [
                wait.eq(0), begins.eq(offset == 0), follows.eq(whole & (number == taken)), again.eq(whole & (number == latest)),
            ]  # fmt: skip
            m.next = "ORDER"
        with m.State("ORDER"):
            with m.If(self.loading):
                m.d.sync += [place.eq(0), *send(Kind.DAMAGE, 1, reason.eq(Refusal.LOADING))]
                m.next = "REFUSE"
            with m.Elif(begins | follows):
                m.d.sync += [latest.eq(number), taken.eq(number + 1)]
                m.next = "CHUNK"
            with m.Elif(again):
                m.next = "WEIGHTS"
            with m.Else():
                m.d.sync += [place.eq(0), *send(Kind.DAMAGE, 1, reason.eq(Refusal.OFFSET))]
                m.next = "REFUSE"
        with m.State("CHUNK"):
            m.d.comb += [
                receiver.address.eq(place), self.load.valid.eq(wait == receiver.READ_LATENCY), self.load.payload.byte.eq(receiver.data),
                self.load.payload.first.eq(begins & (place == OFFSET_BYTES)),
            ]  # fmt: skip
            with m.If(~self.load.valid):
                m.d.sync += wait.eq(wait + 1)
            with m.Elif(self.load.ready):
                m.d.sync += [wait.eq(0), place.eq(place + 1)]
                with m.If(place == count - 1):
                    m.next = "WEIGHTS"
        with m.State("WEIGHTS"):
            # What the accelerator says of the last byte takes it some cycles.
            m.d.sync += [place.eq(0), wait.eq(wait + 1)]
            with m.If(wait == VERDICT - 1):
                m.d.comb += receiver.release.eq(1)
                m.d.sync += [wait.eq(0), *send(Kind.LOADED, LOADED_BYTES)]
                m.next = "HEAD"

    def _feed(self, m, begin, images, stored):
        """From `begin` on, bytes of inputs to the packer: those of a frame, which is released then, or of so many `images`.

        Whether there is nothing left to feed.
        """
        receiver, packer, latents = self.receiver, self.packer, m.submodules.latents
        place, left = Signal(range(self.identity.input_size)), Signal.like(images)
        wait = Signal(range(receiver.READ_LATENCY + 1))
        m.d.comb += receiver.address.eq(place)
        done = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += done.eq(1)
                with m.If(begin):
                    m.d.sync += [left.eq(images), place.eq(0), wait.eq(receiver.READ_LATENCY)]
                    m.next = "FEED"
            with m.State("FEED"):
                with m.If(stored):
                    # A byte of a frame is there some cycles after its address.
                    m.d.comb += [packer.i.valid.eq(wait == 0), packer.i.payload.eq(receiver.data)]
                with m.Else():
                    m.d.comb += [
                        packer.i.valid.eq(latents.o.valid), packer.i.payload.eq(latents.o.payload), latents.o.ready.eq(packer.i.ready),
                    ]  # fmt: skip
                m.d.sync += wait.eq(Mux(wait == 0, 0, wait - 1))
                with m.If(packer.i.valid & packer.i.ready):
                    m.d.sync += [place.eq(place + 1), wait.eq(receiver.READ_LATENCY)]
                    with m.If(place == self.identity.input_size - 1):
                        m.d.sync += [place.eq(0), left.eq(left - 1)]
                        with m.If(left == 1):
                            m.d.comb += receiver.release.eq(stored)
                            m.next = "IDLE"
        return done

    def _measure(self, m, begin, images):
        """Cycles from the first input beat behind `begin` to the last output beat, and the check sum of all bytes of outputs."""
        cycles, running, waiting, left = Signal(BYTE * CYCLE_BYTES), Signal(), Signal(), Signal.like(images)
        crc: Any = catalog.CRC32_ISO_HDLC().create()
        m.submodules.crc = crc
        octets = self.unpacker.o
        m.d.comb += [crc.start.eq(begin), crc.data.eq(octets.payload), crc.valid.eq(octets.valid & octets.ready)]
        with m.If(begin):
            m.d.sync += [waiting.eq(1), cycles.eq(0)]
        with m.If(waiting & self.i.valid & self.i.ready):
            m.d.sync += [waiting.eq(0), running.eq(1), left.eq(images)]
        with m.If(running):
            m.d.sync += cycles.eq(cycles + 1)
            with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.d.sync += running.eq(0)
        return Cat(cycles, crc.crc)
