"""xxHash32 of 8 bytes as a pipeline: one key a cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes.xxhash import MASK, PRIMES, xxh32
from organza_hw.lanes.dot import register
from organza_hw.multiply import multiply, multiply_latency

BITS = 32
PRODUCT_LATENCY = multiply_latency(unsigned(BITS), unsigned(BITS), bits=BITS)


class HashPairs(wiring.Component):
    """xxHash32 of two 32-bit numbers, little endian, the same as `compute`.

    Throughput one key a cycle in which `enable` is set, latency `LATENCY` such cycles.

    Parameters
    ----------
    seed : 0…2**32 - 1. instances : may use cells that only Verilog knows.

    Members
    -------
    enable : In(1), all registers go on. first, second : In(32), the key. hash : Out(32).
    """

    LATENCY = 5 * PRODUCT_LATENCY + 2

    enable: Signal
    first: Signal
    second: Signal
    hash: Signal

    def __init__(self, seed: int, *, instances=False):
        self.seed, self.instances = seed, instances
        super().__init__({"enable": In(1), "first": In(BITS), "second": In(BITS), "hash": Out(BITS)})

    def compute(self, first: int, second: int) -> int:
        """What `hash` will be."""
        return xxh32(first.to_bytes(4, "little") + second.to_bytes(4, "little"), self.seed)

    def elaborate(self, platform):
        m = Module()
        _, p2, p3, p4, p5 = PRIMES
        begin = Const((self.seed + p5 + 8) & MASK, 32)

        def times(value, prime):
            factor = Const(prime, BITS)
            return multiply(m, value, factor, enable=self.enable, instances=self.instances, bits=BITS)

        def turned(value):
            return register(m, value[:BITS].rotate_left(17), enable=self.enable)

        h = times(turned(begin + times(self.first, p3)), p4)
        second = times(register(m, self.second, enable=self.enable, stages=PRODUCT_LATENCY + 1), p3)
        h = times(turned(h + second), p4)
        h = times(h ^ h[15:], p2)
        h = times(h ^ h[13:], p3)
        m.d.comb += self.hash.eq(h ^ h[16:])
        return m
