# amaranth: UnusedElaboratable=no
"""Weights take the memory that `image_bits` and `buffer_bits` say: the memories of the elaborated gateware, added up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Fragment, MemoryInstance, Shape
from typer.testing import CliRunner

from organza.cli import app
from organza.codes import CODES, SERIAL, Code
from organza.formats import Fixed, Flex, Sign
from organza.geometry import Axis
from organza.program import Convolve, Program
from organza.schedule import Schedule
from organza_hw.build import build, memory_words
from organza_hw.engine import Engine
from organza_sim.build_folder import write_build
from organza_sim.planner import plan_program
from tests.strategies import random_code, random_convolve, random_epilogue, random_input

# Inner channels, output channels a group, groups, kernel; lanes that leave places of their words empty, and one that fills them.
LAYER = (6, 5, 2, (3, 2))
LANES = ((1, 1, 1), (2, 2, 1), (3, 5, 2))
GEOMETRY = {"up": 2, "down": 1, "crop_before": 1, "crop_after": 0}
"""A code, and how often its kind is drawn: several inner codes, indexes, numbers of centroids, trits in a byte."""
DRAWN = {"sparse": 12, "huffman": 4, "rle": 4, "ternary": 4, "binary": 4, "codebook": 3}


def layer(code: Code, input: Any) -> Convolve:
    axes = [Axis(size=3, kernel=kernel, **GEOMETRY) for kernel in code.shape[2:]]
    groups = code.groups or LAYER[2]
    output = Fixed(8, False, 1 / 32)
    bound = np.full(code.shape[1] * groups, 1 << 12)
    return Convolve(
        name="layer", y=axes[0], x=axes[1], groups=groups, code=code, input=input, output=output,
        epilogue=random_epilogue(np.random.default_rng(0), bound, output, kind="relu"),
    )  # fmt: skip


def layers(kind: str) -> list[Convolve]:
    """Layers of this kind of code, each with the inputs that one of its kinds of lanes asks for."""
    ci, cog, groups, taps = LAYER
    made = []
    for seed in range(DRAWN.get(kind, 2)):
        code = random_code(np.random.default_rng(seed), (ci, cog, *taps), kind, groups=groups)
        inputs = (Flex(-8),) if kind == "flexpoint" else (Fixed(8, seed % 2 == 0, 1 / 16), Sign(1.0))
        made += [layer(code, input) for input in inputs if code.lanes_for(input)]
    return made


def schedules(node: Convolve, number: int) -> list[Schedule]:
    """Every kind of lanes, order and memory of a layer, with shapes of lanes that take turns."""
    code, made = node.code, []
    shapes = itertools.islice(itertools.cycle(LANES), number, None)
    for arithmetic in code.lanes_for(node.input):
        for order in code.orders(arithmetic):
            for memory, (ti, to, p) in zip(code.memories(order), shapes, strict=False):
                ti = min(code.lane_shape[0] or ti, code.most_ti(arithmetic, node.ci // node.groups))
                how = {"arithmetic": arithmetic, "order": order, "memory": memory}
                made.append(Schedule(node=node, ti=ti, to=code.lane_shape[1] or to, p=p, e=1, **how))
    return made


def memories(fragment: Fragment) -> dict[str, int]:
    """Bits of the memories below every submodule of an elaborated component, tables of taps in weight order left out."""
    found = {}
    for inner, name, _ in fragment.subfragments:
        if isinstance(inner, MemoryInstance):
            found[name] = inner._data.depth * Shape.cast(inner._data.shape).width
        elif name != "walk":
            found[name] = sum(memories(inner).values())
    return found


@pytest.mark.parametrize("kind", CODES)
def test_every_code_lanes_order_and_memory(kind: str) -> None:
    seen = set()
    for number, node in enumerate(layers(kind)):
        for schedule in schedules(node, number):
            seen.add((schedule.arithmetic, schedule.order, schedule.memory))
            engine = Engine(schedule, n_in=2, n_out=2, depth=node.y.size)
            parts = Fragment.get(engine, None)
            (weights,) = [inner for inner, name, _ in parts.subfragments if name == "weights"]
            (sequencer,) = [inner for inner, name, _ in parts.subfragments if name == "sequencer"]
            held = sum(memories(weights).values()) + memories(sequencer).get("blocks", 0)
            expanded = schedule.buffer_bits if schedule.memory == "expand" else 0
            assert held == schedule.image_bits + expanded
            images = [rom for rom in (*engine.weights.roms, engine.blocks) if rom is not None]
            assert sum(rom.width * len(rom.words) for rom in images) == schedule.image_bits
            if schedule.memory == "rom":
                assert schedule.buffer_bits == schedule.image_bits
            elif schedule.streams:
                assert schedule.buffer_bits == 2 * len(engine.weights.data)
    orders = {(order, memory) for _, order, memory in seen}
    serial = kind in SERIAL
    assert orders == {("row", "expand"), ("weight", "expand"), ("weight", "stream")} if serial else {("row", "rom"), ("weight", "rom")}


@pytest.mark.parametrize("kind", CODES)
def test_images_are_what_is_stored_and_empty_places(kind: str) -> None:
    """Of a dense code the fields and the places of tiles that are not full; of a serial one, nothing but what is stored."""
    for node in layers(kind):
        code, groups = node.code, node.groups
        ti, to = code.lane_shape
        ti, to = ti or 2, to or 3
        stored = code.stored_bits - code.table_bits
        if kind in SERIAL or kind == "blockhash":
            assert code.image_bits(1, 1, 1) == stored
        elif kind == "sparse":
            assert code.image_bits(ti, to, groups) == sparse_bits(code, ti, to, groups)
        elif getattr(code, "per_byte", 4) == 4:
            words = code.words(ti, to, groups)
            assert code.image_bits(ti, to, groups) == stored + (words.size - code.integers().size) * code.field_bits
        else:
            assert code.image_bits(ti, to, groups) == 8 * -(-ti * to // 5) * len(code.words(ti, to, groups))


def sparse_bits(code: Any, ti: int, to: int, groups: int) -> int:
    """Lane words of gathering lanes counted one by one, idle lanes and block numbers included."""
    ci, cog, ky, kx = code.shape
    channels, words = ci // groups, 0
    block = min(code.block, channels)
    for group, first, y, x in itertools.product(range(groups), range(0, cog, to), range(ky), range(kx)):
        kept = code.mask[group * channels : (group + 1) * channels, first : first + to, y, x]
        needed = sum(-(-int(kept[start : start + block].sum(0).max()) // ti) for start in range(0, channels, block))
        words += max(needed, 1)  # a tap without any weight has one word of idle lanes
    number = max(1, int(np.ceil(np.log2(-(-channels // block)))))
    place = int(np.ceil(np.log2(code.block + (code.inner.zero_field is None))))
    return words * (ti * to * (code.inner.field_bits + place) + number)


def test_info_says_what_the_files_of_a_build_hold(tmp_path: Any) -> None:
    rng, nodes = np.random.default_rng(4), []
    for name in ("linear", "sparse", "huffman", "hashed", "ternary"):
        before = {"input": nodes[-1].output, "input_shape": nodes[-1].output_shape} if nodes else {}
        nodes.append(random_convolve(rng, name=name, code=name, max_positions=20, max_macs=1000, **before))
    program = Program(tuple(nodes))
    orders = {"hashed": "weight", "ternary": "weight"}
    plan = plan_program(program, 12, orders=orders, memories={"hashed": "stream"})
    write_build(tmp_path, build(program, plan), random_input(rng, program, 1))
    rows = json.loads(CliRunner().invoke(app, ["info", str(tmp_path), "--json"]).stdout)["layers"]
    schedules, files = plan.schedules(program), memory_words(program, plan)
    assert [schedule.memory for schedule in schedules] == ["rom", "rom", "expand", "stream", "rom"]
    for k, (row, schedule) in enumerate(zip(rows, schedules, strict=True)):
        found = 0
        for path in tmp_path.glob(f"layer{k}_*.hex"):
            if path.stem not in (f"layer{k}_constants", f"layer{k}_table"):
                width, words = files[path.name]
                assert len(path.read_text().split()) == len(words)
                found += width * len(words)
        assert row["image_bits"] == found == schedule.image_bits
        assert row["buffer_bits"] == schedule.buffer_bits + schedule.node.constant_bits
        assert row["stored_bits"] == schedule.node.code.stored_bits + schedule.node.constant_bits
    assert plan.resources["weight_bits"] == sum(row["image_bits"] for row in rows)
    assert plan.resources["buffer_bits"] == sum(schedule.buffer_bits for schedule in schedules)
    text = CliRunner().invoke(app, ["info", str(tmp_path)]).stdout
    assert "memory kbit" in text and f"{rows[0]['image_bits'] / 1000:,.1f}" in text
