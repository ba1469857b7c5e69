# amaranth: UnusedElaboratable=no
"""No engine uses a word that it reads in the cycle that writes it, as `block_ram` promises to synthesis: Verilog in which such words
are wrong makes the same images in the same cycles."""

import dataclasses
import re

import numpy as np
import pytest

from organza_hw.block_ram import ATTRIBUTE
from organza_hw.build import Chip, build
from organza_sim.api import simulate
from organza_sim.rtl import random_stalls
from tests.organza_sim.test_weight_order import chain

MEMORY = re.compile(rf"\(\* {ATTRIBUTE} = 32'd1 \*\)\n\s*reg \[(\d+):0\] (\S+) \[\d+:0\];.*?\n\s*assign ", re.DOTALL)


def collide(text: str) -> tuple[str, int]:
    """Verilog whose memories give words with all bits inverted where they are written in the same cycle; how many memories."""
    count = 0

    def change(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        width, name = int(found[1]) + 1, re.escape(found[2])
        writes = re.findall(rf"if \(([^;]*?)\)\s*\n\s*{name}\[([^]]*)\](?:\[[^]]*\])? <=", found[0])
        assert writes, found[0]
        written = " | ".join(f"(({condition}) && ({address}) == (READ))" for condition, address in writes)
        body, changed = re.subn(
            rf"<= {name}\[([^]]*)\];",
            lambda read: f"<= {found[2]}[{read[1]}] ^ {{{width}{{{written.replace('READ', read[1])}}}}};", found[0],
        )  # fmt: skip
        assert changed == 1, found[0]
        return body

    return MEMORY.sub(change, text), count


def chip_of(codes: tuple[str, ...], orders: tuple[str, ...], seed: int) -> tuple[Chip, np.ndarray]:
    chosen = chain(seed, codes, orders, images=4, max_macs=3000)
    return build(chosen.program, chosen.plan), chosen.x


@pytest.mark.rtl
@pytest.mark.parametrize("codes, orders, seed", [
    (("linear", "hashed"), ("row",), 0),
    pytest.param(("linear", "ternary", "codebook"), ("weight",), 1, marks=pytest.mark.full),
    pytest.param(("flexpoint", "multihash"), ("row", "weight"), 2, marks=pytest.mark.full),
    pytest.param(("sparse", "huffman"), ("weight",), 3, marks=pytest.mark.full),
])  # fmt: skip
def test_collisions_do_not_matter(codes, orders, seed):
    chip, x = chip_of(codes, orders, seed)
    source, count = collide(chip.source)
    assert count == chip.source.count(ATTRIBUTE) >= 2 * len(codes)
    worse = dataclasses.replace(chip, source=source)
    wanted, free = chip.program.run(x), simulate(worse, x)
    assert (free.outputs == wanted).all()
    assert free.cycles == simulate(chip, x).cycles
    stalled = simulate(worse, x, stalls=(random_stalls(0.3, seed), random_stalls(0.5, seed + 1)))
    assert (stalled.outputs == wanted).all()


@pytest.mark.rtl
def test_a_collision_that_is_used_would_be_seen():
    """The partial sums of a phase, which are read while those of another are written, with reads that always collide."""
    chip, x = chip_of(("linear", "ternary", "codebook"), ("weight",), 1)
    worse = dataclasses.replace(chip, source=re.sub(r"&& \([^()]*\) == \([^()]*\)", "", collide(chip.source)[0]))
    assert worse.source != collide(chip.source)[0]
    assert (simulate(worse, x).outputs != chip.program.run(x)).any()
