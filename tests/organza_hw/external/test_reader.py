# amaranth: UnusedElaboratable=no
"""Lane words of several engines out of one SDRAM: in order, over and over, as fast as the memory gives them, and nobody waits for another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organza.board import Memory, load_board
from organza.plan import Plan
from organza.program import Program
from organza.schedule import Schedule
from organza.weight_image import Reason
from organza_hw.external.layout import Region, contents, regions, sent_image, stored_bytes
from organza_hw.external.memory import PORT, external_works
from organza_hw.external.reader import LEAST_BURST, QUEUE, START, LaneWords, burst_words, image_cycles
from organza_hw.external.sdram import ANSWERS, Order
from organza_hw.external.sdram_timing import Cycles
from organza_hw.external.store import ExternalStore
from organza_hw.external.supply import external_words
from organza_sim.planner import plan_program
from organza_sim.rtl import random_stalls
from organza_sim.sdram_chip import Chip
from tests.organza_hw.external.sdram_bench import HZ, Pads, memory
from tests.organza_hw.link.shared import simulate
from tests.organza_hw.patterns import CROSSED, PATTERNS
from tests.tiny import tiny_program

LIMIT = 400  # cycles without any word


def planned(lanes: int) -> tuple[Program, Plan]:
    """Both layers beside the chip."""
    program = tiny_program()
    names = [node.name for node in program.nodes]
    return program, plan_program(program, lanes, orders=dict.fromkeys(names, "weight"), memories=dict.fromkeys(names, "external"))


def run(program: Program, plan: Plan, images: list[bytes], stalls: dict[int, np.ndarray], counts: dict[int, int], *, board: Memory | None = None):
    """Words and marks that came of every engine, at least as many as `counts`, once the last image is loaded; orders; the cycles since it was; refusals of the others."""
    board = board or memory()
    dut = ExternalStore(program, plan, board, HZ)
    pads = Pads(Chip(board), dut.sdram, pins=dut.pins)
    ports = {k: getattr(dut, f"{PORT}{k}") for k in counts}
    came = {k: [] for k in counts}
    refusals, spent = [], [0]

    async def testbench(ctx):
        async def tick(more=()):
            samples = [value for port in ports.values() for value in (port.valid, port.payload.data, port.payload.last)]
            _, _, *values = await ctx.tick().sample(*pads.signals, *more, *samples)
            ctx.set(dut.pins.dq_i, pads.edge(values[: len(pads.signals)]))
            rest = values[len(pads.signals) :]
            return rest[: len(more)], dict(zip(ports, np.array(rest[len(more) :], object).reshape(-1, 3).tolist(), strict=True))

        for image in images:
            for place, byte in enumerate(image):
                ctx.set(dut.load.payload.byte, byte)
                ctx.set(dut.load.payload.first, place == 0)
                ctx.set(dut.load.valid, 1)
                while not (await tick((dut.load.ready,)))[0][0]:
                    pass
            ctx.set(dut.load.valid, 0)
            for _ in range(6):
                await tick()
            refusals.append((ctx.get(dut.loaded), ctx.get(dut.refusal)))
        cycle, quiet, held = 0, 0, dict.fromkeys(counts)
        while any(len(came[k]) < counts[k] for k in counts):
            open_ = {k: not stalls[k][cycle % len(stalls[k])] for k in counts}
            for k, port in ports.items():
                ctx.set(port.ready, open_[k])
            _, seen = await tick()
            quiet += 1
            for k, (valid, word, last) in seen.items():
                assert held[k] is None or [valid, word, last] == held[k]
                held[k] = [valid, word, last] if valid and not open_[k] else None
                if valid and open_[k]:
                    came[k].append((word, last))
                    quiet = 0
            cycle += 1
            assert quiet < LIMIT, "no words come"
        spent[0] = cycle

    simulate(dut, testbench)
    return came, pads.orders, spent[0], refusals


def wanted(program: Program, plan: Plan, k: int, count: int) -> list[tuple[int, int]]:
    words = external_words(external_works(program, plan)[k])
    return [(words[n % len(words)], int(n % len(words) == len(words) - 1)) for n in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_words_of_two_engines(seed):
    """Two at random speeds, and at the last seed one that hardly takes any."""
    program, plan = planned((4, 64, 16, 8)[seed])
    image = sent_image(program, plan, memory())
    stalls = {k: random_stalls((0.0, 0.5, 0.9, 0.99)[(seed + k) % 4], seed, 97) for k in (0, 1)}
    counts = {0: 200, 1: 200} if seed < 2 else {0: 40, 1: 40}
    came, orders, _, refusals = run(program, plan, [image], stalls, counts)
    for k in counts:
        assert came[k] == wanted(program, plan, k, len(came[k]))
    assert refusals == [(1, 0)]
    assert orders.count(Order.WRITE) == stored_bytes(program, plan, 16) // 2


@pytest.mark.parametrize("stuck", [0, 1])
def test_an_engine_that_waits_delays_no_other(stuck):
    """One takes nothing at all; the other has all that the memory gives."""
    program, plan = planned(8)
    stalls = {stuck: np.ones(1, bool), 1 - stuck: np.zeros(1, bool)}
    parts = {region.number: region.parts for region in regions(program, plan, 16)}
    count = 3 * QUEUE // parts[1 - stuck]
    came, _, cycles, _ = run(program, plan, [sent_image(program, plan, memory())], stalls, {stuck: 0, 1 - stuck: count})
    assert came[stuck] == [] and came[1 - stuck] == wanted(program, plan, 1 - stuck, count)
    assert cycles < 1.1 * (count * parts[1 - stuck] + QUEUE)  # once the queue of the other is full


def test_the_rate_that_is_promised():
    """Both take what comes: as many words a second as `image_cycles` says, at least."""
    program, plan = planned(16)
    held = regions(program, plan, 16)
    images = 24
    counts = {region.number: images * region.work.words for region in held}
    never = {k: np.zeros(1, bool) for k in counts}
    came, _, cycles, _ = run(program, plan, [sent_image(program, plan, memory())], never, counts)
    words = sum(len(came[region.number]) * region.parts for region in held)
    promised = sum(region.size for region in held) / image_cycles(program, plan, load_board("ulx3s-85f"))
    assert 0.85 < promised < 1 and words / (cycles - 60) >= promised


def test_a_refused_image_and_the_same_again():
    """Nothing is read of what was refused; words go on where they were behind an image that comes again."""
    program, plan = planned(8)
    image = sent_image(program, plan, memory())
    wrong = bytearray(image)
    wrong[30] ^= 4
    other = bytearray(image)
    other[6] ^= 1
    stalls = {0: np.zeros(1, bool), 1: random_stalls(0.5, 1, 97)}
    came, _, _, refusals = run(program, plan, [bytes(wrong), bytes(other), image, image], stalls, {0: 100, 1: 100})
    assert refusals == [(0, Reason.CRC), (0, Reason.SHAPE), (1, 0), (1, 0)]
    for k, words in came.items():
        assert words == wanted(program, plan, k, len(words))


@pytest.mark.parametrize("idle, pressure", CROSSED)
def test_wide_words_of_parts(idle, pressure):
    """A lane word of six words of the memory; nothing is lost or twice, and without stalls none of them waits."""
    node = tiny_program().nodes[0]
    schedule = Schedule(node=node, ti=4, to=3, order="weight", memory="external")
    region = Region(0, schedule, 0, 6)
    dut, held = LaneWords(region, 16), external_words(schedule)
    parts = [word >> 16 * k & 0xFFFF for word in held * 2 for k in range(6)]
    came, stalls = [], (PATTERNS[idle], PATTERNS[pressure])

    async def testbench(ctx):
        at, offered, before, cycle = 0, False, None, 0
        while len(came) < 2 * len(held):
            offered = at < len(parts) and (offered or not stalls[0][cycle % len(stalls[0])])
            ready = not stalls[1][cycle % len(stalls[1])]
            ctx.set(dut.i.payload, parts[at] if offered else 0)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, ready)
            _, _, taken, valid, word, last = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.payload.data, dut.o.payload.last)
            assert before is None or (valid, word, last) == before
            before = (valid, word, last) if valid and not ready else None
            came.extend([(word, last)] if valid and ready else [])
            at, offered, cycle = at + (offered and taken), offered and not taken, cycle + 1
            assert cycle < 20 * len(parts), "no words come"
        if idle == pressure == "never":
            assert cycle == len(parts) + 1

    simulate(dut, testbench)
    assert came == [(word, int(k == len(held) - 1)) for _ in range(2) for k, word in enumerate(held)]


@pytest.mark.parametrize("engines", [1, 2, 3, 6, 12, 20])
def test_bursts_fit_the_queue(engines):
    """The words that wait last until the next burst is there, whatever the others have asked for."""
    timing = memory().timing
    assert timing is not None
    cycles = Cycles.of(timing, HZ)
    size = burst_words(engines, cycles)
    worst = (engines - 1) * (size + 2 * cycles.new_row + START) + cycles.refresh_cycle + 2 * cycles.new_row + ANSWERS + START
    assert LEAST_BURST <= size <= QUEUE // 2 and worst <= QUEUE - size
    with pytest.raises(ValueError, match=r"^Memory beside the chip must be for fewer engines than 40: "):
        burst_words(40, cycles)


def test_layout():
    """Every lane word in whole words of the memory, engine behind engine."""
    program, plan = planned(6)
    found = regions(program, plan, 16)
    assert found[0].first == 0 and found[1].first == found[0].last + 1 and all(isinstance(one, Region) for one in found)
    held, place = contents(program, plan, 16), 0
    for region in found:
        size = 2 * region.parts
        for word in external_words(region.work):
            assert int.from_bytes(held[place : place + size], "little") == word
            place += size
    assert place == len(held) == stored_bytes(program, plan, 16)
    inside = replace(plan, engines=tuple(replace(engine, memory="rom") for engine in plan.engines))
    assert sent_image(program, inside, memory()) == b"" == sent_image(program, plan, None)
