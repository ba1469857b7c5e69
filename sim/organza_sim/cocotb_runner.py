"""Runs cocotb benches on generated Verilog.

cocotb's own runner makes every signal of the design writable, which costs a factor of seven in
speed, and compiles anew for each run. Here only the ports are visible, the clock can come from
Verilog instead of Python, and the compiled design is cached.
"""

import json
import re
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config
from cocotb_tools.runner import Runner, Verilator, get_runner

from .verilator import compile_verilog

__all__ = ["BenchError", "BenchResult", "FastVerilator", "run_bench"]

SHELL = "bench"
PERIOD_NS = 10


@dataclass(frozen=True)
class BenchResult:
    """A test that passed: its ``name``, the time it took in ``seconds`` and that it simulated, in
    nanoseconds."""

    name: str
    seconds: float
    simulated_ns: float


class BenchError(Exception):
    """Tests of a bench failed, or the simulation did. The message has their errors and the end of
    the log."""


class FastVerilator(Verilator):
    """cocotb's Verilator runner, with a cached program in which only the ports can be reached."""

    def _build_command(self) -> list:
        sources = [Path(source.value) for source in self._sources]
        control = [s.read_text() for s in sources if s.suffix == ".vlt"]
        main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
        libs = cocotb_tools.config.libs_dir
        flags = ["--vpi", "--timescale", "/".join(self.timescale or ("1ns", "1ps"))]
        flags += [f"-G{name}={value}" for name, value in self.parameters.items()]
        flags += [str(argument.value) for argument in self._build_args]
        assert self.hdl_toplevel is not None
        program = compile_verilog(
            [s for s in sources if s.suffix != ".vlt"],
            self.hdl_toplevel,
            cpp={"cocotb.cpp": main.read_text()},
            control="\n".join(control),
            flags=flags,
            trace=self.waves,
            timing=True,
            link=[f"-Wl,-rpath,{libs}", f"-L{libs}", "-lcocotbvpi_verilator"],
        )
        # The inherited test() looks for the program here.
        shutil.copy2(program, self.build_dir / self.hdl_toplevel)
        return []


def run_bench(
    verilog: str,
    top: str,
    module: str,
    *,
    parameters: Mapping[str, object] | None = None,
    simulator: str = "verilator",
    hdl_clock: bool = True,
    folder: Path | None = None,
    waves: bool = False,
    seed: int = 1,
) -> list[BenchResult]:
    """Runs the cocotb tests of the Python module ``module`` on the module ``top`` of ``verilog``.

    The bench finds ``parameters``, which must be JSON, with
    :func:`organza_sim.benches.stream.parameters`. With ``hdl_clock`` the clock runs in Verilog,
    which is faster; without it the bench must drive ``clk``, as
    :func:`organza_sim.benches.stream.start` does if needed. Memory files are looked up in
    ``folder``, where the log and the waveforms (``dump.vcd``, with ``waves``) also go.
    ``simulator`` is ``"verilator"`` or ``"icarus"``.

    Returns a result for each test. Raises :exc:`BenchError` if one fails or if there is none, and
    :exc:`~organza_sim.verilator.VerilatorError` if the Verilog does not compile.
    """
    if simulator not in ("verilator", "icarus"):
        raise ValueError(f"Simulator must be 'verilator' or 'icarus', not {simulator!r}")
    runner: Runner = FastVerilator() if simulator == "verilator" else get_runner("icarus")
    ports = _ports(verilog, top)
    with tempfile.TemporaryDirectory(prefix="organza-") as name:
        work = Path(name)
        (work / "design.v").write_text(verilog)
        sources = [work / "design.v"]
        if hdl_clock:
            (work / "shell.v").write_text(_shell(top, ports))
            sources.append(work / "shell.v")
            outer, visible = SHELL, [*(port for _, _, port in ports if port != "clk"), "clk"]
        else:
            outer, visible = top, [port for _, _, port in ports]
        if simulator == "verilator":
            lines = [
                "`verilator_config",
                *(f'public_flat_rw -module "{outer}" -var "{v}"' for v in visible),
            ]
            (work / "ports.vlt").write_text("\n".join(lines) + "\n")
            sources.insert(0, work / "ports.vlt")
        runner.build(
            sources=sources,
            hdl_toplevel=outer,
            build_dir=work / "build",
            always=True,
            waves=waves,
            timescale=("1ns", "1ps"),
        )
        home = Path(folder).absolute() if folder else work
        log, results = home / f"{module}.log", work / "results.xml"
        environment = {"ORGANZA_BENCH": json.dumps({**(parameters or {}), "hdl_clock": hdl_clock})}
        status = 0
        try:
            runner.test(
                test_module=module,
                hdl_toplevel=outer,
                hdl_toplevel_lang="verilog",
                seed=seed,
                build_dir=work / "build",
                test_dir=home,
                results_xml=str(results),
                waves=waves,
                extra_env=environment,
                log_file=log,
                timescale=("1ns", "1ps"),
            )
        except SystemExit as stop:  # how the runner says that a test failed, under pytest only
            status = stop.code
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:]) if log.exists() else ""
        return _results(results, module, status, tail)


def _results(path: Path, module: str, status: object, tail: str) -> list[BenchResult]:
    if not path.exists():
        raise BenchError(f"Bench {module} ended with status {status} and without results:\n{tail}")
    passed, failed = [], []
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name", "?")
        problems = [*case.iter("failure"), *case.iter("error")]
        if problems:
            failed.append(
                f"{name}: {problems[0].get('error_msg') or problems[0].get('message') or 'failed'}"
            )
        elif case.find("skipped") is None:
            values = {p.get("name"): p.get("value") for p in case.iter("property")}
            simulated = float(values.get("sim_time_duration") or 0)
            passed.append(BenchResult(name, float(case.get("time", 0)), simulated))
    if failed:
        raise BenchError(
            "\n".join([f"Bench {module} has {len(failed)} failing tests:", *failed, tail])
        )
    if status or not passed:
        raise BenchError(
            f"Bench {module} ended with status {status} after {len(passed)} tests:\n{tail}"
        )
    return passed


def _ports(verilog: str, top: str) -> list[tuple[str, str, str]]:
    """Direction, range and name of the ports of ``top``, as Amaranth writes them."""
    body = re.search(
        rf"^\s*module\s+{re.escape(top)}\b.*?^\s*endmodule\b", verilog, re.DOTALL | re.MULTILINE
    )
    if not body:
        raise ValueError(f"Verilog must have a module {top!r}, but has none")
    return re.findall(
        r"^\s*(input|output)\s+(?:reg\s+|wire\s+)?((?:\[\d+:0\])?)\s*\\?(\w+)\s*;",
        body[0],
        re.MULTILINE,
    )


def _shell(top: str, ports: list[tuple[str, str, str]]) -> str:
    """A module with the ports of ``top`` and a clock of its own."""
    if "clk" not in [port for _, _, port in ports]:
        raise ValueError(
            f"Module {top!r} must have the input clk for a clock in Verilog, but has none"
        )
    # Escaped, because a port may have the name of a keyword, such as `release`.
    outer = ", ".join(
        f"{flow} wire {span} \\{port} " for flow, span, port in ports if port != "clk"
    )
    inner = ", ".join(f".\\{port} (\\{port} )" for _, _, port in ports)
    return (
        f"`timescale 1ns / 1ps\nmodule {SHELL}({outer});\n  reg clk = 0;\n"
        f"  always #{PERIOD_NS // 2} clk = !clk;\n  {top} dut ({inner});\nendmodule\n"
    )
