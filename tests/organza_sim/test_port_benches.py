# amaranth: UnusedElaboratable=no
"""A cocotb bench of the components without a handshake, all in one piece of Verilog: ports in every cycle."""

import copy

import numpy as np
import pytest
from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza_hw.accumulators import Accumulators, Use
from organza_hw.codes import term_of
from organza_hw.epilogue import EpilogueUnit
from organza_hw.lane_memory import LaneMemory
from organza_hw.lanes.dot import DotLanes
from organza_hw.rom import VERILOG, Rom
from organza_hw.verilog import to_verilog
from organza_sim.cocotb_runner import BenchError
from tests.organza_sim.component_bench import TOP, bits, run

pytestmark = pytest.mark.rtl


class Board(wiring.Component):
    """Components side by side, so that one build serves them all. The port `name__member` is that of
    component `name`."""

    def __init__(self, parts):
        self.parts = parts
        super().__init__({name: Out(part.signature) for name, part in parts.items()})

    def elaborate(self, platform):
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            wiring.connect(m, part, wiring.flipped(getattr(self, name)))
        return m


def table(name, component, inputs, outputs):
    """A table of the bench `ports`: what the ports take, and what they must be, in each cycle. None
    is anything."""
    members = component.signature.members
    return {
        side: {
            f"{name}__{port}": [
                None if row is None or row[port] is None else bits(members[port].shape, row[port])
                for row in rows
            ]
            for port in next(filter(None, rows))
        }
        for side, rows in (("inputs", inputs), ("outputs", outputs))
    }


def idle(rng, stall, steps, noise):
    """Steps with random pauses, that have `noise` on the ports: (step or None, step or noise)."""
    made = []
    for step in steps:
        while rng.random() < stall:
            made.append((None, noise()))
        made.append((step, step))
    return made


STALLS = {"dense": 0.0, "paused": 0.4}


def epilogue_unit(name, with_table=False):
    """Component and tables: values of `organza.epilogue` with the latency of the unit."""
    rng = np.random.default_rng(with_table)
    low, high, output = (-90, 101, signed(8)) if with_table else (-128, 127, signed(8))
    steps = 150
    sums = rng.integers(-(1 << 17), 1 << 17, steps)
    bias = rng.integers(-(1 << 16), 1 << 16, steps)
    positive, negative = rng.integers(-(1 << 15), 1 << 15, (2, steps))
    shift = rng.integers(0, 48, steps)
    shift[::2] = rng.integers(18, 28, len(shift[::2]))  # where the result is mostly not clamped
    lookup = rng.integers(-128, 128, high - low + 1) if with_table else None
    epilogue = Epilogue(bias, positive, negative, shift, low, high, lookup)
    unit = EpilogueUnit(
        epilogue,
        sum_bits=19,
        bias=signed(19),
        positive=signed(16),
        negative=signed(16),
        shift=unsigned(6),
        output=output,
    )
    wanted = epilogue.compute(sums).tolist()
    assert len(set(wanted)) > 40
    columns = {
        "sum": sums,
        "bias": bias,
        "positive": positive,
        "negative": negative,
        "shift": shift,
    }

    def row(k):
        return {name: values[k] for name, values in columns.items()}

    tables = {}
    for pace, stall in STALLS.items():
        cycles = idle(rng, stall, range(steps), lambda: int(rng.integers(steps)))
        cycles += [(None, 0)] * unit.latency
        seen = [None] * unit.latency + [None if k is None else {"q": wanted[k]} for k, _ in cycles]
        tables[pace] = table(name, unit, [row(k) for _, k in cycles], seen[: len(cycles)])
    return unit, tables


def dot_lanes(name):
    """Component and tables: exact dot products."""
    rng = np.random.default_rng(1)
    term = term_of(Linear(np.zeros((1, 1, 1, 1), int), 5))
    lanes = DotLanes(term, activation=signed(8), ti=5, to=2, p=2, sum_bits=16)
    latency = term.latency(5)
    assert latency == 5

    def operands():
        return {
            "activations": rng.integers(-128, 128, (2, 5)),
            "weights": rng.integers(-16, 16, (2, 5)),
        }

    steps = [operands() for _ in range(100)]
    steps[:2] = [
        {"activations": np.full((2, 5), -128), "weights": np.full((2, 5), w)} for w in (-16, 15)
    ]
    tables = {}
    for pace, stall in STALLS.items():
        cycles = [*idle(rng, stall, steps, operands), *[(None, operands())] * latency]
        seen = [None] * latency + [
            None if step is None else {"sums": (step["activations"] @ step["weights"].T).tolist()}
            for step, _ in cycles
        ]
        inputs = [{port: value.tolist() for port, value in ports.items()} for _, ports in cycles]
        tables[pace] = table(name, lanes, inputs, seen[: len(cycles)])
    return lanes, tables


