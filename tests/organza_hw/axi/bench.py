"""cocotb bench of the AXI top: cocotbext-axi drives both streams and the registers, with random pauses on all channels, and every cycle is watched.

Its parameter ``data`` names a JSON file with ``inputs`` and ``outputs``, frames as hexadecimal text, more of them than there is room for; what ``identity`` and
``program`` say; the managed joints' ``exponents`` after all inputs as [joint, fields]; ``runs``, numbers of inputs, each with the outputs of its last ones by how many those
are; ``cycles`` of all inputs by the model; ``patience`` in cycles, and ``span``, in which some images are computed.
"""

import itertools
import json
import logging
import random
import warnings
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, SimTimeoutError, with_timeout

from organza.registers import ADDRESS_BITS, REGISTERS, WORD_BYTES, Access, places, register
from organza_sim.benches.stream import PERIOD_NS, parameters

# cocotbext-axi 0.1.28 uses Edge, task.kill() and setimmediatevalue(), which cocotb 2 renamed; all else that is deprecated is an error.
warnings.filterwarnings("error", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"cocotbext\.axi")
from cocotbext.axi import (  # noqa: E402
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

STREAM, LITE = ("tdata", "tkeep", "tlast"), {
    "aw": ("addr", "prot"), "w": ("data", "strb"), "b": ("resp",), "ar": ("addr", "prot"), "r": ("data", "resp"),
}  # fmt: skip


def frames(texts):
    """Of hexadecimal texts."""
    return [bytes.fromhex(text) for text in texts]


def pauses(probability, seed):
    """Forever, whether to pause."""
    generator = random.Random(seed)
    while True:
        yield generator.random() < probability


class Watch:
    """Of a channel: what passes, in which cycle; fails the test if something that is offered changes or goes away, or is neither 0 nor 1."""

    def __init__(self, dut, prefix, fields, dot=""):
        self._dut, self.name = dut, prefix
        self._valid, self._ready = (dut[f"{prefix}{dot}{part}"] for part in ("valid", "ready"))
        self._fields = [dut[f"{prefix}{dot and '_'}{field}"] if dot else dut[f"{prefix}{field}"] for field in fields]
        self.passed: list[tuple[int, ...]] = []
        self.waits = 0  # cycles in which something waited
        self._task = cocotb.start_soon(self._watch())

    async def _watch(self):
        waiting = None
        while True:
            await FallingEdge(self._dut.aclk)
            await ReadOnly()
            if not int(self._dut.aresetn.value):
                waiting = None
                continue
            for wire in (self._valid, self._ready):
                assert wire.value.is_resolvable, f"{self.name} is unknown"
            valid, ready = int(self._valid.value), int(self._ready.value)
            if waiting is not None:
                assert valid, f"{self.name} withdraws what it offered"
                assert waiting == [field.value for field in self._fields], f"{self.name} changes what it offered"
            offered = [field.value for field in self._fields] if valid else None
            if valid and ready:
                assert offered is not None and all(value.is_resolvable for value in offered), f"{self.name} passes unknown bits"
                self.passed.append(tuple(int(value) for value in offered))
            waiting = None if ready else offered
            self.waits += waiting is not None


class Bench:
    """A top in reset, with everything around it."""

    def __init__(self, dut, *, stall=0.0, lite=None, seed=0):
        self.dut, self.given = dut, json.loads(Path(parameters()["data"]).read_text())
        self.inputs, self.outputs = (frames(self.given[name]) for name in ("inputs", "outputs"))
        Clock(dut.aclk, PERIOD_NS, unit="ns").start()
        dut.aresetn.value = 0
        logging.getLogger(f"cocotb.{dut._name}").setLevel("WARNING")  # or every transfer is a line
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **reset)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **reset)
        self.seeds = itertools.count(seed)
        self.stall(stall, stall if lite is None else lite)
        self.watches = {name: Watch(dut, name, STREAM, "_t") for name in ("s_axis", "m_axis")}
        self.watches |= {f"s_axil_{name}": Watch(dut, f"s_axil_{name}", fields) for name, fields in LITE.items()}

    def stall(self, streams, lite):
        """Pause at random."""
        write, read = self.lite.write_if, self.lite.read_if
        for one in (self.source, self.sink):
            one.set_pause_generator(pauses(streams, next(self.seeds)))
        for one in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel):
            one.set_pause_generator(pauses(lite, next(self.seeds)))

    async def start(self, cycles=4):
        """Out of reset."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, cycles)
        await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def word(self, offset, response=AxiResp.OKAY):
        """The word at an offset, and its answer."""
        found = await self.lite.read(offset, WORD_BYTES)
        assert found.resp == response, f"{offset:#x} answers {found.resp!r}"
        return int.from_bytes(found.data, "little")

    async def read(self, name, index=0):
        """Fields of a register."""
        one = register(name)
        word = await self.word(one.at(index))
        assert not word & ~sum(field.mask for field in one.fields), f"{name} is {word:#x}"
        return {field.name: field.of(word) for field in one.fields}

    async def write(self, offset, data, response=AxiResp.OKAY):
        """Bytes to an offset."""
        found = await self.lite.write(offset, data)
        assert found.resp == response, f"{offset:#x} answers {found.resp!r}"

    async def soft_reset(self, bits=1):
        """Ask for one, and wait for its end."""
        await self.write(register("CONTROL").at(), bytes([bits]))
        while (await self.read("CONTROL"))["reset"]:
            pass

    async def receive(self, count):
        """So many frames. Fails if none comes for a while."""
        found = []
        for _ in range(count):
            try:
                found.append(bytes(await with_timeout(self.sink.recv(), self.given["patience"] * PERIOD_NS, "ns")))
            except SimTimeoutError:
                raise AssertionError(f"only {len(found)} of {count} frames came") from None
        return found

    async def silence(self):
        """Nothing more comes."""
        await ClockCycles(self.dut.aclk, self.given["patience"])
        assert self.sink.empty() and not int(self.dut.m_axis_tvalid.value)

    async def counters(self):
        """Frames that were taken, have left, were refused."""
        return [(await self.read(name))["frames"] for name in ("FRAMES_IN", "FRAMES_OUT", "FRAMES_REFUSED")]


def check_frames(bench):
    """Every frame that left has TLAST at its end only, all bytes kept but those behind it."""
    size = len(bench.dut.m_axis_tkeep)
    length = len(bench.outputs[0])
    words = -(-length // size)
    keep = (1 << size) - 1
    for number, (_, kept, last) in enumerate(bench.watches["m_axis"].passed):
        end = number % words == words - 1
        assert last == end, f"TLAST of word {number} is {last}"
        assert kept == (keep >> -length % size if end else keep), f"TKEEP of word {number} is {kept:x}"


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.6])
async def registers(dut, stall):
    """What never changes, what is kept, and what is not there."""
    bench = Bench(dut, stall=stall)
    await bench.start()
    for name, fields in bench.given["identity"].items():
        assert await bench.read(name) == fields, name
    for one in REGISTERS:
        for field in one.fields if one.count == 1 and not one.only else ():
            if field.reset is not None:
                assert (await bench.read(one.name))[field.name] == field.reset, f"{one.name} after reset"
    # Eight words at once.
    digest = await bench.lite.read(register("PROGRAM").at(), len(bench.given["program"]) // 2)
    assert bytes(digest.data).hex() == bench.given["program"] and digest.resp == AxiResp.OKAY

    scratch = register("SCRATCH").at()
    await bench.write(scratch - 3 * WORD_BYTES, bytes(12) + bytes([9, 8, 7, 6]), AxiResp.SLVERR)  # three registers before it are only read
    assert await bench.word(scratch) == 0x06070809
    await bench.write(scratch, bytes([1, 2, 3, 4]))
    await bench.write(scratch + 2, bytes([7]))
    await bench.write(scratch + 1, bytes([5, 6]))
    assert await bench.word(scratch) == 0x04060501
    managed = {joint for joint, _ in bench.given["exponents"]}
    there = {offset for one, index, offset in places() if not one.only or index in managed and one.name in ("EXPONENT", "OVERFLOW")}
    for offset in random.Random(1).sample(range(0, 1 << ADDRESS_BITS, WORD_BYTES), 60) + [0x008, 0x068, 0x06C, 0x070, 0x074, 0x0FC]:
        if offset not in there:
            assert await bench.word(offset, AxiResp.SLVERR) == 0
            await bench.write(offset, bytes(4), AxiResp.SLVERR)
    for one, _, offset in places():
        if one.access is Access.RO and offset in there:
            before = await bench.word(offset)
            await bench.write(offset, bytes([255] * 4), AxiResp.SLVERR)
            assert await bench.word(offset) == before
    if stall:
        assert all(bench.watches[f"s_axil_{name}"].waits for name in LITE)


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.3, 0.8])
async def images(dut, stall):
    """Frames in, the reference's frames out, whoever pauses; registers are read all the while."""
    bench = Bench(dut, stall=stall, seed=10)
    await bench.start()
    count = len(bench.inputs)
    for frame in bench.inputs:
        bench.source.send_nowait(frame)
    busy = 0
    task = cocotb.start_soon(bench.receive(count))
    while not task.done():
        busy += (await bench.read("STATUS"))["busy"]
    assert task.result() == bench.outputs
    await bench.silence()
    assert busy and await bench.read("STATUS") == dict.fromkeys((field.name for field in register("STATUS").fields), 0)
    assert await bench.counters() == [count, count, 0]
    low, model = (await bench.read("CYCLES_LOW"))["cycles"], bench.given["cycles"]
    if stall:
        assert model <= low <= bench.given["patience"] * count
    else:
        # On the way in and out, and for frames whose last beat is in two words.
        assert model <= low <= model + 20 + count
    assert (await bench.read("CYCLES_HIGH"))["cycles"] == 0
    for joint, fields in bench.given["exponents"]:
        assert {**await bench.read("EXPONENT", joint), **await bench.read("OVERFLOW", joint)} == fields
    assert (await bench.read("DAMAGED"))["layers"] == 0
    check_frames(bench)
    if stall:
        assert all(bench.watches[name].waits for name in ("m_axis", "s_axil_r"))


