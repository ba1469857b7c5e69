# amaranth: UnusedElaboratable=no
"""cocotb benches of the components alone, on generated Verilog in Verilator."""

import copy
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from organza.codes import Linear
from organza.epilogue import Epilogue
from organza_hw.accumulators import Accumulators
from organza_hw.codes import term_of
from organza_hw.epilogue import EpilogueUnit
from organza_hw.formats import wire_shape
from organza_hw.lane_memory import LaneMemory
from organza_hw.lanes.dot import DotLanes
from organza_hw.orders import tables_of
from organza_hw.rom import VERILOG, Rom
from organza_hw.row_buffer import RingLayout, RowBuffer
from organza_hw.sequencer import ADDRESS_LATENCY, RELEASE_LATENCY, Sequencer
from organza_hw.verilog import to_verilog
from organza_sim.beats import to_beats
from organza_sim.cocotb_runner import BenchError, run_bench
from tests.organza_hw.test_output_rows import Shape as RowsShape
from tests.organza_hw.test_row_buffer import address
from tests.organza_hw.test_sequencer import expected
from tests.organza_sim.layer_cases import case

pytestmark = pytest.mark.rtl
FULL = pytest.mark.full  # more of what another case has already shown
TOP = "component"


def run(verilog, bench, parameters, **options):
    """Run a bench on a component; the names of the tests that passed."""
    module = f"organza_sim.benches.{bench}"
    results = run_bench(verilog, TOP, module, parameters=parameters, **options)
    return [result.name.removeprefix(f"{module}.") for result in results]