def accumulators(name):
    """Component and tables: sums of tiles as close to each other as may be, or later."""
    to, p, e = 3, 2, 2
    chunks = 2
    drain = p * chunks
    component = Accumulators(bits=12, uses=[Use(to, p, e)], tile_layout=unsigned(7))
    tables = {}
    for pace, stall in STALLS.items():
        rng = np.random.default_rng(len(pace))
        inputs, wanted, since = [], {}, drain
        for number in range(30):
            sums = rng.integers(-100, 100, (int(rng.integers(1, 7)), p, to))
            for k, part in enumerate(sums):
                last = k == len(sums) - 1
                while rng.random() < stall or (last and since + 1 < drain):
                    noise = rng.integers(-100, 100, p * to).tolist()  # must not matter
                    inputs.append({"valid": 0, "first": 1, "last": 1, "sums": noise, "tile": 99})
                    since += 1
                inputs.append(
                    {
                        "valid": 1,
                        "first": k == 0,
                        "last": last,
                        "sums": part.reshape(-1).tolist(),
                        "tile": number,
                    }
                )
                since = 0 if last else since + 1
            total = np.zeros((p, chunks * e), int)
            total[:, :to] = sums.sum(0)
            for step in range(drain):
                pixel, chunk = divmod(step, chunks)
                values = total[pixel, chunk * e : (chunk + 1) * e].tolist()
                wanted[len(inputs) + 1 + step] = {
                    "o_chunk": chunk,
                    "o_pixel": pixel,
                    "o_last": step == drain - 1,
                    "o_tile": number,
                    "o_sums": values,
                }
        inputs += [{"valid": 0, "first": 0, "last": 0, "sums": [0] * (p * to), "tile": 0}] * (
            drain + 3
        )
        nothing = dict.fromkeys(("o_chunk", "o_pixel", "o_last", "o_tile", "o_sums"))
        seen = [{"o_valid": int(k in wanted), **wanted.get(k, nothing)} for k in range(len(inputs))]
        tables[pace] = table(name, component, inputs, seen)
    return component, tables


def lane_memory(name):
    """Component and tables: writes that run over the end of a word, reads that hold in pauses."""
    depth, lanes, width = 5, 4, 3
    component = LaneMemory(
        shape=signed(6), depth=depth, lanes=lanes, width=width, offsets=range(lanes), straddle=True
    )
    tables = {}
    for pace, stall in STALLS.items():
        rng = np.random.default_rng(len(pace))
        content = np.zeros((depth + 1) * lanes, int)
        # Every word is written before it is read: a memory is not reset.
        inputs = [
            {
                "w_en": 1,
                "w_addr": k // 4,
                "w_offset": k % 4,
                "w_count": 1,
                "w_data": [0] * 3,
                "r_en": 0,
                "r_addr": 0,
            }
            for k in range(depth * lanes)
        ]
        wanted: list = [None] * (len(inputs) + 1)
        held = None
        for _ in range(300):
            word, offset, count = (int(rng.integers(end)) for end in (depth - 1, lanes, width + 1))
            values = rng.integers(-32, 32, width).tolist()
            begin = word * lanes + offset
            enable, reading = rng.random() >= stall, rng.random() >= stall
            touched = {k // lanes for k in range(begin, begin + count)} if enable else set()
            read = int(rng.choice(sorted(set(range(depth)) - touched)))
            inputs.append(
                {
                    "w_en": enable,
                    "w_addr": word,
                    "w_offset": offset,
                    "w_count": count,
                    "w_data": values,
                    "r_en": reading,
                    "r_addr": read,
                }
            )
            held = (
                {"r_data": content[read * lanes : (read + 1) * lanes].tolist()} if reading else held
            )
            wanted.append(held)
            if enable:
                content[begin : begin + count] = values[:count]
        tables[pace] = table(name, component, inputs, wanted[: len(inputs)])
    return component, tables


def rom(name, file=None):
    """Component and tables: every word, and words in any order."""
    rng = np.random.default_rng(1)
    words = [int.from_bytes(rng.bytes(9), "little") for _ in range(13)]
    component = Rom(width=72, words=words, file=file)
    addresses = [*range(13), *rng.integers(0, 13, 60).tolist()]
    wanted = [None] * Rom.LATENCY + [{"data": words[a]} for a in addresses[: -Rom.LATENCY]]
    return component, {"any": table(name, component, [{"addr": a} for a in addresses], wanted)}


@pytest.fixture(scope="module")
def board():
    """Verilog, memory file and tables of all components without a handshake."""
    made = {
        "epilogue": epilogue_unit("epilogue"),
        "lookup": epilogue_unit("lookup", with_table=True),
        "lanes": dot_lanes("lanes"),
        "accumulators": accumulators("accumulators"),
        "memory": lane_memory("memory"),
        "rom": rom("rom"),
        "hex_rom": rom("hex_rom", file="words.hex"),
    }
    verilog = to_verilog(Board({name: part for name, (part, _) in made.items()}), TOP) + VERILOG
    tables = {
        f"{name} {pace}": table
        for name, (_, paces) in made.items()
        for pace, table in paces.items()
    }
    return verilog, made["hex_rom"][0].hex, tables


def test_ports(tmp_path, board):
    verilog, words, tables = board
    (tmp_path / "words.hex").write_text(words)
    assert len(run(verilog, "ports", {"tables": tables}, folder=tmp_path)) == len(tables) == 12


def test_wrong_ports_are_found(tmp_path, board):
    verilog, words, tables = board
    (tmp_path / "words.hex").write_text(words)
    tables, messages = copy.deepcopy(tables), []
    for name in sorted(tables):
        port, column = list(tables[name]["outputs"].items())[-1]
        at = max(cycle for cycle, value in enumerate(column) if value is not None)
        column[at] ^= 1
        messages.append(rf"port {port} is [0-9a-f]+ instead of {column[at]:x} in cycle {at}\b")
    with pytest.raises(
        BenchError, match=f"(?s)has {len(tables)} failing tests:.*{'.*'.join(messages)}"
    ):
        run(verilog, "ports", {"tables": tables}, folder=tmp_path)