def wrong(frame, size, generator):
    """Frames as AXI words that are no inputs, and the events they make."""
    whole = [1] * len(frame)
    long = AxiStreamFrame(frame + bytes(generator.randrange(1, 3 * len(frame))))
    made = [(long, {"long"})]
    if len(frame) > 1:
        made += [(AxiStreamFrame(frame[: generator.randrange(1, len(frame))]), {"short"})]
        hole = generator.randrange(len(frame) - 1)
        made += [(AxiStreamFrame(frame, tkeep=whole[:hole] + [0] + whole[hole + 1 :]), {"short"})]
    made += [(AxiStreamFrame(frame, tkeep=[0] * len(frame)), {"short"})]
    return made


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.5])
async def frame_errors(dut, stall):
    """Frames of wrong lengths are refused, and those between them come out right."""
    bench = Bench(dut, stall=stall, seed=20)
    await bench.start()
    generator, number, refused, events = random.Random(5), 0, 0, set()
    for frame, output in zip(bench.inputs, bench.outputs, strict=True):
        for bad, why in wrong(frame, len(dut.s_axis_tkeep), generator):
            await bench.source.send(bad)
            await bench.source.wait()
            refused, events = refused + 1, events | why
            for _ in range(8):
                await RisingEdge(dut.aclk)
            found = {name for name, bit in (await bench.read("EVENTS")).items() if bit}
            assert why <= found <= {"short", "long"} and (await bench.read("STATUS"))["event"] == 1
            await bench.write(register("EVENTS").at(), bytes([0, 255, 255, 255]))
            assert {name for name, bit in (await bench.read("EVENTS")).items() if bit} == found
            await bench.write(register("EVENTS").at(), bytes([3]))
            assert not any((await bench.read("EVENTS")).values()) and (await bench.read("STATUS"))["event"] == 0
        await bench.source.send(frame)
        number += 1
        assert await bench.receive(1) == [output]
        # Its last word was taken some cycles ago.
        for _ in range(4):
            await RisingEdge(dut.aclk)
        assert await bench.counters() == [number, number, refused]
    await bench.silence()
    check_frames(bench)
    assert events == ({"short", "long"})


