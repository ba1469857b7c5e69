# amaranth: UnusedElaboratable=no
"""Weights on their way: bytes of a flash wait until they are taken, and memories change only while nothing can read them."""

import pytest
from amaranth.hdl import Const, Cover, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from organza_hw.loading.loader import WeightLoader
from organza_hw.loading.spi_flash import SpiFlash
from organza_hw.verilog import to_verilog
from organza_sim.formal import ProofError, prove
from tests.formal.shell import TOP, Assert, begin, mutated, stable

pytestmark = pytest.mark.synth
DEPTH = 5
NO_PROOF = "does not hold|could not be decided"  # of the induction, where an error is too many cycles away


class FlashShell(wiring.Component):
    """A flash of any content, taken with any pauses."""

    component = SpiFlash

    def __init__(self):
        super().__init__({"miso": In(1), "ready": In(1), "loaded": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.flash = flash = self.component(hz=1, offset=0, size=2)
        begun = begin(m)
        m.d.comb += [flash.miso.eq(self.miso), flash.o.ready.eq(self.ready), flash.loaded.eq(self.loaded)]
        stable(m, begun, flash.o, Assert, "o")
        return m


class LoaderShell(wiring.Component):
    """Any bytes, with any pauses; or with `hurry` of one image, without any."""

    component, hurry = WeightLoader, False

    def __init__(self):
        super().__init__({"valid": In(1), "byte": In(8), "first": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = self.component(bytes(8), [(9, 2), (3, 1)])
        begin(m)
        begins, late, taken, some = Signal(), Signal(), Signal(), Signal()
        valid, first = (Const(1), ~some) if self.hurry else (self.valid, self.first)
        m.d.comb += [loader.i.valid.eq(valid), loader.i.payload.byte.eq(self.byte), loader.i.payload.first.eq(first)]
        m.d.sync += [
            taken.eq(valid & loader.i.ready), begins.eq(valid & loader.i.ready & first), late.eq(begins), some.eq(some | (valid & loader.i.ready)),
        ]  # fmt: skip
        m.d.comb += [
            Assert(~(loader.loaded & loader.write.any())),
            Assert(~(loader.loaded & loader.refusal.any())),
            Assert(~(late & loader.loaded)),
            Assert(loader.i.ready == ~taken),
            Cover(loader.write[1]),
        ]  # fmt: skip
        return m


def verilog(shell, component=None):
    return to_verilog(shell() if component is None else type("Mutant", (shell,), {"component": component})(), TOP)


def test_bytes_of_a_flash_wait():
    prove(verilog(FlashShell), TOP, depth=DEPTH)


def test_a_flash_that_does_not_wait():
    mutant = mutated(SpiFlash, "free.eq(~self.o.valid | self.o.ready)", "free.eq(1)")
    with pytest.raises(ProofError, match=NO_PROOF):
        prove(verilog(FlashShell, mutant), TOP, depth=DEPTH)


def test_memories_change_only_while_nothing_is_loaded():
    prove(verilog(LoaderShell), TOP, depth=DEPTH)


def test_the_last_word_is_written():
    shell = type("Whole", (LoaderShell,), {"hurry": True})
    prove(verilog(shell), TOP, mode="cover", depth=48)


@pytest.mark.parametrize("old, new", [
    ("state.eq(State.HEADER)", "state.eq(state)"),
    ("Mux(bad, State.IDLE, State.LOADED)", "State.LOADED"),
    ("(state == State.WORDS) & whole", "whole"),
])  # fmt: skip
def test_mutants(old, new):
    mutant = mutated(WeightLoader, old, new)
    with pytest.raises(ProofError, match=NO_PROOF):
        prove(verilog(LoaderShell, mutant), TOP, depth=DEPTH)