def bits(shape, value):
    """A value of an Amaranth shape, lists for arrays, as the bits of a port."""
    if isinstance(shape, data.Layout):
        return shape.const(value).as_value().value % 2 ** Shape.cast(shape).width
    return int(value) % 2 ** Shape.cast(shape).width


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
    latency = lanes.latency(5)
    assert latency == 2

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
    component = Accumulators(bits=12, to=to, p=p, e=e, tile_layout=unsigned(7))
    tables = {}
    for pace, stall in STALLS.items():
        rng = np.random.default_rng(len(pace))
        inputs, wanted, since = [], {}, drain
        for number in range(30):
            sums = rng.integers(-100, 100, (int(rng.integers(1, 7)), p, to))
            for k, part in enumerate(sums):
                last = k == len(sums) - 1
                while rng.random() < stall or (last and since + 1 < drain):
                    noise = rng.integers(-100, 100, (p, to)).tolist()  # must not matter
                    inputs.append({"valid": 0, "first": 1, "last": 1, "sums": noise, "tile": 99})
                    since += 1
                inputs.append(
                    {
                        "valid": 1,
                        "first": k == 0,
                        "last": last,
                        "sums": part.tolist(),
                        "tile": number,
                    }
                )
                since = 0 if last else since + 1
            total = np.zeros((p, chunks * e), int)
            total[:, :to] = sums.sum(0)
            for step in range(drain):
                pixel, chunk = divmod(step, chunks)
                values = total[pixel, chunk * e : (chunk + 1) * e].tolist()
                wanted[len(inputs) + step] = {
                    "o_chunk": chunk,
                    "o_pixel": pixel,
                    "o_last": step == drain - 1,
                    "o_tile": number,
                    "o_sums": values,
                }
        inputs += [{"valid": 0, "first": 0, "last": 0, "sums": [[0] * to] * p, "tile": 0}] * (
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
    wanted = [None, *({"data": words[a]} for a in addresses[:-1])]
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


@cache
def output_rows():
    """Verilog and parameters: five channels in beats of three, so writes of two run over a beat's
    end."""
    shape, images = RowsShape(n=3, channels=5, height=2, width=3, e=2), 4
    rng = np.random.default_rng(1)
    values = rng.integers(-128, 128, (images * shape.height, shape.width, shape.channels))
    component = shape.component()
    width = component.signature.members["w_data"].shape
    writes = [
        [
            [w["w_addr"], w["w_offset"], w["w_count"], bits(width, w["w_data"])]
            for w in shape.writes(rng, row, of_row.tolist())
        ]
        for row, of_row in enumerate(values)
    ]
    x = values.reshape(images, shape.height, shape.width, shape.channels).transpose(0, 3, 1, 2)
    wanted, last = to_beats(x, shape.n)
    return to_verilog(component, TOP), {
        "o": [shape.n, 8, True],
        "row_beats": shape.width * shape.beats,
        "writes": writes,
        "latency": 2,
        "wanted": wanted.tolist(),
        "wanted_last": last.tolist(),
    }


def test_output_rows():
    verilog, parameters = output_rows()
    names = run(verilog, "output_rows", parameters)
    assert len(names) == 6 and names[0] == "free"


@pytest.mark.parametrize(
    "fault, message",
    [
        ("latency", "has 1 failing tests:.*beats came in the cycles"),
        ("value", "has 6 failing tests:.*1 beats are wrong"),
        pytest.param("last", "has 6 failing tests:.*the last flag is on a wrong beat", marks=FULL),
    ],
)
def test_wrong_output_rows_are_found(fault, message):
    verilog, parameters = copy.deepcopy(output_rows())
    if fault == "latency":
        parameters["latency"] = 1
    elif fault == "value":
        parameters["wanted"][-1][0] ^= 1
    else:
        parameters["wanted_last"][-1] = False
    with pytest.raises(BenchError, match=f"(?s){message}"):
        run(verilog, "output_rows", parameters)


@cache
def row_buffer(seed):
    """Verilog and parameters for a layer of the geometry matrix."""
    chosen = case(seed)
    node, joint = chosen.program.nodes[0], chosen.plan.joints[0]
    ring = RingLayout(chosen.schedules[0], n=joint.n, depth=joint.depth)
    component = RowBuffer(ring, wire_shape(node.input))
    images = -(-(2 * ring.depth + 1) // node.y.size)  # twice around the ring
    x = np.concatenate([chosen.x] * images)[:images]
    x = np.random.default_rng(seed).permutation(x.reshape(-1)).reshape(x.shape)
    width, reads = node.input.bits, []
    for number, row in enumerate(x.transpose(0, 2, 3, 1).reshape(-1, node.x.size, node.ci)):
        words: dict = {}
        for (column, channel), value in np.ndenumerate(row):
            bank, word, lane = address(ring, number, column, channel)
            field = ((1 << width) - 1) << lane * width
            mask, old = words.get((bank, word), (0, 0))
            words[bank, word] = mask | field, old | int(value) << lane * width & field
        reads.append([[*place, *word] for place, word in words.items()])
    beats, _ = to_beats(x, ring.n)
    return to_verilog(component, TOP), {
        "i": [ring.n, width, node.input.signed],
        "beats": beats.tolist(),
        "row_beats": ring.row_beats,
        "step": ring.pieces_per_beat,
        "depth": ring.depth,
        "banks": ring.banks,
        "bank_words": ring.bank_words,
        "word_bits": ring.lanes * width,
        "reads": reads,
    }


@pytest.mark.parametrize("seed", [11, pytest.param(26, marks=FULL)])
def test_row_buffer(seed):
    verilog, parameters = row_buffer(seed)
    names = run(verilog, "row_buffer", parameters)
    assert len(names) == 6 and names[0] == "full"


@pytest.mark.parametrize(
    "fault, message",
    [
        ("value", "has 6 failing tests:.*word .* of bank .* instead of"),
        ("depth", "failing tests:.*a full ring takes a beat"),
        pytest.param("step", "has 1 failing tests:.* instead of", marks=FULL),
    ],
)
def test_wrong_row_buffers_are_found(fault, message):
    verilog, parameters = copy.deepcopy(row_buffer(11))
    if fault == "value":
        word = parameters["reads"][-1][-1]
        word[3] ^= word[2] & -word[2]
    else:
        parameters[fault] -= 1
    with pytest.raises(BenchError, match=f"(?s){message}"):
        run(verilog, "row_buffer", parameters)


@cache
def sequencer(seed, order="row", images=2):
    """Verilog and parameters for a layer of the geometry matrix: what its definition demands."""
    chosen = case(seed, orders=(order,))
    schedule = chosen.schedules[0]
    node = schedule.node
    ring = RingLayout(schedule, n=1, depth=chosen.plan.joints[0].depth)
    component = Sequencer(tables_of(ring, pixel_beats=3))
    issues = []
    for image in range(images):
        for wanted in expected(schedule, 3):
            fields = {name: int(value) for name, value in wanted["fields"].items()}
            lanes = []
            for lane in wanted["lanes"]:
                if lane is None:
                    lanes.append(None)
                    continue
                row, column, word = lane
                row += image * node.y.size
                place = (
                    row % ring.depth * ring.row_words
                    + column // ring.banks * ring.pixel_words
                    + word
                )
                lanes.append([row, column % ring.banks, place])
            issues.append({"fields": fields, "word": wanted["word"], "lanes": lanes})
    slices = {name: [field.offset, field.width] for name, field in component.issue_layout}
    return to_verilog(component, TOP), {
        "slices": slices,
        "depth": ring.depth,
        "banks": ring.banks,
        "pitch": node.x.pitch,
        "latency": ADDRESS_LATENCY,
        "release": RELEASE_LATENCY - 1,
        "rows_in": images * node.y.size,
        "issues": issues,
        "gapless": schedule.issues == schedule.cycles,
    }


@pytest.mark.parametrize("seed, order", [
    (26, "row"), (11, "weight"), pytest.param(25, "row", marks=FULL), pytest.param(23, "weight", marks=FULL),
])  # fmt: skip
def test_sequencer(seed, order):
    verilog, parameters = sequencer(seed, order)
    names = run(verilog, "sequencer", parameters)
    assert len(names) == 4 and names[0] == "free"


@pytest.mark.parametrize(
    "fault, message",
    [
        ("pixel", r"issue \d+ has pixel"),
        pytest.param("lane", r"lane \d reads", marks=FULL),
        pytest.param("release", "rows are released in the cycles", marks=FULL),
        ("latency", "reads a row before it is there"),
    ],
)
def test_wrong_sequencers_are_found(fault, message):
    verilog, parameters = copy.deepcopy(sequencer(26))
    issue = parameters["issues"][-1]
    if fault == "pixel":
        issue["fields"]["pixel"] += 1
    elif fault == "lane":
        next(filter(None, issue["lanes"]))[2] += 1
    elif fault == "release":
        parameters["release"] += 1
    else:
        parameters["latency"] += 1
    with pytest.raises(BenchError, match=f"(?s)failing tests:.*{message}"):
        run(verilog, "sequencer", parameters)