async def soft_reset(bench, bits=1):
    """Ask for one, and wait for its end."""
    await bench.write(register("CONTROL").at(), bytes([bits]))
    for _ in range(50):
        if not (await bench.read("CONTROL"))["reset"]:
            return
    raise AssertionError("a reset does not end")


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.7])
async def soft_resets(dut, stall):
    """At any moment: outputs that were cut are short, those after it are right, and nothing that was offered goes away."""
    bench = Bench(dut, stall=stall, lite=0.0, seed=30)
    await bench.start()
    generator, cuts, halves = random.Random(9), 0, 0
    words = -(-len(bench.inputs[0]) // len(dut.s_axis_tkeep))
    came = bench.watches["s_axis"].passed
    for moment, (sent, outputs) in enumerate(bench.given["runs"]):
        await bench.soft_reset()
        before = len(came)
        for k in sent:
            bench.source.send_nowait(bench.inputs[k])
        # While an output waits, while inputs come, or when outputs are on their way.
        if moment % 4 == 0:
            bench.sink.set_pause_generator(itertools.repeat(True))
            while not int(dut.m_axis_tvalid.value):
                await RisingEdge(dut.aclk)
        for _ in range(generator.randrange(30 if moment % 2 else bench.given["span"])):
            await RisingEdge(dut.aclk)
        await bench.write(register("CONTROL").at(), bytes([1]))
        taken = len(came) - before
        assert (await bench.read("CONTROL"))["reset"] == 1
        halves += taken % words != 0
        while (await bench.read("CONTROL"))["reset"]:
            pass
        bench.sink.set_pause_generator(pauses(stall, moment))
        # What the source had begun is dropped, the frames behind it are inputs.
        await bench.source.wait()
        left = len(sent) - -(-taken // words)
        got = []
        while (await bench.read("FRAMES_OUT"))["frames"] < left or (await bench.read("STATUS"))["sending"] or not bench.sink.empty():
            got += await bench.receive(1)
        await bench.silence()
        assert await bench.counters() == [left, left, 0]
        early, late = got[: len(got) - left], got[len(got) - left :]
        wanted = frames(outputs[str(len(sent))])
        assert late == frames(outputs[str(left)])
        if early and early[-1] != wanted[len(early) - 1]:
            assert len(early[-1]) < len(wanted[0]) and wanted[len(early) - 1].startswith(early.pop())
            cuts += 1
        assert early == wanted[: len(early)]
    assert cuts or len(bench.outputs[0]) <= len(dut.m_axis_tkeep), "no output was cut"
    assert halves or not stall or words == 1, "no input was cut"


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def abandoned(dut):
    """A source that went away within a frame: the next word begins another one. Without `abandon` it would be dropped up to TLAST."""
    bench = Bench(dut, seed=40)
    await bench.start()
    await ClockCycles(dut.aclk, 4)
    if len(bench.inputs[0]) <= len(dut.s_axis_tkeep):
        return  # an input of one word is never cut
    for bits in (3, 1):
        dut.s_axis_tvalid.value, dut.s_axis_tlast.value, dut.s_axis_tkeep.value = 1, 0, (1 << len(dut.s_axis_tkeep)) - 1
        await RisingEdge(dut.aclk)
        dut.s_axis_tvalid.value = 0
        await RisingEdge(dut.aclk)
        assert (await bench.read("STATUS"))["receiving"] == 1
        await bench.soft_reset(bits)
        assert (await bench.read("STATUS"))["receiving"] == (bits == 1)
        skipped = int(bits == 1)
        for k in (0,) * skipped + (0, 1):
            await bench.source.send(bench.inputs[k])
        assert await bench.receive(2) == bench.outputs[:2]
        await bench.silence()
        assert await bench.counters() == [2, 2, 0]
    check_frames(bench)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def reset(dut):
    """`aresetn` in the middle of everything: no valid in it, and right images after it."""
    bench = Bench(dut, stall=0.3, seed=50)
    for cycles in (30, 90, 250):
        await bench.start()
        for frame in bench.inputs[:2]:
            bench.source.send_nowait(frame)
        for _ in range(cycles):
            await RisingEdge(dut.aclk)
        dut.aresetn.value = 0
        await ClockCycles(dut.aclk, 2)
        for name in ("m_axis_tvalid", "s_axil_bvalid", "s_axil_rvalid"):
            assert int(dut[name].value) == 0, f"{name} in reset"
        bench.source.clear()
        bench.sink.clear()
    await bench.start()
    bench.source.send_nowait(bench.inputs[0])
    assert await bench.receive(1) == [bench.outputs[0]]
