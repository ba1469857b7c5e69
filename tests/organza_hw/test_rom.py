# amaranth: UnusedElaboratable=no
import re

import numpy as np
import pytest
from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from organza_hw.rom import LOADED_MODULE, LOADED_VERILOG, MODULE, VERILOG, Registers, Rom, read_held
from organza_hw.verilog import to_verilog
from organza_sim.pysim import trace_cycles


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("width, depth", [(1, 1), (1, 2), (7, 5), (64, 16), (130, 33)])
def test_every_word_after_its_latency(width, depth, early):
    rng = np.random.default_rng(width)
    words = [int.from_bytes(rng.bytes(20), "little") % (1 << width) for _ in range(depth)]
    addresses = [*range(depth), *rng.integers(0, depth, 50).tolist()]
    seen = trace_cycles(
        Rom(width=width, words=words, early=early), [{"addr": a} for a in addresses] + [{}] * Rom.LATENCY, ["data"]
    )
    assert [data for (data,) in seen[Rom.LATENCY :]] == [words[a] for a in addresses]


def test_words_in_a_file():
    rom = Rom(width=9, words=[0, 1, 0x1FF, 0x80], file="words.hex")
    assert rom.hex == "000\n001\n1ff\n080\n"
    text = to_verilog(rom, "memory")
    assert MODULE in text and 'FILE("words.hex")' in text
    assert "1ff" not in text
    assert f"module {MODULE}" in VERILOG


def test_wrong_arguments():
    for width, words in ((0, [0]), (8, [])):
        message = f"Rom must have a width and words, not {width} and {len(words)}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Rom(width=width, words=words)
    for word in (-1, 256):
        with pytest.raises(ValueError, match=r"^Rom words must fit 8 bits$"):
            Rom(width=8, words=[0, word])


def loading(width, words, memory):
    """Writes in any order, with pauses and noise between; then every word, and every word again."""
    rng = np.random.default_rng(width)
    for address in rng.permutation(len(words)).tolist():
        for _ in range(int(rng.integers(3))):
            yield {"load": 0, "load_addr": int(rng.integers(len(words))), "load_data": int(rng.integers(1 << min(width, 60)))}
        yield {"load": 1, "load_addr": address, "load_data": words[address]}
    yield {"load": 0}
    for address in [*range(len(words)), *rng.integers(0, len(words), 20).tolist()] if memory else []:
        yield {"addr": address}
    yield from [{}] * Rom.LATENCY


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("width, depth", [(1, 1), (1, 2), (7, 5), (64, 16), (130, 33)])
def test_words_that_are_loaded(width, depth, early):
    """Twice, and not those that it was made with."""
    rng = np.random.default_rng(depth)
    inputs, wanted = [], {}
    for _ in range(2):
        words = [int.from_bytes(rng.bytes(20), "little") % (1 << width) for _ in range(depth)]
        for change in loading(width, words, True):
            if "addr" in change:
                wanted[len(inputs) + Rom.LATENCY] = words[change["addr"]]
            inputs.append(change)
    seen = trace_cycles(Rom(width=width, words=[0] * depth, loads=True, early=early), inputs, ["data"])
    assert {cycle: seen[cycle][0] for cycle in wanted} == wanted and len(wanted) == 2 * (depth + 20)


def test_registers_that_are_loaded():
    """All there at once; no reset takes them."""
    words = [-1, 5, 0, -256, 255]
    registers = Registers(shape=signed(9), words=words)
    assert registers.words == [word % 512 for word in words] and registers.width == 9
    names = [f"value_{k}" for k in range(len(words))]
    for name, value in zip(names, registers.values, strict=True):
        setattr(registers, name, value)
    seen = trace_cycles(registers, loading(9, registers.words, False), names)
    assert list(seen[-1]) == words
    text = to_verilog(registers, "registers")
    assert "value_4 <= " in text and text.count("rst") == text.count("input rst") + text.count("wire rst") + text.count("rst,")


def test_a_memory_that_is_loaded_has_a_name():
    rom = Rom(width=9, words=[0, 1, 2], file="layer0_weights.hex", loads=True)
    text = to_verilog(rom, "memory")
    assert LOADED_MODULE in text and 'NAME("layer0_weights")' in text and "hex" not in text
    assert f"module {LOADED_MODULE} " in LOADED_VERILOG


class Held(wiring.Component):
    """The words at 0, 1, 2, …, one after the other in cycles with `enable`."""

    def __init__(self, words):
        self.rom = Rom(width=8, words=words)
        super().__init__({"enable": In(1), "data": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = self.rom
        address, step = Signal(self.rom.address_bits), Signal.like(self.rom.addr)
        with m.If(self.enable):
            m.d.sync += address.eq(address + 1)
        # Where nothing moves, addresses are noise.
        m.d.sync += step.eq(step + 3)
        m.d.comb += self.data.eq(read_held(m, self.rom, Mux(self.enable, address, step), self.enable))
        return m


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_words_that_wait(share):
    rng = np.random.default_rng(0)
    words = rng.permutation(256).tolist()
    enables = (rng.random(400) < share).astype(int).tolist()
    seen = trace_cycles(Held(words), [{"enable": enable} for enable in enables], ["data"])
    moved = np.cumsum([0, *enables[:-1]])
    wanted = {cycle: words[number - Rom.LATENCY] for cycle, number in enumerate(moved.tolist()) if Rom.LATENCY <= number <= 255}
    assert {cycle: seen[cycle][0] for cycle in wanted} == wanted
