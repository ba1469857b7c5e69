import os
import re
import subprocess
import time

import pytest
from amaranth.hdl import signed

from organza_hw.verilog import to_verilog
from organza_sim import cache as store
from organza_sim import formal
from organza_sim.formal import ProofError, prove, stream_shell
from tests.sim.toy import Toy

pytestmark = pytest.mark.synth
COUNTER = """
module counter(input clk, input enable);
  reg [3:0] count = 0;
  always @(posedge clk) if (enable && count != LIMIT) count <= count + 1;
  always @* assert (count <= 9);
  always @* cover (count == 9);
endmodule
"""

# Takes z3 longer than anyone waits.
FACTORS = """
module factors(input [31:0] a, input [31:0] b);
  always @* if (a > 1 && b > 1) assert ({32'b0, a} * {32'b0, b} != 64'd8539734250799242291);
endmodule
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORGANZA_CACHE", str(tmp_path / "cache"))


def test_proof_is_kept(monkeypatch):
    good = COUNTER.replace("LIMIT", "9")
    prove(good, "counter", depth=3)
    assert len(list(store.folder("formal").iterdir())) == 1
    monkeypatch.setattr(formal, "_run", None)  # a second run would now fail
    prove(good, "counter", depth=3)


def test_counterexample():
    bad = COUNTER.replace("LIMIT", "12")
    with pytest.raises(
        ProofError, match=r"(?s)^A property of counter does not hold .*design.v:5"
    ) as error:
        prove(bad, "counter", depth=12)
    assert error.value.trace is not None and "$var" in error.value.trace
    assert not list(store.folder("formal").iterdir())


def test_undecided_is_not_proved():
    # No counterexample in three cycles, but no induction either.
    with pytest.raises(ProofError, match="^A property of counter could not be decided "):
        prove(COUNTER.replace("LIMIT", "12"), "counter", depth=3)


def test_bounded_search_and_cover():
    bad = COUNTER.replace("LIMIT", "12")
    prove(bad, "counter", depth=10, mode="bmc")  # ten cycles are too few to get there
    with pytest.raises(ProofError, match="does not hold"):
        prove(bad, "counter", depth=12, mode="bmc")
    prove(bad, "counter", depth=12, mode="cover")
    with pytest.raises(ProofError, match="does not hold"):
        prove(bad, "counter", depth=5, mode="cover")


def test_stream_component():
    verilog = to_verilog(Toy(signed(7), 1, add=0), "generator")
    prove(stream_shell(verilog, "generator"), "stream_shell", depth=6)
    prove(
        stream_shell(verilog, "generator", capacity=2, same=True),
        "stream_shell",
        depth=8,
        mode="bmc",
    )


@pytest.mark.parametrize("options", [{}, {"capacity": 1}, {"capacity": 2, "same": True}])
def test_faulty_stream_component(options):
    verilog = to_verilog(Toy(signed(8), 1, add=0, faulty="capacity" not in options), "generator")
    if "same" in options:
        verilog = to_verilog(Toy(signed(8), 1, add=1), "generator")
    with pytest.raises(ProofError, match="^A property of stream_shell does not hold"):
        prove(stream_shell(verilog, "generator", **options), "stream_shell", depth=8, mode="bmc")


def alive(session):
    """The processes of a session that have not ended, and the names of their programs."""
    found = {}
    for pid in formal._session(session):
        command = ["ps", "-o", "stat=,comm=", "-p", str(pid)]
        listed = subprocess.run(command, capture_output=True, text=True)
        if listed.stdout.strip() and not listed.stdout.strip().startswith("Z"):
            found[pid] = listed.stdout.split()[-1]
    return found


def test_timeout_ends_every_process(monkeypatch):
    sessions, before = [], {}
    end = formal._end_session

    def look(session):
        sessions.append(session)
        before.update({pid: (os.getpgid(pid), name) for pid, name in alive(session).items()})
        end(session)

    monkeypatch.setattr(formal, "_end_session", look)
    with pytest.raises(ProofError, match="^The proof did not finish in 8 seconds$"):
        prove(FACTORS, "factors", mode="bmc", depth=1, timeout=8)
    assert len({group for group, _ in before.values()}) > 1  # what one killpg would miss
    until = time.monotonic() + 5
    while alive(sessions[0]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(sessions[0])


def test_wrong_arguments():
    good = COUNTER.replace("LIMIT", "9")
    with pytest.raises(
        ValueError, match="^Proof mode must be one of 'prove', 'bmc', 'cover', not 'hope'$"
    ):
        prove(good, "counter", mode="hope")
    with pytest.raises(TypeError, match="^Proof depth must be an integer, not '3'$"):
        prove(good, "counter", depth="3")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="^Proof depth must be positive, not 0$"):
        prove(good, "counter", depth=0)
    with pytest.raises(ValueError, match="^Verilog must have a module 'nothing', but has none$"):
        prove(good, "nothing")
    with pytest.raises(ValueError, match="^Verilog must have assert statements, but has none$"):
        prove(re.sub("always .* assert.*", "", good), "counter")
    with pytest.raises(ValueError, match="^Capacity must be given to follow beats, not None$"):
        stream_shell(to_verilog(Toy(signed(8), 1), "generator"), "generator", same=True)
