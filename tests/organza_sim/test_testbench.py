import re
import shutil

import numpy as np
import pytest
from amaranth.hdl import signed

from organza_hw.verilog import to_verilog
from organza_sim.beats import Beat, last_flags
from organza_sim.testbench import TestbenchError, simulate, write
from tests.sim.toy import FAULTS, Toy

pytestmark = pytest.mark.rtl
COUNT = 60
LAST = last_flags(2, COUNT // 2)
TOY = Toy(signed(9), 4, faulty=True)
BEAT = Beat(4, 9, True)
# Icarus Verilog is no dependency; where a machine has it, it must agree.
SIMULATORS = ["verilator"] + ["icarus"] * bool(shutil.which("iverilog"))


@pytest.fixture(scope="module")
def verilog():
    return to_verilog(TOY, "generator")


def make(folder, verilog, beats, expected=None):
    (folder / "generator.v").write_text(verilog)
    expected = TOY.compute(beats) if expected is None else expected
    return write(
        folder,
        ["generator.v"],
        beats,
        LAST,
        expected,
        last_flags(2, len(expected) // 2),
        i=BEAT,
        o=BEAT,
        watchdog=500,
    )


def stimulus():
    return np.random.default_rng(0).integers(-256, 100, (COUNT, 4))


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_pass(tmp_path, verilog, simulator):
    testbench = make(tmp_path, verilog, stimulus())
    result = simulate(testbench, simulator)
    assert result.cycles == COUNT - 1 + Toy.LATENCY
    assert (
        result.message == "PASS 60 output beats, 61 cycles from the first input to the last output"
    )
    stalled = simulate(testbench, simulator, stalls=True)
    # The stalls come from the testbench itself, so they are the same everywhere.
    assert stalled.cycles == 145


@pytest.mark.parametrize(
    "fault, message",
    [
        ("drop", r"^output beat 30, cycle \d+: expected [0-9a-f]{10}, got [0-9a-f]{10}$"),
        ("value", r"^output beat 30, cycle \d+: expected [0-9a-f]{10}, got [0-9a-f]{10}$"),
        ("duplicate", r"^output beat 31, cycle \d+: expected "),
        ("stuck", "^no beat moved for 500 cycles: 32 of 60 in, 31 of 60 out$"),
    ],
)
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_faults_are_found(tmp_path, verilog, simulator, fault, message):
    beats = stimulus()
    beats[30, 0] = FAULTS[fault]
    with pytest.raises(TestbenchError, match=message):
        simulate(make(tmp_path, verilog, beats), simulator)


@pytest.mark.parametrize("fault", ["unstable", "retract"])
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_broken_handshake_is_found(tmp_path, verilog, simulator, fault):
    beats = stimulus()
    beats[::2, 0] = FAULTS[fault]  # the random stalls meet one of them
    with pytest.raises(
        TestbenchError, match=r"^output beat \d+ changed before it was accepted, cycle"
    ):
        simulate(make(tmp_path, verilog, beats), simulator, stalls=True)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_too_much_output_is_found(tmp_path, verilog, simulator):
    beats = stimulus()
    beats[-1, 0] = FAULTS["duplicate"]
    with pytest.raises(TestbenchError, match="^more than 60 output beats, cycle"):
        simulate(make(tmp_path, verilog, beats), simulator)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_too_little_output_is_found(tmp_path, verilog, simulator):
    beats = stimulus()
    beats[-1, 0] = FAULTS["drop"]
    with pytest.raises(
        TestbenchError, match="^no beat moved for 500 cycles: 60 of 60 in, 59 of 60 out$"
    ):
        simulate(make(tmp_path, verilog, beats), simulator)


def test_text_names_what_it_needs(tmp_path, verilog):
    make(tmp_path, verilog, stimulus())
    text = (tmp_path / "tb.v").read_text()
    assert not re.search("@[A-Z_]+@", text)
    assert "iverilog -g2012 -o tb.vvp tb.v generator.v" in text
    lines = (tmp_path / "tb_input.hex").read_text().splitlines()
    assert len(lines) == COUNT and all(len(line) == 10 for line in lines)


def test_wrong_arguments(tmp_path, verilog):
    with pytest.raises(ValueError, match="^Testbench must have beats, not 0 in and 0 out$"):
        write(
            tmp_path, [], np.zeros((0, 4), int), LAST, np.zeros((0, 4), int), LAST, i=BEAT, o=BEAT
        )
    with pytest.raises(
        ValueError, match="^Simulator must be 'verilator' or 'icarus', not 'magic'$"
    ):
        simulate(make(tmp_path, verilog, stimulus()), "magic")
