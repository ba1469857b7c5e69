from typing import Any

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from organza_hw.verilog import to_verilog
from organza_sim import rtl
from organza_sim.beats import Beat, last_flags
from organza_sim.rtl import RtlError, random_stalls
from tests.sim.toy import FAULTS, Toy

pytestmark = pytest.mark.rtl
COUNT = 120
LAST = last_flags(3, COUNT // 3)


class Bench:
    """A compiled toy and the function that runs it."""

    def __init__(self, shape, n, *, trace=False, **options):
        self.toy = Toy(shape, n, **options)
        self.beat = Beat.of(shape, n)
        self.simulator = rtl.build(to_verilog(self.toy, "generator"), trace=trace, optimize="-O0")

    def stimulus(self, seed=0):
        low, high = self.beat.limits
        return np.random.default_rng(seed).integers(
            low, min(high, 100), (COUNT, self.beat.n), endpoint=True
        )

    def run(self, beats, **options: Any):
        options.setdefault("outputs", len(beats))
        options.setdefault("watchdog", 1000)
        return rtl.run(self.simulator, beats, LAST, i=self.beat, o=self.beat, **options)


@pytest.fixture(scope="module")
def faulty():
    return Bench(signed(8), 3, faulty=True)


# One payload of each kind that C++ has: 8, 16, 32, 64 bits, and more words than one.
@pytest.mark.parametrize(
    "shape, n",
    [
        (unsigned(1), 1),
        (signed(11), 1),
        (unsigned(31), 1),
        (signed(9), 5),
        (signed(8), 40),
        (unsigned(3), 100),
    ],
)
def test_every_payload_width(shape, n):
    bench = Bench(shape, n)
    beats = bench.stimulus()
    run = bench.run(beats)
    assert np.array_equal(run.outputs, bench.toy.compute(beats))
    assert np.array_equal(run.last, LAST)
    assert run.cycles == COUNT - 1 + Toy.LATENCY
    assert run.latency == COUNT // 3 - 1 + Toy.LATENCY
    assert run.intervals.tolist() == [COUNT // 3] * 2
    assert np.array_equal(run.out_cycles, np.arange(COUNT) + Toy.LATENCY)
    assert np.array_equal(run.in_cycles, np.arange(COUNT))


@pytest.mark.parametrize("source", [0, 0.3, 0.9])
@pytest.mark.parametrize("sink", [0, 0.3, 0.9])
def test_stalls(faulty, source, sink):
    beats = faulty.stimulus()
    stall_in, stall_out = random_stalls(source, 1), random_stalls(sink, 2, 97)
    run = faulty.run(beats, stall_in=stall_in, stall_out=stall_out)
    assert np.array_equal(run.outputs, faulty.toy.compute(beats))
    assert not stall_out[run.out_cycles % 97].any()
    # A beat is offered in a cycle that is not stalled, and then stays until it is accepted.
    expected = [k for k in range(4099) if not stall_in[k]][:COUNT]
    assert np.all(run.in_cycles >= expected)
    if not sink:
        assert np.array_equal(run.in_cycles, expected)


def test_joints(faulty):
    beats = faulty.stimulus()
    run = faulty.run(
        beats, joints=dict.fromkeys(range(3), faulty.beat), stall_out=random_stalls(0.5, 3)
    )
    assert np.array_equal(run.joints[0].beats, beats)
    assert np.array_equal(run.joints[0].cycles, run.in_cycles)
    assert np.array_equal(run.joints[1].beats, faulty.toy.compute(beats) - 1)
    assert np.array_equal(run.joints[1].last, LAST)
    assert np.all(run.joints[1].cycles > run.in_cycles) and np.all(
        run.joints[1].cycles < run.out_cycles
    )
    assert np.array_equal(run.joints[2].beats, run.outputs)
    assert np.array_equal(run.joints[2].cycles, run.out_cycles)


SLOW_SINK = np.arange(5) != 0  # ready in every fifth cycle, so that every beat has to wait


@pytest.mark.parametrize(
    "fault, kind, message",
    [
        (
            "drop",
            "stuck",
            r"^no beat moved for 1000 cycles, .*; 120 of 120 beats in, 119 of 120 out",
        ),
        ("duplicate", "extra", "^an output beat beyond the 120 expected ones, cycle "),
        (
            "unstable",
            "protocol",
            "^stream o changes a beat that was not yet accepted: beat 50, cycle ",
        ),
        (
            "retract",
            "protocol",
            "^stream o withdraws a beat that was not yet accepted: beat 50, cycle ",
        ),
        ("stuck", "stuck", "stuck behind joint1, which offers a beat that is not accepted$"),
    ],
)
def test_faults_are_found(faulty, fault, kind, message):
    beats = faulty.stimulus()
    assert np.array_equal(faulty.run(beats, stall_out=SLOW_SINK).outputs, faulty.toy.compute(beats))
    beats[50, 0] = FAULTS[fault]
    with pytest.raises(RtlError, match=f"(?s){message}") as error:
        faulty.run(beats, stall_out=SLOW_SINK)
    assert error.value.kind == kind
    recorded = error.value.run
    assert recorded is not None
    assert np.array_equal(recorded.outputs[:50], faulty.toy.compute(beats)[:50])


def test_output_after_the_end(faulty):
    beats = faulty.stimulus()
    beats[-1, 0] = FAULTS["duplicate"]
    with pytest.raises(RtlError, match="^an output beat beyond") as error:
        faulty.run(beats)
    assert error.value.kind == "extra"


def test_wrong_value_is_delivered(faulty):
    beats = faulty.stimulus()
    beats[50, 0] = FAULTS["value"]
    wrong = np.argwhere(faulty.run(beats).outputs != faulty.toy.compute(beats))
    assert wrong.tolist() == [[50, 0]]


def test_cycle_limit(faulty):
    with pytest.raises(RtlError, match="^not finished after 30 cycles$") as error:
        faulty.run(faulty.stimulus(), limit=30)
    assert error.value.kind == "limit"


def test_progress(faulty):
    seen = []
    count = 200_000
    rtl.run(
        faulty.simulator,
        np.ones((count, 3), np.int8),
        last_flags(1, count),
        i=faulty.beat,
        o=faulty.beat,
        outputs=count,
        progress=lambda cycle, outputs: seen.append((cycle, outputs)),
    )
    assert seen and seen == sorted(seen)


def test_waveform(tmp_path):
    bench = Bench(signed(8), 3, faulty=True, trace=True)
    beats = bench.stimulus()
    bench.run(beats, wave=tmp_path / "all.vcd")
    bench.run(beats, wave=tmp_path / "some.vcd", wave_cycles=(10, 20))
    assert "joint1_payload" in (tmp_path / "all.vcd").read_text()
    times = [
        int(line[1:])
        for line in (tmp_path / "some.vcd").read_text().splitlines()
        if line[:1] == "#"
    ]
    assert min(times) == 100 and max(times) < 200


def test_missing_memory_file_is_an_error(tmp_path):
    text = to_verilog(Toy(signed(8), 1), "generator")
    text = text.replace(
        "module generator(",
        """
module store(output [7:0] q);
  reg [7:0] memory [0:3];
  initial $readmemh("weights.hex", memory);
  assign q = memory[0];
endmodule
module generator(""",
        1,
    )
    text = text.replace("  input clk;", "  input clk;\n  wire [7:0] q;\n  store store(.q(q));", 1)
    text = text.replace("assign joint0_valid = i__valid", "assign joint0_valid = i__valid & ~&q", 1)
    simulator, beat = rtl.build(text, optimize="-O0"), Beat(1, 8, True)
    beats = np.zeros((COUNT, 1), int)
    with pytest.raises(RtlError, match="(?s)weights.hex") as error:
        rtl.run(simulator, beats, LAST, i=beat, o=beat, outputs=COUNT, folder=tmp_path)
    assert error.value.kind == "crash"
    (tmp_path / "weights.hex").write_text("0\n1\n2\n3\n")
    rtl.run(simulator, beats, LAST, i=beat, o=beat, outputs=COUNT, folder=tmp_path)


def test_wrong_arguments(faulty):
    beats = faulty.stimulus()
    with pytest.raises(ValueError, match="^Verilog must have a module 'nothing', but has none$"):
        rtl.build("module generator();\nendmodule", top="nothing")
    with pytest.raises(
        ValueError, match="^Module 'generator' must have the input i__payload, but has none$"
    ):
        rtl.build("module generator();\nendmodule")
    with pytest.raises(
        ValueError, match="^Beat of stream 'i' must have the 25 bits of the port, not 33$"
    ):
        rtl.run(faulty.simulator, beats, LAST, i=Beat(4, 8, True), o=faulty.beat, outputs=1)
    with pytest.raises(ValueError, match=r"^Joint must be one of \[0, 1, 2\], not 7$"):
        faulty.run(beats, joints={7: faulty.beat})
    with pytest.raises(ValueError, match="^Beat of joint 1 must have its 25 bits, not 9$"):
        faulty.run(beats, joints={1: Beat(1, 8, True)})
    with pytest.raises(ValueError, match="^Waveforms need a simulator built with trace=True$"):
        faulty.run(beats, wave="x.vcd")
    with pytest.raises(ValueError, match="^Number of outputs must be positive, not 0$"):
        faulty.run(beats, outputs=0)
    with pytest.raises(TypeError, match="^Stall trace must be booleans, not int64$"):
        faulty.run(beats, stall_in=np.zeros(3, int))
    with pytest.raises(
        ValueError, match="^Stall trace must be one-dimensional with at least one cycle"
    ):
        faulty.run(beats, stall_in=np.ones(3, bool))
    with pytest.raises(
        ValueError, match="^Stall probability must be at least 0 and below 1, not 1$"
    ):
        random_stalls(1, 0)
