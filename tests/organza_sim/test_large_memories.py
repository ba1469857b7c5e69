"""Which memories go into a device's large RAMs."""

from __future__ import annotations

import re

import pytest

from organza.board import load_board
from organza_sim.large_memories import choose, placed

DEVICE = load_board("icebreaker").device  # four of 16 bits × 16,384; block RAMs of 4,096 bits


@pytest.mark.parametrize(
    "memories, chosen",
    [
        ({"a": (64, 16_384)}, ["a"]),
        ({"a": (64, 16_385)}, []),
        ({"a": (65, 1000)}, []),
        ({"a": (16, 256), "b": (16, 257)}, ["b"]),
        ({"a": (20, 300), "b": (10, 5000), "c": (40, 2000)}, ["c", "b"]),
        ({"a": (20, 300), "b": (33, 5000), "c": (32, 2000)}, ["b"]),
        ({f"m{k}": (16, 1000) for k in range(6)}, ["m0", "m1", "m2", "m3"]),
    ],
)
def test_the_largest_first(memories: dict[str, tuple[int, int]], chosen: list[str]) -> None:
    assert choose(DEVICE, memories) == chosen
    assert choose(load_board("ulx3s-85f").device, memories) == []


def test_placed() -> None:
    text = 'm #(.NAME("a"), .WIDTH(3)) one (); m #(.NAME("ab")) two (); m #(.NAME("a")) three ();'
    made = placed(text, ["a"])
    assert re.findall(r'LARGE\(1\), \.NAME\("(\w+)"\)', made) == ["a", "a"]
    assert placed(text, []) == text
    with pytest.raises(ValueError, match=r"^Verilog must have a memory 'c'$"):
        placed(text, ["c"])
