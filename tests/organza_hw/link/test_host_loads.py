# amaranth: UnusedElaboratable=no
"""Weights over a host's line: chunks in order, what is refused and why, and nothing that runs without."""

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring

from organza.host_protocol import LOAD_CHUNK, Identity, Kind, Loaded, Refusal, chunks, run_payload, tensor_bytes
from organza.latent_stream import draw_from
from organza.link import Frame
from organza.loadable import fitted, loadable
from organza.program import Program
from organza.program_file import program_hash
from organza.weight_image import Reason
from organza_hw.link.host import Host
from organza_hw.loading.image import weight_image
from organza_hw.pipeline import Pipeline
from organza_sim.cycles import simulate_cycles
from organza_sim.planner import plan_program
from tests.loadable_programs import other_weights, ternary_program
from tests.organza_hw.link.test_host import HZ, Hosted, converse, hosted_pipeline, image
from tests.strategies import random_input


class Loading(Hosted):
    """A host, its accelerator, and something else that may use the port for weights."""

    def __init__(self, host, accelerator):
        super().__init__(host, accelerator)
        self.busy = False

    def elaborate(self, platform):
        m = super().elaborate(platform)
        assert isinstance(m, Module)
        wiring.connect(m, self.host.load, self.pipeline.load)
        m.d.comb += [getattr(self.host, name).eq(getattr(self.pipeline, name)) for name in ("loaded", "refusal", "image")]
        m.d.comb += self.host.loading.eq(int(self.busy))
        return m


def case():
    """One small layer, and other weights for it."""
    program = loadable(Program(ternary_program().nodes[:1]))
    plan = plan_program(program, 48)
    other = fitted(other_weights(np.random.default_rng(1), program), program)
    return program, plan, other


def hosted(program, plan):
    identity = Identity.of(program, program_hash(program), HZ)
    host = Host(identity, formats=(program.input, program.output), beats=(plan.joints[0].n, plan.joints[-1].n))
    return Loading(host, Pipeline(program, plan, files=False))


def load_requests(octets, first=1):
    return [(Frame(Kind.LOAD, first + k, payload).encode(), 1) for k, payload in enumerate(chunks(octets))]


def loaded(frame):
    assert frame.kind == Kind.LOADED
    return Loaded.unpack(frame.payload)


def crc_of(octets):
    return int.from_bytes(octets[-4:], "little")


def test_two_programs_one_after_the_other():
    """Images of both, with the model's cycles."""
    program, plan, other = case()
    rng, moved = np.random.default_rng(0), ([], [])
    x = random_input(rng, program, 1)
    pixels = (Frame(Kind.IMAGE, 99, tensor_bytes(x[0], program.input)).encode(), 1)
    latents = (Frame(Kind.LATENTS, 98, run_payload(3, 2)).encode(), 2)
    octets = [weight_image(program, plan, weights) for weights in (program, other)]
    requests = [*load_requests(octets[0]), pixels, *load_requests(octets[1]), pixels, latents]
    found = converse(hosted(program, plan), requests, moved=moved)
    count = len(load_requests(octets[0]))
    assert count > 2
    for start, some in ((0, octets[0]), (count + 1, octets[1])):
        states = [loaded(frame) for frame in found[start : start + count]]
        assert [state.place for state in states] == [LOAD_CHUNK * (k + 1) for k in range(count)]
        assert [state.accepted for state in states] == [False] * (count - 1) + [True] and not any(state.reason for state in states)
        assert states[-1].image == crc_of(some)
    for frame, weights in ((found[count], program), (found[2 * count + 1], other)):
        assert np.array_equal(image(frame, program)[None], weights.run(x))
    drawn = other.run(draw_from(program.input, program.input_shape, 2, 3))
    assert np.array_equal(np.stack([image(frame, program) for frame in found[-2:]]), drawn)
    begins, ends = moved
    size = len(begins) // 4  # of an input; three images
    model = simulate_cycles(program, plan, 1)
    for number in (0, 1):
        last = ends[(number + 1) * (len(ends) // 4) - 1]
        assert last - begins[number * size] >= model.sent[0] - model.first


def test_nothing_runs_without_weights():
    program, plan, _ = case()
    x = random_input(np.random.default_rng(0), program, 1)
    octets = weight_image(program, plan)
    runs = [
        (Frame(Kind.IMAGE, 1, tensor_bytes(x[0], program.input)).encode(), 1), (Frame(Kind.LATENTS, 2, run_payload(3, 2)).encode(), 1),
        (Frame(Kind.MEASURE, 3, run_payload(3, 2)).encode(), 1), (Frame(Kind.WEIGHTS, 4).encode(), 1),
    ]  # fmt: skip
    wrong = bytearray(octets)
    wrong[-1] ^= 1
    requests = [*runs, *load_requests(octets)[:-1], *runs, *load_requests(bytes(wrong)), *runs]
    found = converse(hosted(program, plan), requests)
    count = len(load_requests(octets))
    for start, state in ((0, Loaded(False, 0, 0, 0)), (4 + count - 1, None), (8 + 2 * count - 1, None)):
        refused = found[start : start + 3]
        assert [(frame.kind, frame.sequence, frame.payload) for frame in refused] == [
            (Kind.DAMAGE, k, bytes([Refusal.UNLOADED])) for k in (1, 2, 3)
        ]
        if state is not None:
            assert loaded(found[start + 3]) == state
    last = loaded(found[-1])
    assert (last.accepted, last.reason, last.place) == (False, Reason.CRC, LOAD_CHUNK * count)


def test_chunks_out_of_order():
    """The last one again changes nothing; the first begins anew; others are refused, and so is one that does not begin at a chunk."""
    program, plan, _ = case()
    octets = weight_image(program, plan)
    every = load_requests(octets)
    odd = (Frame(Kind.LOAD, 1, (LOAD_CHUNK + 1).to_bytes(3, "little") + bytes(LOAD_CHUNK)).encode(), 1)
    asked = [every[1], every[0], every[1], every[1], every[0], every[0], odd, every[2], *every[1:], every[-1]]
    found = converse(hosted(program, plan), asked)
    offset = Frame(Kind.DAMAGE, 2, bytes([Refusal.OFFSET]))
    assert found[0] == offset
    places = [loaded(frame).place // LOAD_CHUNK for frame in found[1:6]]
    assert places == [1, 2, 2, 1, 1]
    assert [frame.payload for frame in found[6:8]] == 2 * [bytes([Refusal.OFFSET])]
    assert [loaded(frame).accepted for frame in found[8:]] == [False] * (len(every) - 2) + [True, True]


def test_the_port_is_in_use():
    program, plan, _ = case()
    component = hosted(program, plan)
    component.busy = True
    found = converse(component, [load_requests(weight_image(program, plan))[0], (Frame(Kind.WEIGHTS, 4).encode(), 1)])
    assert found[0] == Frame(Kind.DAMAGE, 1, bytes([Refusal.LOADING]))
    assert loaded(found[1]) == Loaded(False, 0, 0, 0, busy=True)


def test_a_host_without_weights_to_load():
    """It knows no such request."""
    program = Program(ternary_program().nodes[:1])
    component = hosted_pipeline(program, plan_program(program, 48))
    assert not hasattr(component.host, "load")
    found = converse(component, [(Frame(Kind.LOAD, 1, bytes(9)).encode(), 1), (Frame(Kind.WEIGHTS, 2).encode(), 1)])
    assert found == [Frame(Kind.DAMAGE, k, bytes([Refusal.KIND])) for k in (1, 2)]
