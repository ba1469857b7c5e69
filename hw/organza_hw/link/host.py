"""Answers a host's requests with what the accelerator makes; see `organza.host_protocol`."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.host_protocol import (
    COUNT_BYTES,
    CYCLE_BYTES,
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
from organza.link import HEADER_BYTES
from organza_hw.formats import wire_shape
from organza_hw.joint import joint_signature
from organza_hw.link.beat_bytes import BeatPacker, BeatUnpacker
from organza_hw.link.counters import count_up, countdown, long_count_up
from organza_hw.link.crc import BYTE, Crc32
from organza_hw.link.frames import TEXT_BLOCK, FrameReceiver, FrameTransmitter
from organza_hw.link.latents import Latents
from organza_hw.link.replies import BLOCK, TEXT_BYTES, Reply, reply_text
from organza_hw.loading.loader import LOAD_PORTS, WeightLoader

NEEDS_WEIGHTS = (Kind.IMAGE, Kind.LATENTS, Kind.MEASURE)
PERIOD = FrameReceiver.READ_LATENCY + 1  # cycles of a byte that is read
REASON_BITS, REFUSAL = 3, 1 << 6  # a reason is a small number, and a refusal's such a bit more


class Host(wiring.Component):
    """Bytes from and to a host on one side, an accelerator on the other.

    One request at a time; another can wait, and one that comes while the input of an image is still needed is damage with
    `Reason.BUSY`. Inputs are fed while outputs leave, so that no accelerator waits for ever; that of a frame when the reply's header has
    left. Replies have full back-pressure. Throughput: pixels a byte every other cycle, other bytes each in `PERIOD` cycles, far more than the
    line takes.

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
        self.receiver = FrameReceiver(identity.longest_request, reply_text(identity))
        self.transmitter, self.latents, self.crc = FrameTransmitter(), Latents(formats[0]), Crc32()
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
        for name in ("receiver", "transmitter", "latents", "crc", "packer", "unpacker"):
            m.submodules[name] = getattr(self, name)
        receiver, latents, unpacker = self.receiver, self.latents, self.unpacker
        wiring.connect(m, wiring.flipped(self.received), receiver.i)
        wiring.connect(m, self.transmitter.o, wiring.flipped(self.sent))
        wiring.connect(m, self.packer.o, wiring.flipped(self.i))
        wiring.connect(m, wiring.flipped(self.o), unpacker.i)

        reply, sequence, stored = Signal(Reply), Signal(BYTE), Signal()  # stored: the frame that is kept has an input to feed
        reason = Signal(REASON_BITS + 1)  # its lowest bits, and whether it is a refusal
        some = Signal()  # a byte of a number was not 0
        self._feeds, self._fed = Signal(), Signal()  # a byte of a frame was fed; all of it
        place, come, ahead, anew, text = self._reader(m, reply)
        octet, request = receiver.data, receiver.frame.payload
        begin, feed, count = Signal(), Signal(), Signal()  # a run or an image, and its inputs; a byte of the number of images is there
        # In the cycle behind `begin`, because a counter is long: one image, or as many as were asked for, of which the first begins.
        one, many = Signal(), Signal()
        m.d.sync += [one.eq(begin & stored), many.eq(begin & ~stored)]
        feeding = self._feed(m, come, one, many, feed, count, stored)
        output, ended = Signal(), Signal()  # the last beat of an output came; of the last one
        more = countdown(m, BYTE * COUNT_BYTES, clear=one, load=count, byte=octet, step=many | output)
        m.d.sync += output.eq(self.o.valid & self.o.ready & self.o.payload.last)
        with m.If(one | many | output):
            m.d.sync += ended.eq(~more & ~one)
        measured, turn = self._measure(m, begin, ended)
        chunk = self._chunks(m) if self.identity.loads else ()
        m.d.comb += [latents.byte.eq(octet), latents.draw.eq(feeding)]

        def answer(name, why=None):
            m.next = "SEND"
            return [reply.eq(name), *([] if why is None else [reason.eq(Cat(Const(why % REFUSAL, REASON_BITS), why >= REFUSAL))])]

        m.d.sync += count.eq(0)
        # Between registers, so that neither side adds to the other's cycle.
        body, free, release = self.transmitter.i, Signal(), Signal()
        m.d.comb += [free.eq(~body.valid), receiver.release.eq(release | self._fed)]
        with m.If(body.ready):
            m.d.sync += body.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                # An output can be complete before all of its input has been taken.
                with m.If(~feeding):
                    m.d.comb += [anew.eq(1), receiver.damage.ready.eq(1)]
                    m.d.sync += [some.eq(0), sequence.eq(request.sequence)]
                    with m.If(receiver.damage.valid):
                        m.d.sync += [*answer(Reply.DAMAGE), sequence.eq(0), reason.eq(receiver.damage.payload)]
                    with m.Elif(receiver.frame.valid):
                        m.d.comb += receiver.frame.ready.eq(1)
                        self._choose(m, request, stored, answer)
            with m.State("IMAGE"):
                m.d.comb += begin.eq(1)
                m.d.sync += answer(Reply.PIXELS)
            with m.State("RUN"):
                # State and images, one byte after the other.
                m.d.comb += [ahead.eq(come), latents.load.eq(come & (place < STATE_BYTES))]
                m.d.sync += count.eq(come & (place >= STATE_BYTES))  # a cycle later the byte is still there
                with m.If(latents.load):
                    m.d.sync += some.eq(some | octet.any())
                with m.If(come & (place == RUN_BYTES - 1)):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += begin.eq(1)
                m.next = "BEGUN"
            with m.State("BEGUN"):
                m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += release.eq(1)
                with m.If(ended | ~some):
                    m.d.sync += answer(Reply.DAMAGE, Refusal.SIZE)
                with m.Else():
                    m.d.comb += feed.eq(1)
                    m.d.sync += answer(Reply.PIXELS)
                    with m.If(request.kind == Kind.MEASURE):
                        m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.comb += unpacker.o.ready.eq(1)
                with m.If(ended & ~unpacker.o.valid):
                    m.d.sync += answer(Reply.MEASURED)
            if self.identity.loads:
                self._load(m, come, ahead, some, chunk, answer)
            with m.State("SEND"):
                m.d.comb += [text.eq(1), release.eq(~stored)]
                m.next = "KIND"
            with m.State("KIND"), m.If(come & free):
                m.d.comb += ahead.eq(1)
                m.d.sync += [body.valid.eq(1), body.payload.byte.eq(octet), body.payload.last.eq(0)]
                m.next = "SEQUENCE"
            with m.State("SEQUENCE"), m.If(come & free):
                m.d.comb += ahead.eq(1)
                m.d.sync += [body.valid.eq(1), body.payload.byte.eq(sequence)]
                m.next = "TEXT"
            with m.State("TEXT"), m.If(come & free):
                m.d.comb += ahead.eq(1)
                m.d.sync += [body.valid.eq(1), body.payload.byte.eq(octet)]
                with m.If(self._text_end(place, reply)):
                    m.d.comb += [anew.eq(1), feed.eq(stored)]
                    m.next = "BODY"
            with m.State("BODY"):
                there, byte, last, go = Signal(), Signal(BYTE), Signal(), Signal()
                m.d.comb += [there.eq(come), go.eq(there & free)]
                with m.Switch(reply):
                    with m.Case(Reply.PIXELS):
                        m.d.comb += [there.eq(unpacker.o.valid), byte.eq(unpacker.o.payload), last.eq(unpacker.end), unpacker.o.ready.eq(free)]
                    with m.Case(Reply.MEASURED):
                        m.d.comb += [byte.eq(measured), last.eq(place == MEASURED_BYTES - 1), turn.eq(go)]
                    with m.Case(Reply.IDENTITY):
                        m.d.comb += [byte.eq(self.error.word_select(place[:2], BYTE)), last.eq(place == STATUS_BYTES - 1)]
                    if self.identity.loads:
                        with m.Case(Reply.LOADED):
                            m.d.comb += [byte.eq(self._state(place, *chunk)), last.eq(place == LOADED_BYTES - 1)]
                    with m.Default():
                        m.d.comb += [byte.eq(reason[:-1] | (reason[-1] << 6)), last.eq(1)]
                with m.If(go):
                    m.d.comb += ahead.eq(reply != Reply.PIXELS)
                    m.d.sync += [body.valid.eq(1), body.payload.byte.eq(byte), body.payload.last.eq(last)]
                    with m.If(last):
                        m.next = "NEXT"
            with m.State("NEXT"):
                m.next = "IDLE"
                with m.If((reply == Reply.PIXELS) & ~ended):
                    m.next = "SEND"
        return m

    def _reader(self, m, reply):
        """One byte of a frame or of a reply's text is read at a time, for whoever wants one: its place, whether it is there, to the next,
        to the first of the frame, to the reply's text."""
        receiver = self.receiver
        place, wait = Signal.like(receiver.address), Signal(range(PERIOD))
        come, ahead, anew, text = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [receiver.address.eq(place), come.eq(wait == PERIOD - 1)]
        m.d.sync += wait.eq(Mux(come, wait, wait + 1))
        with m.If(text | anew | ahead | self._feeds):
            m.d.sync += wait.eq(0)
        with m.If(text):
            m.d.sync += place.eq(receiver.text_at | (reply << (BLOCK - 1).bit_length()))
        with m.Elif(anew):
            m.d.sync += place.eq(0)
        with m.Elif(ahead | self._feeds):
            m.d.sync += place.eq(place + 1)
        return place, come, ahead, anew, text

    @staticmethod
    def _text_end(place, reply):
        """Is it the place of the last byte of a reply's text?"""
        long = BLOCK * Reply.IDENTITY + TEXT_BYTES[Reply.IDENTITY] - 1
        offset = place[: (TEXT_BLOCK - 1).bit_length()]
        return Mux(reply == Reply.IDENTITY, offset == long, offset[: (BLOCK - 1).bit_length()] == HEADER_BYTES - 1)

    def _choose(self, m, request, stored, answer):
        """What becomes of a request."""
        m.d.sync += answer(Reply.DAMAGE, Refusal.KIND)
        with m.Switch(request.kind):
            for kind, size in self.identity.requests.items():
                with m.Case(kind):
                    m.d.sync += answer(Reply.DAMAGE, Refusal.SIZE)
                    with m.If(request.length == size):
                        if kind == Kind.HELLO:
                            m.d.sync += answer(Reply.IDENTITY)
                        elif kind == Kind.WEIGHTS:
                            m.d.sync += answer(Reply.LOADED)
                        elif kind == Kind.LOAD:
                            m.next = "LOAD"
                        elif kind == Kind.IMAGE:
                            m.d.sync += stored.eq(1)
                            m.next = "IMAGE"
                        else:
                            m.next = "RUN"
                        if self.identity.loads and kind in NEEDS_WEIGHTS:
                            with m.If(~self.loaded):
                                m.d.sync += [stored.eq(0), *answer(Reply.DAMAGE, Refusal.UNLOADED)]

    def _state(self, place, number, shift, step, taken, equal):
        """Byte of LOADED at a place."""
        flags = [Cat(flag, Const(0, BYTE - len(flag))) for flag in (Cat(self.loaded, self.loading), self.refusal)]
        return Cat(*flags, Const(0, BYTE), taken, Const(0, 3 * BYTE - len(taken)), self.image).word_select(place[: (LOADED_BYTES - 1).bit_length()], BYTE)

    def _chunks(self, m):
        """The number of the chunk that comes: the next byte of it, one more, and is it how many chunks of the image have come, also."""
        shift, step, taken, equal = Signal(), Signal(), Signal(BYTE * (OFFSET_BYTES - 1)), Signal()
        number, _ = count_up(m, len(taken), load=shift, byte=self.receiver.data, step=step)
        m.d.sync += equal.eq(number == taken)
        return number, shift, step, taken, equal

    def _load(self, m, come, ahead, some, chunk, answer):
        """States of LOAD."""
        place, octet = self.receiver.address, self.receiver.data
        number, shift, step, taken, equal = chunk
        odd, begun = Signal(), Signal()  # the offset is within a chunk; some image has begun
        assert LOAD_CHUNK == 1 << BYTE and HEADER_BYTES * PERIOD > WeightLoader.VERDICT + 2  # the loader has judged when a reply tells it
        with m.State("LOAD"):
            m.d.comb += [shift.eq(come), ahead.eq(come)]
            with m.If(come):
                m.d.sync += some.eq(some | octet.any())
                with m.If(place == 0):
                    m.d.sync += odd.eq(octet.any())
                with m.If(place == OFFSET_BYTES - 1):
                    m.next = "ORDER"
        with m.State("ORDER"):
            m.d.comb += step.eq(1)
            m.next = "FOLLOWS"
        with m.State("FOLLOWS"):
            m.next = "AGAIN"
            with m.If(self.loading):
                m.d.sync += answer(Reply.DAMAGE, Refusal.LOADING)
            with m.Elif(~some | (equal & ~odd)):
                m.d.sync += [taken.eq(number), begun.eq(1)]
                m.next = "CHUNK"
        with m.State("AGAIN"):
            m.d.sync += answer(Reply.DAMAGE, Refusal.OFFSET)
            with m.If(equal & ~odd & begun):
                m.d.sync += answer(Reply.LOADED)
        with m.State("CHUNK"):
            m.d.comb += [
                self.load.valid.eq(come), self.load.payload.byte.eq(octet), self.load.payload.first.eq(~some & (place == OFFSET_BYTES)),
            ]  # fmt: skip
            with m.If(come & self.load.ready):
                m.d.comb += ahead.eq(1)
                with m.If(place == OFFSET_BYTES + LOAD_CHUNK - 1):
                    m.d.sync += answer(Reply.LOADED)

    def _feed(self, m, come, one, many, feed, count, stored):
        """From `feed` on, bytes of inputs to the packer: those of a frame, which is released then, or those that are drawn, for so many images.

        Whether there is something left to feed.
        """
        receiver, packer, latents = self.receiver, self.packer, self.latents
        feeding, step, last = Signal(), Signal(), Signal()
        more = countdown(m, BYTE * COUNT_BYTES, clear=one, load=count, byte=receiver.data, step=many | step)
        m.d.comb += feeding.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += feeding.eq(0)
                with m.If(feed):
                    m.next = "INPUT"
            with m.State("INPUT"):
                with m.If(stored):
                    m.d.comb += [
                        packer.i.valid.eq(come), packer.i.payload.eq(receiver.data), self._feeds.eq(packer.i.valid & packer.i.ready),
                    ]  # fmt: skip
                with m.Else():
                    m.d.comb += [
                        packer.i.valid.eq(latents.o.valid), packer.i.payload.eq(latents.o.payload), latents.o.ready.eq(packer.i.ready),
                    ]  # fmt: skip
                with m.If(packer.i.valid & packer.i.ready & packer.end):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.comb += step.eq(1)
                m.d.sync += last.eq(~more)
                m.next = "MORE"
            with m.State("MORE"):
                m.next = "INPUT"
                with m.If(last):
                    m.d.comb += self._fed.eq(stored)
                    m.d.sync += stored.eq(0)
                    m.next = "IDLE"
        return feeding

    def _measure(self, m, begin, ended):
        """Cycles from the first input beat behind `begin` to the last output beat, and the check sum of all bytes of outputs: the byte to
        send next, and what moves to the one behind it."""
        turn, place, octets = Signal(), self.receiver.address, self.unpacker.o
        # As late as the last output is known.
        came, started = Signal(), Signal()
        m.d.sync += [came.eq(self.i.valid & self.i.ready), started.eq(~begin & (started | came))]
        high = place >= CYCLE_BYTES
        shift = Signal()
        m.d.sync += shift.eq(turn & ~high)
        cycles = long_count_up(m, BYTE * CYCLE_BYTES, load=shift, step=started & ~ended, clear=begin)
        m.d.comb += [
            self.crc.start.eq(begin), self.crc.byte.eq(octets.payload), self.crc.valid.eq(octets.valid & octets.ready),
            self.crc.turn.eq(turn & high),
        ]  # fmt: skip
        return Mux(high, self.crc.sum[:BYTE], cycles[:BYTE]), turn
