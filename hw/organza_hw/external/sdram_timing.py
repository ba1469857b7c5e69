"""How many cycles of a clock an SDRAM's nanoseconds are, and how many words a second that leaves."""

from dataclasses import dataclass
from math import ceil, floor

from organza.board import MemoryTiming

ROUND_TRIP = 4.0  # ns from a clock edge on an FPGA to a pin and from another pin back, of both what an I/O register and its buffer take
MODE = 2  # cycles behind the order that sets the mode, of all chips


@dataclass(frozen=True)
class Cycles:
    """Of each of `MemoryTiming`, at least so long; `refresh_interval` at most. keep : from the activation of a row to its precharge, so
    that row_cycle holds too. falling : words are read on the clock's falling edge, half a period earlier than on the rising one."""

    cas_latency: int
    row_to_column: int
    row_precharge: int
    keep: int
    refresh_cycle: int
    write_recovery: int
    refresh_interval: int
    initialization: int
    falling: bool

    @classmethod
    def of(cls, timing: MemoryTiming, hz: int) -> "Cycles":
        """For a clock of so many hertz. Raises ValueError if that is faster than the chip's."""
        period = 1e9 / hz
        if period < timing.clock:
            raise ValueError(f"Clock of the accelerator must be at most {1e3 / timing.clock:.1f} MHz for the board's memory, not {hz / 1e6:g}")

        def cycles(nanoseconds: float) -> int:
            return max(1, ceil(nanoseconds / period - 1e-9))

        precharge = cycles(timing.row_precharge)
        return cls(
            timing.cas_latency, cycles(timing.row_to_column), precharge,
            max(cycles(timing.row_active), cycles(timing.row_cycle) - precharge), cycles(timing.refresh_cycle), cycles(timing.write_recovery),
            # One less, because a refresh waits for what has been begun.
            floor(timing.refresh_interval / period) - 1, cycles(timing.initialization),
            # The chip's clock is the FPGA's turned over, so words come in half a period before the rising edge. There is as much time
            # after the last moment in which they change before a falling edge as behind a rising one until they change again.
            1.5 * period >= 2 * ROUND_TRIP + timing.access + timing.hold,
        )  # fmt: skip

    @property
    def new_row(self) -> int:
        """Most cycles that are lost between a word of one row and the next one, of another."""
        return self.row_precharge + self.row_to_column + 1

    @property
    def refreshed(self) -> float:
        """Part of all cycles that is left beside refreshes, each of which costs a row too."""
        return 1 - (self.refresh_cycle + self.new_row) / self.refresh_interval
