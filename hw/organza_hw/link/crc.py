"""The CRC-32 of frames and of images of weights, which is zlib's."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

BYTE = 8
BITS = 32
POLYNOMIAL = 0xEDB88320  # of bits that come lowest first


class Crc32(wiring.Component):
    """The check sum of bytes, and its own bytes one after the other, so that nobody needs a register or a choice among four for them.

    Throughput: a byte a cycle, or a turn. Latency: a cycle.

    Members
    -------
    start : In(1), begin anew; whatever else there is in this cycle. valid, byte : In, another byte.
    turn : In(1), instead of a byte: to the next byte of the check sum. After four of them all is as it was.

    Attributes
    ----------
    sum : the check sum of the bytes so far, 32 bits; of none it is 0. Its lowest byte is sent first.
    """

    start: Signal
    valid: Signal
    byte: Signal
    turn: Signal

    def __init__(self):
        self.sum = Signal(BITS)
        super().__init__({"start": In(1), "valid": In(1), "byte": In(BYTE), "turn": In(1)})

    def elaborate(self, platform):
        m = Module()
        following = ~self.sum  # what the check sum is the complement of
        for place in range(BYTE):
            feedback, after = Signal(name=f"feedback{place}"), Signal(BITS, name=f"after{place}")
            m.d.comb += [feedback.eq(following[0] ^ self.byte[place]), after.eq((following >> 1) ^ Mux(feedback, POLYNOMIAL, 0))]
            following = after
        with m.If(self.start):
            m.d.sync += self.sum.eq(0)
        with m.Elif(self.valid | self.turn):
            m.d.sync += self.sum.eq(Mux(self.turn, self.sum.rotate_right(BYTE), ~following))
        return m
