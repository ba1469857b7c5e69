# amaranth: UnusedElaboratable=no
"""Requests to a host with an accelerator behind it: replies are the reference's, whatever the line does meanwhile."""

import zlib

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza.formats import Fixed
from organza.host_protocol import (
    COUNT_BYTES,
    CYCLE_BYTES,
    RUN_BYTES,
    STATE_BYTES,
    Identity,
    Kind,
    Refusal,
    run_payload,
    tensor_bytes,
    tensor_of,
)
from organza.latent_stream import draw, state_of
from organza.link import Damage, Decoder, Frame, Reason
from organza.program_file import program_hash
from organza_hw.joint import joint_signature
from organza_hw.link.host import Host
from organza_hw.pipeline import Pipeline
from organza_sim.cycles import simulate_cycles
from tests.organza_hw.link.shared import silence, simulate
from tests.plans import random_plan
from tests.strategies import random_input, random_program

HZ, MOST = 25_000_000, 1 << 16


class Hosted(wiring.Component):
    """A host and its accelerator."""

    def __init__(self, host, accelerator):
        self.host, self.pipeline = host, accelerator
        super().__init__({
            "received": In(self.host.receiver.i.signature.flip()), "sent": Out(stream.Signature(8)), "error": In(32),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.pipeline = self.host, self.pipeline
        wiring.connect(m, wiring.flipped(self.received), self.host.received)
        wiring.connect(m, self.host.sent, wiring.flipped(self.sent))
        wiring.connect(m, self.host.i, self.pipeline.i)
        wiring.connect(m, self.pipeline.o, self.host.o)
        m.d.comb += self.host.error.eq(self.error)
        return m


def hosted_pipeline(program, plan):
    identity = Identity.of(program, program_hash(program), HZ)
    host = Host(identity, formats=(program.input, program.output), beats=(plan.joints[0].n, plan.joints[-1].n))
    return Hosted(host, Pipeline(program, plan, files=False))


def converse(component, requests, *, seed=0, ready=1.0, valid=1.0, watchdog=60_000, error=0, moved=None):
    """All that comes back for bytes that are sent one after the other, each when what is before it has been answered.

    requests : bytes and how many frames answer them. moved : gets the cycles in which a beat goes into the accelerator, and out of it.
    """
    source, sink = component.pipeline.i, component.pipeline.o
    rng, decoder, found = np.random.default_rng(seed), Decoder(MOST), []

    async def testbench(ctx):
        ctx.set(component.error, error)
        cycles = 0
        for octets, answers in requests:
            left, before = list(octets), len(found)
            while len(found) < before + answers or left:
                offers = bool(left) and rng.random() < valid
                ctx.set(component.received.valid, offers)
                ctx.set(component.received.payload.byte, left[0] if offers else int(rng.integers(256)))
                ctx.set(component.received.payload.broken, 0)
                ctx.set(component.sent.ready, rng.random() < ready)
                _, _, there, taken, byte, into, out = await ctx.tick().sample(
                    component.sent.valid, component.sent.ready, component.sent.payload, source.valid & source.ready, sink.valid & sink.ready,
                )  # fmt: skip
                if moved is not None:
                    for cycle_list, happened in zip(moved, (into, out), strict=True):
                        cycle_list += [cycles] if happened else []
                if offers:
                    left.pop(0)
                if there and taken:
                    found.extend(decoder.feed(bytes([byte])))
                cycles += 1
                assert cycles < watchdog, f"{len(found)} frames after {cycles} cycles"
        ctx.set(component.received.valid, 0)
        await silence(ctx, component.sent, 300)

    simulate(component, testbench)
    return found


def case(seed, **limits):
    rng = np.random.default_rng(seed)
    program = random_program(rng, 2, max_size=5, max_channels=5, **limits)
    return rng, program, random_plan(rng, program, max_lanes=8)


def image(frame, program):
    return tensor_of(frame.payload, program.output, program.output_shape)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ready, valid", [(1.0, 1.0), (0.4, 0.7)])
def test_images(seed, ready, valid):
    rng, program, plan = case(seed)
    x = random_input(rng, program, 3)
    requests = [(Frame(Kind.IMAGE, 7 + k, tensor_bytes(q, program.input)).encode(), 1) for k, q in enumerate(x)]
    found = converse(hosted_pipeline(program, plan), requests, seed=seed, ready=ready, valid=valid)
    assert [(frame.kind, frame.sequence) for frame in found] == [(Kind.PIXELS, 7 + k) for k in range(3)]
    assert np.array_equal(np.stack([image(frame, program) for frame in found]), program.run(x))


@pytest.mark.parametrize("seed", range(6, 10))
def test_latents_and_measure(seed):
    _, program, plan = case(seed)
    request = run_payload(state_of(seed), 3)
    requests = [
        (Frame(Kind.LATENTS, 1, request).encode(), 3), (Frame(Kind.MEASURE, 2, request).encode(), 1),
        (Frame(Kind.HELLO, 3).encode(), 1), (Frame(Kind.LATENTS, 4, request).encode(), 3),
    ]  # fmt: skip
    found = converse(hosted_pipeline(program, plan), requests, seed=seed)
    wanted = program.run(draw(program.input, program.input_shape, 3, seed))
    assert [frame.sequence for frame in found] == [1, 1, 1, 2, 3, 4, 4, 4]
    for frames in (found[:3], found[5:]):
        assert np.array_equal(np.stack([image(frame, program) for frame in frames]), wanted)
    measured = found[3]
    octets = b"".join(tensor_bytes(y, program.output) for y in wanted)
    assert measured.kind == Kind.MEASURED
    assert int.from_bytes(measured.payload[CYCLE_BYTES:], "little") == zlib.crc32(octets)


@pytest.mark.parametrize("seed", range(3))
def test_measured_cycles(seed):
    """From the first beat that went in to the last that came out, and no fewer than the model's, which is never kept waiting."""
    _, program, plan = case(seed)
    moved = [], []
    found = converse(
        hosted_pipeline(program, plan), [(Frame(Kind.MEASURE, 0, run_payload(5, 4)).encode(), 1)], moved=moved
    )
    cycles, model = int.from_bytes(found[0].payload[:CYCLE_BYTES], "little"), simulate_cycles(program, plan, 4)
    assert cycles == moved[1][-1] - moved[0][0] >= model.sent[-1] - model.first


class Early(wiring.Component):
    """Copies the first pixel of an image at once, and takes the others later."""

    def __init__(self):
        super().__init__(
            {"i": In(joint_signature(signed(8), 1)), "o": Out(joint_signature(signed(8), 1)), "error": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        first = Signal(init=1)
        m.d.comb += [
            self.i.ready.eq(~first | self.o.ready), self.o.valid.eq(first & self.i.valid), self.o.payload.data.eq(self.i.payload.data),
            self.o.payload.last.eq(1),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += first.eq(self.i.payload.last)
        return m


def test_an_output_that_is_complete_before_its_input():
    """A request that comes then waits until the rest of the input has been drawn; while an image is still needed, it is refused."""
    form = Fixed(8, True, 1 / 32)
    identity = Identity((1, 12, 12), 1, (1, 1, 1), 1, HZ, bytes(32))
    hosted = Hosted(Host(identity, formats=(form, form), beats=(1, 1)), Early())
    (x,) = np.random.default_rng(0).integers(-128, 128, (1, 1, 12, 12))
    runs = [
        (Frame(kind, 1 + k, run_payload(state_of(k), 1)).encode(), 1)
        for k, kind in enumerate((Kind.LATENTS, Kind.MEASURE, Kind.LATENTS))
    ]
    requests = [*runs, (Frame(Kind.IMAGE, 4, tensor_bytes(x, form)).encode(), 1), (Frame(Kind.HELLO, 5).encode(), 1)]
    latents, measured, more, sent, refused = converse(hosted, requests)
    assert (measured.kind, measured.sequence) == (Kind.MEASURED, 2)
    pixels = [int(tensor_of(frame.payload, form, (1, 1, 1)).item()) for frame in (latents, more, sent)]
    assert pixels == [*(draw(form, (1, 12, 12), 1, seed)[0, 0, 0, 0] for seed in (0, 2)), x[0, 0, 0]]
    assert refused == Frame(Kind.DAMAGE, 0, bytes([Reason.BUSY]))


def test_identity_and_status():
    _, program, plan = case(1)
    (frame,) = converse(hosted_pipeline(program, plan), [(Frame(Kind.HELLO, 9).encode(), 1)], error=0x80000002)
    assert (frame.kind, frame.sequence) == (Kind.IDENTITY, 9)
    assert Identity.unpack(frame.payload) == (Identity.of(program, program_hash(program), HZ), 0x80000002)


def test_refusals():
    """Each is answered once, and the next request as if nothing had been."""
    rng, program, plan = case(2)
    x = random_input(rng, program, 1)
    good = tensor_bytes(x[0], program.input)
    wrong = bytearray(Frame(Kind.IMAGE, 4, good).encode())
    wrong[7] ^= 1
    requests = [
        (Frame(0x55, 1, good).encode(), 1), (Frame(Kind.IMAGE, 2, good[:-1]).encode(), 1), (Frame(Kind.HELLO, 3, b"a").encode(), 1),
        (bytes(wrong), 1), (bytes(range(1, 30)) + b"\xc0", 1),
        (Frame(Kind.LATENTS, 5, bytes(STATE_BYTES) + b"\1" + bytes(COUNT_BYTES - 1)).encode(), 1),
        (Frame(Kind.MEASURE, 6, b"\1" + bytes(RUN_BYTES - 1)).encode(), 1),
        (Frame(Kind.IMAGE, 7, good).encode(), 1),
    ]  # fmt: skip
    found = converse(hosted_pipeline(program, plan), requests)
    assert all(isinstance(frame, Frame) for frame in found) and not any(isinstance(frame, Damage) for frame in found)
    refused = [(frame.kind, frame.sequence, frame.payload[0]) for frame in found[:-1]]
    assert {kind for kind, _, _ in refused} == {Kind.DAMAGE}
    assert [(sequence, reason) for _, sequence, reason in refused] == [
        (1, Refusal.KIND), (2, Refusal.SIZE), (3, Refusal.SIZE), (0, Reason.CRC), (0, refused[4][2]), (5, Refusal.SIZE), (6, Refusal.SIZE),
    ]  # fmt: skip
    assert Reason(refused[4][2]) in (Reason.TOO_LONG, Reason.LENGTH)
    assert np.array_equal(image(found[-1], program)[None], program.run(x))
