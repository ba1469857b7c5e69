"""What an accelerator may take: of a board, or of numbers that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from organza.board import Board
from organza.checks import check_integer
from organza.errors import UserError
from organza.program import Program
from organza_sim.report import NOMINAL_CLOCK
from organza_sim.resources.model import FAMILY, Resources

MOST = 1 << 30
COUNTED = ("luts", "multipliers", "block_rams")  # fields of `Resources`
NAMES = {
    "lanes": "lanes", "luts": "LUTs", "registers": "registers", "multipliers": "multipliers", "block_rams": "block RAMs",
    "large_rams": "large RAMs", "bandwidth": "bandwidth", "memory": "the memory beside the chip",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Most of each; None is no limit.

    lanes : as of `plan_program`. luts : of four inputs. multipliers : of 18 × 18 bits. block_rams : of 18 kbit. bandwidth : bits a second
    of inputs and outputs together; weights stay on the chip, so nothing else goes to and fro. clock_hz : of the accelerator.
    board : whose host takes its share of the rest; its numbers are limits too. name : of that board.

    Raises TypeError / ValueError for numbers below 1 and for a board whose family has no resource model.
    """

    lanes: int | None = None
    luts: int | None = None
    multipliers: int | None = None
    block_rams: int | None = None
    bandwidth: float | None = None
    clock_hz: float = NOMINAL_CLOCK
    board: Board | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("lanes", *COUNTED):
            if getattr(self, name) is not None:
                # How many lanes are too few depends on the Program: the planner says it.
                check_integer(f"Budget {name}", getattr(self, name), -MOST if name == "lanes" else 0, MOST)
        for name in ("bandwidth", "clock_hz"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"Budget {name} must be above 0, not {value}")
        if all(value is None for value in (self.lanes, self.bandwidth, *self.limits.values())):
            raise ValueError("Budget must have a limit: lanes, luts, multipliers, block_rams or bandwidth")
        if self.board is not None and self.board.device.family != FAMILY:
            raise UserError(
                f"{self.name or self.board.title}: resources are modelled for the family {FAMILY}, not {self.board.device.family}; "
                "plan with --lanes, and let 'organza synth' say whether it fits"
            )

    @classmethod
    def of_board(cls, board: Board, name: str, **limits: Any) -> Budget:
        """What a board has; `limits` beside that, where they are less."""
        device = board.device
        least: dict[str, Any] = {key: getattr(device, key) for key in COUNTED}
        for key, value in limits.items():
            if value is not None:
                least[key] = min(value, least[key]) if key in least else value
        return cls(**{"clock_hz": board.core_hz, **least}, board=board, name=name)

    @property
    def limits(self) -> dict[str, int]:
        """Limits of what `Resources` count."""
        return {name: value for name in COUNTED if (value := getattr(self, name)) is not None}

    def over(self, used: Resources) -> dict[str, int]:
        """By how much each limit is exceeded, those that are not left out."""
        return {name: getattr(used, name) - most for name, most in self.limits.items() if getattr(used, name) > most}

    def least_interval(self, program: Program, memories: Mapping[str, str] | None = None) -> int:
        """Cycles between images below which the bandwidth is the limit; 0 without one. memories : as of `traffic_bits`."""
        return 0 if self.bandwidth is None else int(-(-traffic_bits(program, memories) * self.clock_hz // self.bandwidth))


def traffic_bits(program: Program, memories: Mapping[str, str] | None = None) -> int:
    """Bits that an image brings in and takes out; with the weights of layers whose memory, by their name, is external.

    Places of lane words without a weight come on top of that.
    """
    ends = (program.input_shape, program.input), (program.output_shape, program.output)
    codes = [node.code for node in program.nodes if memories and memories.get(node.name) == "external"]
    return sum(channels * height * width * int(form.bits) for (channels, height, width), form in ends) + sum(
        code.integers().size * code.field_bits for code in codes
    )


def told(used: Mapping[str, int], limits: Mapping[str, int]) -> str:
    """Which limits are exceeded, for people; empty if none are."""
    over = {name: number for name, number in used.items() if name in limits and number > limits[name]}
    return ", ".join(f"{number:,} {NAMES[name]} of {limits[name]:,} ({number - limits[name]:,} too many)" for name, number in over.items())
