"""What engines say of their memories: every word is of one layer, and lies in a file or is loaded."""

import gc
import warnings
from collections.abc import Iterator

import pytest
from amaranth.hdl import UnusedElaboratable

from organza_hw.memories import Memory
from organza_hw.pipeline import Pipeline
from organza_hw.rom import Rom
from tests.shared_engines import shared_case


@pytest.fixture(autouse=True)
def only_looked_at() -> Iterator[None]:
    """Amaranth warns of what is made and never elaborated when it is collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        yield
        gc.collect()


def test_parts_of_layers():
    rom = Rom(width=9, words=[3, 1, 4, 1, 5], file="layer3_weights.hex")
    memory = Memory.of([rom], [2, 0, 3])
    assert (memory.name, memory.kind, memory.width, memory.loads) == ("layer3_weights", "weights", 9, False)
    assert [memory.part([9, 8, 7, 6, 5], layer) for layer in range(3)] == [[9, 8], [], [7, 6, 5]]


@pytest.mark.parametrize("loads", [False, True])
@pytest.mark.parametrize("seed", [6, 10, 12])
def test_memories_of_engines(seed, loads):
    """Of a layer and of several; one copy of a table for every epilogue unit."""
    case = shared_case(seed, alone=seed != 12, loads=loads)
    pipeline = Pipeline(case.program, case.plan)
    for number, engine in enumerate(pipeline.engines):
        layers = [node.name for node in (schedule.node for schedule in engine.layers)]
        assert layers == [layer.node for layer in case.plan.engines[number].layers]
        tables = sum(schedule.node.epilogue.table is not None for schedule in engine.layers)
        loaded = engine.layers[0].loads
        for memory in engine.memories:
            assert len(memory.counts) == len(layers) and sum(memory.counts) == len(memory.words)
            assert all((copy.words, copy.loads) == (memory.words, loaded) for copy in memory.copies)
        names = [f"layer{number}_{kind}" for kind in ("weights", "constants", *(["table"] if tables else []))]
        assert [memory.name for memory in engine.loaded_memories] == (names if loaded else [])
        assert [rom.file for rom in engine.roms] == ([] if loaded else [f"{name}.hex" for name in names])
        if tables:
            assert len(engine.memories[-1].copies) == len(engine.units)
    assert pipeline.loaded_memories == [memory for engine in pipeline.engines for memory in engine.loaded_memories]
    assert not [rom for engine in Pipeline(case.program, case.plan, files=False).engines for rom in engine.roms]
