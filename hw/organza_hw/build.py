"""From Program and Plan to Verilog and memory images: a pure function of the two."""

from dataclasses import dataclass

from organza.plan import Plan
from organza.program import Program
from organza_hw import multiply, rom
from organza_hw.external.memory import external_files
from organza_hw.lanes import carry, signs
from organza_hw.looked_at import only_looked_at
from organza_hw.pipeline import Pipeline
from organza_hw.rom import Rom
from organza_hw.verilog import to_verilog

TOP = "generator"
# Modules that components instantiate where memories are in files.
VERILOG = "\n".join(module.VERILOG for module in (rom, carry, signs, multiply))


@dataclass(frozen=True, eq=False)
class Chip:
    """A generated accelerator.

    program, plan : what it was made from. files : memory images by file name, to be in the working directory of a
    simulator or synthesis run; those of memories beside the chip too. memory_bits : bits of all memories on the chip.
    """

    program: Program
    plan: Plan
    source: str
    files: dict[str, str]
    memory_bits: int

    def verilog(self) -> str:
        """Verilog of the top module ``generator`` and all below it."""
        return self.source

    @property
    def cycles(self) -> int:
        """Cycles of one image, from the exact cycle model."""
        return self.plan.cycles


def build(program: Program, plan: Plan) -> Chip:
    """Generate the accelerator that `plan` describes.

    Raises ValueError when the Plan does not fit the Program.
    """
    plan.schedules(program)  # refuses before there are components, which Amaranth would report as unused
    pipeline = Pipeline(program, plan)
    inside = _roms(pipeline)
    outside = {name: rom.hex_words(*held) for name, held in external_files(program, plan).items()}
    more = (rom.LOADED_VERILOG,) if program.loads else ()
    return Chip(
        program, plan,
        source="\n".join((to_verilog(pipeline, TOP), VERILOG, *more)),
        files={name: one.hex for name, one in inside.items()} | outside,
        memory_bits=sum(memory.width * len(memory.words) for memory in [*inside.values(), *pipeline.loaded_memories]),
    )  # fmt: skip


def memory_words(program: Program, plan: Plan) -> dict[str, tuple[int, list[int]]]:
    """Width and words of every memory image, by file name, without generating Verilog.

    Raises ValueError when the Plan does not fit the Program.
    """
    plan.schedules(program)
    with only_looked_at():
        found = _words(Pipeline(program, plan))
    return found | external_files(program, plan)


def _words(pipeline: Pipeline) -> dict[str, tuple[int, list[int]]]:
    return {name: (rom.width, rom.words) for name, rom in _roms(pipeline).items()}


def _roms(pipeline: Pipeline) -> dict[str, Rom]:
    return {rom.file: rom for engine in pipeline.engines for rom in engine.roms if rom.file}
