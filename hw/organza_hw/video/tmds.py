"""TMDS: ten bits on a line for eight of a pixel, or for two of control where nothing is seen.

Digital Visual Interface 1.0 (DDWG, 1999), section 3.2: a byte becomes nine bits with few transitions, a chain of XORs or XNORs and
which of them; then its eight are sent as they are or inverted, whichever keeps ones and zeros of all that was sent in balance.
"""

from functools import reduce
from operator import xor

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

BYTE, SYMBOL = 8, 10
# For control bits 0 to 3 (hsync is the lower on the first channel), bit 0 first on the line.
CONTROLS = (0b1101010100, 0b0010101011, 0b0101010100, 0b1010101011)


class TmdsEncoder(wiring.Component):
    """Symbols of one channel.

    Latency `LATENCY` cycles, one symbol a cycle, no back-pressure: a screen does not wait.

    Members
    -------
    seen : In(1), a byte of a pixel rather than control bits. byte : In(8). control : In(2).
    symbol : Out(10), bit 0 first on the line.
    """

    LATENCY = 2

    seen: Signal
    byte: Signal
    control: Signal
    symbol: Signal

    def __init__(self):
        super().__init__({
            "seen": In(1), "byte": In(BYTE), "control": In(2),
            "symbol": Out(SYMBOL, init=CONTROLS[0]),  # pyright: ignore[reportCallIssue] (the stubs know no init)
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        # Few transitions. A chain of XNORs is one of XORs with every other bit inverted.
        ones = sum(self.byte)
        xnor = (ones > BYTE // 2) | ((ones == BYTE // 2) & ~self.byte[0])
        chain = [reduce(xor, self.byte[: k + 1]) ^ (xnor if k % 2 else 0) for k in range(BYTE)]
        bits, xored, seen, control = Signal(BYTE), Signal(), Signal(), Signal(2)
        m.d.sync += [bits.eq(Cat(chain)), xored.eq(~xnor), seen.eq(self.seen), control.eq(self.control)]

        # Balance. Both count ones less zeros: `extra` in these eight bits, `sent` in all symbols since the last control.
        extra, sent = Signal(signed(5)), Signal(signed(5))
        inverted = Signal()
        same = (extra < 0) == (sent < 0)
        m.d.comb += [
            extra.eq(2 * sum(bits) - BYTE),
            inverted.eq(Mux((sent == 0) | (extra == 0), ~xored, same)),
        ]
        with m.If(seen):
            m.d.sync += [
                self.symbol.eq(Cat(bits ^ inverted.replicate(BYTE), xored, inverted)),
                sent.eq(sent + Mux(inverted, -extra, extra) + (xored + inverted - 1) * 2),
            ]
        with m.Else():
            m.d.sync += [self.symbol.eq(Array(CONTROLS)[control]), sent.eq(0)]
        return m
