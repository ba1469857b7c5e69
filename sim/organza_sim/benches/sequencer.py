"""cocotb bench of a sequencer: rows arrive and leave at random times, every issue is compared.

Its parameters give the ``slices`` of the issue as name: [first bit, width], the ``depth`` of the
ring, its ``banks`` and the ``pitch`` of the pixel lanes, the ``latency`` of an issue and of its
``release``, the ``rows_in`` and all ``issues``: their ``fields``, the weight ``word`` or null, and
for every pixel lane null or [input row, bank, address], rows counted from the first image on.
"""

import random

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly

from organza_sim.benches.stream import parameters, start

OUTPUT_UNITS = 2  # that may be begun and not yet sent
SILENCE = 100


class Recorder:
    """Neighbours of a sequencer, and what it did: its issues with their cycles, and in each cycle
    the rows that had arrived, been sent and been released before it."""

    def __init__(self, dut):
        self._dut, self._given = dut, parameters()
        self.issues: list[tuple[int, int, int, int]] = []  # cycle, issue, ring_addr, weight_addr
        self.arrived: list[int] = []
        self.sent: list[int] = []
        self.released: list[int] = []

    def field(self, issue: int, name: str) -> int:
        """A part of an issue."""
        low, width = self._given["slices"][name]
        return issue >> low & (1 << width) - 1

    async def run(self, stall_in: float, stall_out: float) -> None:
        """Returns when nothing happened for a while."""
        dut, given, chance = self._dut, self._given, random.Random(1)
        arrived = sent = released = ended = quiet = 0
        while quiet < SILENCE:
            await FallingEdge(dut.clk)
            arrives = (
                arrived < given["rows_in"]
                and arrived - released < given["depth"]
                and chance.random() >= stall_in
            )
            leaves = sent < ended and chance.random() >= stall_out
            dut.row_written.value, dut.unit_freed.value = int(arrives), int(leaves)
            await ReadOnly()
            for record, count in (
                (self.arrived, arrived),
                (self.sent, sent),
                (self.released, released),
            ):
                record.append(count)
            issue, release = int(dut.issue.value), int(dut.release.value)
            quiet = 0 if release or arrives or leaves else quiet + 1
            if self.field(issue, "valid"):
                quiet = 0
                ring, word = int(dut.ring_addr.value), int(dut.weight_addr.value)
                self.issues.append((len(self.arrived) - 1, issue, ring, word))
                ended += self.field(issue, "unit_end")
            arrived, sent, released = arrived + arrives, sent + leaves, released + release


def _lanes(recorder: Recorder, issue: int, ring: int, wanted: list) -> str | None:
    """What is wrong with the addresses of an issue."""
    given = parameters()
    bits = len(recorder._dut.ring_addr) // given["banks"]
    for lane, place in enumerate(wanted):
        exists = recorder.field(issue, "mask") >> lane & 1
        if exists != (place is not None):
            return f"lane {lane} has mask {exists}"
        if place is None:
            continue
        _, bank, address = place
        turned = (recorder.field(issue, "turn") + lane * given["pitch"]) % given["banks"]
        seen = ring >> bank * bits & (1 << bits) - 1
        if (turned, seen) != (bank, address):
            return f"lane {lane} reads {(turned, seen)} instead of {(bank, address)}"
    return None


async def _run(dut, stall_in: float, stall_out: float) -> Recorder:
    """Every issue is the wanted one, and none is too early."""
    given = parameters()
    dut.row_written.value = dut.unit_freed.value = 0
    dut.enable.value = 1
    await start(dut)
    recorder = Recorder(dut)
    await recorder.run(stall_in, stall_out)
    begun, unit_begins, releases = 0, True, []
    pairs = zip(recorder.issues, given["issues"], strict=False)
    for number, ((cycle, issue, ring, word), wanted) in enumerate(pairs):
        for name, value in wanted["fields"].items():
            seen = recorder.field(issue, name)
            assert seen == value, f"issue {number} has {name} {seen} instead of {value}"
        assert wanted["word"] in (None, word), f"issue {number} has a wrong weight {word}"
        assert not (wrong := _lanes(recorder, issue, ring, wanted["lanes"])), f"{number}: {wrong}"
        # What the sequencer could know when it made the issue, and what is gone when it reads.
        known = cycle - given["latency"]
        for row in {place[0] for place in wanted["lanes"] if place}:
            assert row < recorder.arrived[known], f"issue {number} reads a row before it is there"
            assert row >= recorder.released[cycle - 1], f"issue {number} reads a released row"
        begun += unit_begins
        unit_begins = bool(wanted["fields"]["unit_end"])
        assert begun - recorder.sent[known] <= OUTPUT_UNITS, f"issue {number} has no output unit"
        if unit_begins:
            releases.append(known + given["release"])
    assert len(recorder.issues) == len(given["issues"]), (
        f"{len(recorder.issues)} issues instead of {len(given['issues'])}"
    )
    totals = recorder.released
    assert totals[-1] == given["rows_in"], f"{totals[-1]} of {given['rows_in']} rows are released"
    stray = {k for k in range(1, len(totals)) if totals[k] != totals[k - 1]} - {
        at + 1 for at in releases
    }
    assert not stray, f"rows are released in the cycles {sorted(stray)}"
    return recorder


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def free(dut):
    """Rows as early as may be: no gap inside an output unit, if the layer needs none."""
    recorder = await _run(dut, 0.0, 0.0)
    cycles = [cycle for cycle, *_ in recorder.issues]
    inside = [not wanted["fields"]["unit_end"] for wanted in parameters()["issues"]]
    gaps = sum(
        follows and after != before + 1
        for before, after, follows in zip(cycles, cycles[1:], inside, strict=False)
    )
    assert not parameters()["gapless"] or not gaps, f"{gaps} gaps between issues of a row"


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(stalls=[(0.5, 0.5), (0.1, 0.9), (0.9, 0.1)])
async def stalled(dut, stalls):
    """Random pauses on both sides: the same issues."""
    await _run(dut, *stalls)
