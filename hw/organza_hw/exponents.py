"""The exponent unit: `organza.exponents.ExponentRule` in gateware, and what it looks at.

`Peaks` watches the values that leave the requantisers of a layer, `ExponentUnit` picks the exponent of the next image.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.exponents import EXPONENT_BITS, MANTISSA_BITS, ExponentRule
from organza_hw.compare import less, less_than
from organza_hw.lanes.dot import register, tree_latency

EXPONENT = signed(EXPONENT_BITS + 1)
# A register that says what became of an image: its exponent, its largest |mantissa|, whether a value was clamped, and how
# many images since reset had such a value, modulo 2**16.
STATUS = data.StructLayout({"peak": 16, "exponent": signed(16), "overflows": 16, "overflow": 1})


def bit_length(value):
    """Bits of an unsigned value without its leading zeros, by halving."""
    value = Value.cast(value)
    if len(value) <= 1:
        return value
    half = 1 << ((len(value) - 1).bit_length() - 1)
    low, high = value[:half], value[half:]
    return Mux(high.any(), half + bit_length(high), bit_length(low))


class Peaks(wiring.Component):
    """Largest |mantissa| of an image, and the bits by which its widest value was too wide.

    Throughput: E values a cycle. Latency: `latency` cycles from `end` to `done`. No back-pressure.

    Parameters
    ----------
    e : values a cycle. bits : of a value before it was clamped.

    Members
    -------
    count : In, how many of the values count in this cycle, from the first on.
    values : In, E mantissas. wide : In, what they were before they were clamped.
    end : In(1), with this cycle the image is complete.
    done : Out(1), one cycle for every image. peak, excess : Out, of the image, see `organza.exponents`; valid with `done`.
    """

    count: Signal
    values: data.View
    wide: data.View
    end: Signal
    done: Signal
    peak: Signal
    excess: Signal

    def __init__(self, *, e, bits):
        self.e, self.bits = e, max(bits, MANTISSA_BITS + 1)
        super().__init__({
            "count": In(range(e + 1)),
            "values": In(data.ArrayLayout(signed(MANTISSA_BITS), e)),
            "wide": In(data.ArrayLayout(signed(bits), e)),
            "end": In(1),
            "done": Out(1),
            "peak": Out(MANTISSA_BITS),
            "excess": Out(range(self.bits - MANTISSA_BITS + 1)),
        })  # fmt: skip

    @staticmethod
    def tree_latency(e):
        """Registers in the tree that finds the largest of E."""
        return tree_latency(e)

    @staticmethod
    def latency(e):
        """Cycles from `end` to `done`."""
        return 3 + Peaks.tree_latency(e)

    def elaborate(self, platform):
        m = Module()
        # Bits that a value has beyond those of a mantissa; the sign is the same in all of them if it is one.
        beyond = Signal(self.bits - MANTISSA_BITS)
        lanes, sizes = [], []
        for k in range(self.e):
            counts = self.count > k
            wide = Signal(signed(self.bits), name=f"wide{k}")
            m.d.comb += wide.eq(self.wide[k])
            lanes.append(Mux(counts, wide[MANTISSA_BITS - 1 : -1] ^ wide[-1].replicate(len(beyond)), 0))
            size = Signal(MANTISSA_BITS, name=f"size{k}")
            value = self.values[k]
            m.d.sync += size.eq(Mux(counts, Mux(value < 0, -value, value), 0))
            sizes.append(size)
        union = lanes[0]
        for lane in lanes[1:]:
            union = union | lane
        m.d.sync += beyond.eq(union)
        end = Signal()
        m.d.sync += end.eq(self.end)

        level = 0
        while len(sizes) > 1:
            sizes = [_larger(*sizes[k : k + 2]) if len(sizes) > k + 1 else sizes[k] for k in range(0, len(sizes), 2)]
            level += 1
            held = [Signal(MANTISSA_BITS, name=f"largest{level}_{k}") for k in range(len(sizes))]
            later, ended = Signal.like(beyond, name=f"beyond{level}"), Signal(name=f"end{level}")
            m.d.sync += [one.eq(size) for one, size in zip(held, sizes, strict=True)]
            m.d.sync += [later.eq(beyond), ended.eq(end)]
            sizes, beyond, end = held, later, ended

        so_far, wider = Signal(MANTISSA_BITS), Signal.like(beyond)
        most, excess, complete = Signal(MANTISSA_BITS), Signal.like(beyond), Signal()
        peak = _larger(so_far, sizes[0])
        m.d.sync += [
            so_far.eq(Mux(end, 0, peak)), wider.eq(Mux(end, 0, wider | beyond)),
            complete.eq(end), most.eq(peak), excess.eq(wider | beyond),
            self.done.eq(complete), self.peak.eq(most), self.excess.eq(bit_length(excess)),
        ]  # fmt: skip
        return m


def _larger(a, b):
    return Mux(a < b, b, a)


class ExponentUnit(wiring.Component):
    """The exponent of every image of a tensor.

    Latency: `exponent` is that of an image from the cycle after its `begin` on; an image may begin `LATENCY` cycles after
    the `done` of the last but one before it, or later. One image a cycle, no back-pressure.

    Parameters
    ----------
    rule : `ExponentRule`. excess : amaranth Shape of the input of that name.

    Members
    -------
    begin : In(1), the next image begins. low, high : In, limits of its exponent in that cycle.
    exponent : Out, of the image that began last.
    done : In(1), the oldest image that is not complete is now. peak, excess : In, of it.
    status : Out, stream of `STATUS`, always ready: the registers of the image that was completed last. `valid` marks the
        first cycle of each.
    """

    LATENCY = 4  # the bits of the peak, what the image asks for, the larger ones of the window, the largest

    begin: Signal
    low: Signal
    high: Signal
    exponent: Signal
    done: Signal
    peak: Signal
    excess: Signal
    status: stream.Interface

    def __init__(self, rule: ExponentRule, *, excess):
        self.rule = rule
        super().__init__({
            "begin": In(1), "low": In(EXPONENT), "high": In(EXPONENT), "exponent": Out(EXPONENT),
            "done": In(1), "peak": In(MANTISSA_BITS), "excess": In(excess),
            "status": Out(stream.Signature(STATUS, always_ready=True)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        rule = self.rule
        # Exponents that the latest images asked for, and what the rule makes of the images up to each of the latest ones.
        history = [Signal(EXPONENT, init=rule.initial, name=f"asked{k}") for k in range(rule.window)]
        chosen = [Signal(EXPONENT, init=rule.initial, name=f"chosen{k}") for k in range(rule.delay + 1)]

        # At most two images have begun and are not complete: one register for each.
        begun, completed = Signal(), Signal()  # how many, modulo 2
        own = [Signal(EXPONENT, name=f"exponent{k}") for k in range(2)]
        behind = Signal(2)  # images that have begun and are not in the history
        counted = Signal()  # one gets there with this cycle
        picked = Signal(EXPONENT)
        wanted = Signal(EXPONENT)
        m.d.comb += picked.eq(_clamped(Mux(behind == 0, chosen[rule.delay], chosen[rule.delay - 1]), self.low, self.high))
        with m.If(self.begin):
            m.d.sync += [begun.eq(~begun), self.exponent.eq(picked)]
            with m.Switch(begun):
                for k in range(2):
                    with m.Case(k):
                        m.d.sync += own[k].eq(picked)
        m.d.sync += behind.eq(behind + self.begin - counted)

        exponent, overflow = Signal(EXPONENT), Signal()
        length = Signal(range(MANTISSA_BITS + 64))
        m.d.comb += [exponent.eq(Mux(completed, own[1], own[0])), overflow.eq(self.excess != 0)]
        m.d.sync += [
            self.status.valid.eq(self.done),
            length.eq(Mux(overflow, MANTISSA_BITS - 1 + self.excess, bit_length(self.peak))),
        ]
        asked = Signal(signed(len(length) + 1))
        m.d.comb += asked.eq(register(m, exponent + (rule.headroom - (MANTISSA_BITS - 1))) + length)
        below, above = less_than(asked, rule.low), ~less_than(asked, rule.high + 1)
        m.d.sync += wanted.eq(Mux(above, rule.high, Mux(below, rule.low, asked)))
        known = register(m, self.done, stages=2)
        m.d.comb += counted.eq(register(m, known))
        status = self.status.payload
        with m.If(self.done):
            m.d.sync += [
                completed.eq(~completed), status.exponent.eq(exponent), status.peak.eq(self.peak),
                status.overflow.eq(overflow), status.overflows.eq(status.overflows + overflow),
            ]  # fmt: skip
        with m.If(known):
            m.d.sync += [one.eq(before) for one, before in zip(history, [wanted, *history], strict=False)]
        levels = (rule.window - 1).bit_length()
        window = [register(m, one) for one in _larger_ones(m, [wanted, *history[:-1]], levels - levels // 2)]
        window = _larger_ones(m, window, levels // 2)
        with m.If(counted):
            m.d.sync += [one.eq(before) for one, before in zip(chosen, [*window, *chosen], strict=False)]
        return m


def _clamped(value, low, high):
    return Mux(less(high, value), high, Mux(less(value, low), low, value))


def _larger_ones(m, values, levels):
    """Of pairs of exponents the larger ones, so many times over."""
    for _ in range(levels):
        pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
        values = [Signal(EXPONENT) for _ in pairs]  # an expression would hold its parts twice
        for value, pair in zip(values, pairs, strict=True):
            m.d.comb += value.eq(Mux(less(*pair), pair[1], pair[0]) if len(pair) == 2 else pair[0])
    return values
