# amaranth: UnusedElaboratable=no
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from organza_hw.verilog import to_verilog


class Shell(wiring.Component):
    """One port of every kind: a stream, a stream whose ready is constant, an output that nothing drives."""

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8, always_ready=True)),
            "o": Out(stream.Signature(8)),
            "undriven": Out(3),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        inner = Signal(8)
        m.d.sync += inner.eq(self.i.payload)
        m.d.comb += [self.o.payload.eq(inner), self.o.valid.eq(self.i.valid)]
        return m


def ports(text, name):
    body = text[text.index(f"module {name}(") :]
    return set(re.findall(r"^  (input|output) (?:\[\d+:0\] )?(\w+);", body, re.MULTILINE))


def test_every_member_is_a_port_with_its_direction():
    text = to_verilog(Shell(), "shell")
    assert ports(text, "shell") == {
        ("input", "clk"), ("input", "rst"), ("input", "i__payload"), ("input", "i__valid"),
        ("output", "o__payload"), ("output", "o__valid"), ("input", "o__ready"), ("output", "undriven"),
    }  # fmt: skip


def test_no_source_locations():
    text = to_verilog(Shell(), "shell")
    assert "src" not in text and __file__ not in text and str(Path.cwd()) not in text
    assert text == to_verilog(Shell(), "shell")


def test_yosys_of_amaranth_unless_the_user_decides():
    code = ("import os; os.environ.pop('AMARANTH_USE_YOSYS', None)\n"
            "from amaranth.lib import wiring\nfrom amaranth import Module\nfrom organza_hw.verilog import to_verilog\n"
            "class C(wiring.Component):\n    def elaborate(self, platform):\n        return Module()\n"
            "to_verilog(C({}), 'c'); print(os.environ['AMARANTH_USE_YOSYS'])")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "builtin\n"


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"^Component must be a wiring\.Component, not 3$"):
        to_verilog(3, "shell")
    with pytest.raises(TypeError, match=r"^Module name must be a string, not None$"):
        to_verilog(Shell(), None)
