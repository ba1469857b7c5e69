"""Frames out of bytes and bytes out of frames; see `organza.link`, which has the same in software."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.checks import check_integer
from organza.link import (
    CRC_BYTES,
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    HEADER_BYTES,
    LENGTH_BYTES,
    MOST,
    Reason,
)
from organza.schedule import ceil_div
from organza_hw.block_ram import block_ram
from organza_hw.lanes.dot import register
from organza_hw.link.crc import BYTE, Crc32
from organza_hw.link.uart import RECEIVED

TEXT_BLOCK = 128  # a text begins at a multiple of so many bytes, so that few bits of an address in it have to be added
CONTENT = data.StructLayout({"byte": BYTE, "last": 1})  # of a frame: header or payload


def frame_layout(length_bits):
    """What is at the head of a frame; `length` is as wide as the longest payload needs."""
    return data.StructLayout({"kind": BYTE, "sequence": BYTE, "length": length_bits})


class FrameReceiver(wiring.Component):
    """The frames among the bytes that come. One is kept, until its payload is no longer needed.

    Latency: a frame is at `frame` two cycles after its last byte, an END; a packet that was no frame is at `damage` as
    soon. Throughput: a byte every cycle. Bytes have no back-pressure: a packet that begins while a frame is kept is
    lost, and is damage with `Reason.BUSY`. One that begins in the cycle of `release` is received.

    Parameters
    ----------
    most : bytes of the longest payload, at least 1. text : constant bytes beside it in the same memory, from the address `text_at` on.

    Members
    -------
    i : In, stream of `RECEIVED` that is always ready.
    frame : Out, stream of `frame_layout` with a length of at most `most`.
    address : In, of a byte of the payload. data : Out(8), the byte at the `address` of `READ_LATENCY` cycles before,
    if the frame was kept then, the cycle of its `release` included; of the text always.
    release : In(1), for one cycle, the one that takes the frame from `frame` or a later one: it is no longer needed.
    Before that, nothing happens.
    damage : Out, stream of `Reason`, one for each packet that was no frame. While one waits, others are lost.
    """

    READ_LATENCY = 2

    i: stream.Interface
    frame: stream.Interface
    address: Signal
    data: Signal
    release: Signal
    damage: stream.Interface

    def __init__(self, most, text=b""):
        check_integer("FrameReceiver most", most, 1, MOST)
        self.most, self.text = most, text
        self.text_at = TEXT_BLOCK * ceil_div(most, TEXT_BLOCK) if text else most
        super().__init__({
            "i": In(stream.Signature(RECEIVED, always_ready=True)),
            "frame": Out(stream.Signature(frame_layout(most.bit_length()))),
            "address": In(range(max(self.text_at + len(text), 2))),
            "data": Out(BYTE),
            "release": In(1),
            "damage": Out(stream.Signature(Reason)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        got = self._unstuffed(m)
        m.submodules.crc = crc = Crc32()
        m.submodules.payload = memory = block_ram(BYTE, self.text_at + len(self.text), [*bytes(self.text_at), *self.text] if self.text else [])
        write, read = memory.write_port(), memory.read_port()
        # What there is of the packet so far: anything, bytes of header, payload and check sum, and a reason or 0.
        begun, head = Signal(), Signal(range(HEADER_BYTES + 1))
        place, tail = Signal(self.most.bit_length()), Signal(range(CRC_BYTES + 1))
        reason, found = Signal(Reason, init=0), Signal(Reason, init=0)  # before this byte, with it
        kept, take, paid, good, behind, wrong = Signal(), Signal(), Signal(), Signal(), Signal(), Signal()
        kind, sequence, length = Signal(BYTE), Signal(BYTE), Signal.like(place)
        m.d.comb += [
            take.eq(got.content & ~kept), paid.eq(place == length), behind.eq((head == HEADER_BYTES) & paid),
            good.eq((reason == 0) & (got.reason == 0) & (tail == CRC_BYTES) & ~wrong),
            # A check sum that comes is compared with the one that is known, byte by byte.
            crc.byte.eq(got.byte), crc.valid.eq(take & ~behind), crc.turn.eq(take & behind), crc.start.eq(got.end),
            # A block RAM takes this register in: its own output comes late in a cycle.
            read.addr.eq(self.address), self.data.eq(register(m, read.data, stages=self.READ_LATENCY - 1, reset=False)),
            write.addr.eq(place), write.data.eq(got.byte),
            self.frame.payload.kind.eq(kind), self.frame.payload.sequence.eq(sequence), self.frame.payload.length.eq(length),
        ]  # fmt: skip
        too_long = self._length(m, got, take, head, length)

        with m.If(reason != 0):
            m.d.comb += found.eq(reason)
        with m.Elif(got.some & kept):
            m.d.comb += found.eq(Reason.BUSY)
        with m.Elif(got.reason != 0):
            m.d.comb += found.eq(got.reason)
        with m.Elif(got.content & (head == HEADER_BYTES - 1) & too_long):
            m.d.comb += found.eq(Reason.TOO_LONG)
        with m.Elif(Mux(got.end, tail != CRC_BYTES, got.content & (tail == CRC_BYTES))):
            m.d.comb += found.eq(Reason.LENGTH)
        with m.Elif(got.end & wrong):
            m.d.comb += found.eq(Reason.CRC)

        # A frame that is kept must not change. What a packet with a reason leaves here is gone with its END.
        with m.If(take):
            with m.If(head != HEADER_BYTES):
                m.d.sync += head.eq(head + 1)
                with m.Switch(head):
                    with m.Case(0):
                        m.d.sync += kind.eq(got.byte)
                    with m.Case(1):
                        m.d.sync += sequence.eq(got.byte)
            with m.Elif(~paid):
                m.d.comb += write.en.eq(1)
                m.d.sync += place.eq(place + 1)
            with m.Else():
                m.d.sync += [tail.eq(tail + 1), wrong.eq(wrong | (got.byte != crc.sum[:BYTE]))]
        m.d.sync += [begun.eq(begun | got.some), reason.eq(found)]
        with m.If(got.end):
            m.d.sync += [begun.eq(0), reason.eq(0), head.eq(0), place.eq(0), tail.eq(0), wrong.eq(0)]

        with m.If(self.frame.ready):
            m.d.sync += self.frame.valid.eq(0)
        with m.If(self.release & (~self.frame.valid | self.frame.ready)):
            m.d.sync += kept.eq(0)
        with m.If(got.end & good):
            m.d.sync += [self.frame.valid.eq(1), kept.eq(1)]
        with m.If(~self.damage.valid | self.damage.ready):
            m.d.sync += [self.damage.valid.eq(got.end & begun & ~good), self.damage.payload.eq(found)]
        return m

    def _length(self, m, got, take, head, length):
        """Take the bytes of the length, as far as a payload can be long; with its last byte, is it longer than that?"""
        beyond, rest = Signal(), Signal()  # something was in the bits that are not kept; is in this byte
        known = Signal.like(length)  # with this byte
        m.d.comb += known.eq(length)
        for number in range(LENGTH_BYTES):
            kept = min(max(len(length) - BYTE * number, 0), BYTE)
            with m.If(head == HEADER_BYTES - LENGTH_BYTES + number):
                m.d.comb += [known[BYTE * number :][:kept].eq(got.byte), rest.eq(got.byte[kept:].any())]
                with m.If(take):
                    m.d.sync += [length[BYTE * number :][:kept].eq(got.byte), beyond.eq((beyond if number else 0) | rest)]
        return beyond | rest | (known > self.most)

    def _unstuffed(self, m):
        """A cycle later, what a byte is: `some` part of a packet, of its content, its end, wrong for a reason."""
        got = Signal(data.StructLayout({"some": 1, "content": 1, "end": 1, "reason": Reason, "byte": BYTE}))
        i, escaped = self.i.payload, Signal()
        byte = i.byte
        m.d.sync += [got.some.eq(0), got.content.eq(0), got.end.eq(0), got.reason.eq(0), got.byte.eq(byte)]
        with m.If(self.i.valid):
            m.d.sync += [escaped.eq(0), got.some.eq(1)]
            with m.If(i.broken):
                m.d.sync += got.reason.eq(Reason.LINE)
            with m.Elif(byte == END):
                m.d.sync += [got.end.eq(1), got.some.eq(0)]
                with m.If(escaped):
                    m.d.sync += got.reason.eq(Reason.ESCAPE)
            with m.Elif(escaped):
                with m.Switch(byte):
                    with m.Case(ESC_END):
                        m.d.sync += [got.content.eq(1), got.byte.eq(END)]
                    with m.Case(ESC_ESC):
                        m.d.sync += [got.content.eq(1), got.byte.eq(ESC)]
                    with m.Default():
                        m.d.sync += got.reason.eq(Reason.ESCAPE)
            with m.Elif(byte == ESC):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += got.content.eq(1)
        return got


class FrameTransmitter(wiring.Component):
    """Frames to bytes on the wire, END to END.

    Latency: the first END is at `o` in the cycle after the first byte of a frame was offered. Throughput: a byte of the wire every
    cycle, from frame to frame too. Full back-pressure.

    Members
    -------
    i : In, stream of `CONTENT`, all of a frame but its check sum. o : Out, stream of bytes.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(CONTENT)), "o": Out(stream.Signature(BYTE))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = Crc32()
        # A byte of the content, or an END that is one; a byte that means something on the wire is taken as the second of two.
        there, mark, byte, special, second, take = Signal(), Signal(), Signal(BYTE), Signal(), Signal(), Signal()
        number = Signal(range(CRC_BYTES))  # of the byte of the check sum
        move = ~self.o.valid | self.o.ready
        m.d.comb += [
            take.eq(there & move & (mark | second | ~special)), special.eq((byte == END) | (byte == ESC)),
            crc.byte.eq(self.i.payload.byte), byte.eq(self.i.payload.byte),
        ]  # fmt: skip
        with m.FSM():
            with m.State("BEGIN"):
                m.d.comb += [there.eq(self.i.valid), mark.eq(1), crc.start.eq(1)]
                with m.If(take):
                    m.next = "CONTENT"
            with m.State("CONTENT"):
                m.d.comb += [there.eq(self.i.valid), self.i.ready.eq(take), crc.valid.eq(take)]
                with m.If(take & self.i.payload.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [there.eq(1), byte.eq(crc.sum[:BYTE]), crc.turn.eq(take)]
                with m.If(take):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == CRC_BYTES - 1):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [there.eq(1), mark.eq(1)]
                with m.If(take):
                    m.next = "BEGIN"
        with m.If(move):
            m.d.sync += [self.o.valid.eq(there), self.o.payload.eq(byte), second.eq(there & ~mark & special & ~second)]
            with m.If(mark):
                m.d.sync += self.o.payload.eq(END)
            with m.Elif(special):
                m.d.sync += self.o.payload.eq(Mux(~second, ESC, Mux(byte == END, ESC_END, ESC_ESC)))
        return m
