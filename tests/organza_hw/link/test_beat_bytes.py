# amaranth: UnusedElaboratable=no
"""Bytes to beats and back, and latents, against their twins in software, whatever stalls."""

import numpy as np
import pytest
from amaranth.hdl import Const, Value

from organza.formats import Fixed, Flex
from organza.host_protocol import STATE_BYTES, tensor_bytes
from organza.latent_stream import draw, state_of
from organza_hw.formats import wire_shape
from organza_hw.link.beat_bytes import BeatPacker, BeatUnpacker
from organza_hw.link.latents import Latents
from organza_sim.beats import to_beats
from tests.organza_hw.link.shared import silence, simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS

FORMS = [Fixed(8, True, 1 / 32), Fixed(5, False, 1.0), Flex(-12), Fixed(12, True, 1.0)]
SHAPES = [(1, 1, 1), (5, 2, 3), (3, 4, 1), (8, 1, 2)]


def stream(component, words, count, idle, pressure, watchdog=20_000, extra=(), ends=None):
    """Words that come out of `o` for those into `i`, and values of `extra` signals with each; `ends` gets those of `end` with each into `i`."""
    found = []

    async def testbench(ctx):
        sent, offered = 0, False
        for cycle in range(watchdog):
            offered = sent < len(words) and (offered or not idle[cycle % len(idle)])
            ctx.set(component.i.valid, offered)
            if offered:
                ctx.set(Value.cast(component.i.payload), words[sent])
            ctx.set(component.o.ready, not pressure[cycle % len(pressure)])
            _, _, took, end, there, taken, payload, *more = await ctx.tick().sample(
                component.i.ready, Const(0) if ends is None else component.end, component.o.valid, component.o.ready,
                Value.cast(component.o.payload).as_unsigned(), *extra,
            )  # fmt: skip
            if offered and took:
                sent, offered = sent + 1, False
                if ends is not None:
                    ends.append(end)
            if there and taken:
                found.append((payload, *more))
            if len(found) == count and sent == len(words):
                break
        else:
            raise AssertionError(f"{len(found)} of {count} words after {watchdog} cycles")
        ctx.set(component.i.valid, 0)
        await silence(ctx, component.o, 20)

    simulate(component, testbench)
    return found


def cases(form, shape, n):
    """Two tensors, their bytes, and their beats as integers with `last` above."""
    rng = np.random.default_rng(n)
    x = rng.integers(form.low, form.high + 1, (2, *shape))
    beats, last = to_beats(x, n)
    mask = (1 << form.bits) - 1
    words = [
        sum((int(value) & mask) << form.bits * k for k, value in enumerate(beat)) | int(flag) << form.bits * n
        for beat, flag in zip(beats, last, strict=True)
    ]  # fmt: skip
    return [*b"".join(tensor_bytes(one, form) for one in x)], words


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back(form, shape):
    for k, n in enumerate((1, 2, 3, 8)):
        octets, words = cases(form, shape, n)
        idle, pressure = (np.array(PATTERNS[name], bool) for name in CROSSED[(k * 5 + len(octets)) % len(CROSSED)])
        packer, ends, half = BeatPacker(shape, wire_shape(form), n), [], len(octets) // 2
        assert [word for word, in stream(packer, octets, len(words), idle, pressure, ends=ends)] == words
        assert [place for place, end in enumerate(ends) if end] == [half - 1, 2 * half - 1]
        unpacker = BeatUnpacker(shape, wire_shape(form), n)
        found = stream(unpacker, words, len(octets), idle, pressure, extra=[unpacker.end])
        assert [byte for byte, _ in found] == octets
        assert [place for place, (_, end) in enumerate(found) if end] == [half - 1, 2 * half - 1]


def test_a_byte_a_cycle():
    """And a cycle more for a beat."""
    form, shape, n = Fixed(8, True, 1.0), (8, 1, 1), 4
    octets, words = cases(form, shape, n)
    free = np.zeros(1, bool)
    assert len(stream(BeatPacker(shape, wire_shape(form), n), octets, len(words), free, free, watchdog=len(octets) + len(words) + 1)) == 4
    assert len(stream(BeatUnpacker(shape, wire_shape(form), n), words, len(octets), free, free, watchdog=len(octets) + len(words) + 1)) == 16


@pytest.mark.parametrize("form", [Fixed(8, True, 1 / 32), Flex(-10)], ids=str)
@pytest.mark.parametrize("pressure", [0.0, 0.6])
def test_latents(form, pressure):
    """From a state, and from another in the middle of it."""
    rng, component, found = np.random.default_rng(0), Latents(form), []
    wanted = [*tensor_bytes(draw(form, (20, 1, 1), 1, 5)[0], form)], [*tensor_bytes(draw(form, (9, 1, 1), 1, 6)[0], form)]

    async def testbench(ctx):
        for seed, octets in zip((5, 6), wanted, strict=True):
            ctx.set(component.draw, 0)
            for byte in state_of(seed).to_bytes(STATE_BYTES, "little"):
                ctx.set(component.byte, byte)
                for load in (1, 0, 0):
                    ctx.set(component.load, load)
                    await ctx.tick()
            ctx.set(component.draw, 1)
            got = []
            for _ in range(2000):
                ctx.set(component.o.ready, rng.random() >= pressure)
                _, _, there, taken, byte = await ctx.tick().sample(component.o.valid, component.o.ready, component.o.payload)
                got += [byte] if there and taken else []
                if len(got) == len(octets):
                    break
            found.append(got)

    simulate(component, testbench)
    assert tuple(found) == wanted
