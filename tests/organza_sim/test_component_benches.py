# amaranth: UnusedElaboratable=no
"""cocotb benches of the components with a handshake alone, on generated Verilog in Verilator."""

import copy
from functools import cache

import numpy as np
import pytest

from organza_hw.formats import wire_shape
from organza_hw.orders import tables_of
from organza_hw.row_buffer import RingLayout, RowBuffer
from organza_hw.sequencer import ADDRESS_LATENCY, RELEASE_LATENCY, Sequencer
from organza_hw.verilog import to_verilog
from organza_sim.beats import to_beats
from organza_sim.cocotb_runner import BenchError
from tests.organza_hw.test_output_rows import Shape as RowsShape
from tests.organza_hw.test_row_buffer import address
from tests.organza_hw.test_sequencer import expected
from tests.organza_sim.component_bench import TOP, bits, run
from tests.organza_sim.layer_cases import case

pytestmark = pytest.mark.rtl
FULL = pytest.mark.full  # more of what another case has already shown


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
        "latency": 3,
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
        parameters["latency"] = 2
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
