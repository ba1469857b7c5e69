"""xxHash32 of 8 bytes as a pipeline: one key a cycle."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza.codes.xxhash import MASK, PRIMES, xxh32


class HashPairs(wiring.Component):
    """xxHash32 of two 32-bit numbers, little endian, the same as `compute`.

    Throughput one key a cycle in which `enable` is set, latency `LATENCY` such cycles.

    Parameters
    ----------
    seed : 0…2**32 - 1.

    Members
    -------
    enable : In(1), all registers go on. first, second : In(32), the key. hash : Out(32).
    """

    LATENCY = 7

    enable: Signal
    first: Signal
    second: Signal
    hash: Signal

    def __init__(self, seed: int):
        self.seed = seed
        super().__init__({"enable": In(1), "first": In(32), "second": In(32), "hash": Out(32)})

    def compute(self, first: int, second: int) -> int:
        """What `hash` will be."""
        return xxh32(first.to_bytes(4, "little") + second.to_bytes(4, "little"), self.seed)

    def elaborate(self, platform):
        m = Module()
        _, p2, p3, p4, p5 = PRIMES
        begin = Const((self.seed + p5 + 8) & MASK, 32)

        def held(value, name):
            """`value` in a register: one stage."""
            register = Signal(32, name=name)
            with m.If(self.enable):
                m.d.sync += register.eq(value)
            return register

        first, second = held(self.first * p3, "first_p3"), held(self.second * p3, "second_p3")
        h = held((begin + first)[:32].rotate_left(17), "first_turned")
        second = held(second, "second_held")
        h, second = held(h * p4, "first_p4"), held(second, "second_kept")
        h = held((h + second)[:32].rotate_left(17), "second_turned")
        h = held(h * p4, "second_p4")
        h = held((h ^ h[15:]) * p2, "mixed_p2")
        h = held((h ^ h[13:]) * p3, "mixed_p3")
        m.d.comb += self.hash.eq(h ^ h[16:])
        return m
