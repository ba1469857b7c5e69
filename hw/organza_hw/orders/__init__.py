"""Orders in which an engine visits a layer, one file each: tables of the schedule, the walk through them, accumulators."""

from organza.schedule import Schedule
from organza_hw.accumulators import Accumulators
from organza_hw.orders.row import RowTables
from organza_hw.orders.tables import Tables
from organza_hw.orders.weight import WeightTables
from organza_hw.partial_sums import PartialSums
from organza_hw.row_buffer import RingLayout

TABLES = {"row": RowTables, "weight": WeightTables}
ACCUMULATORS = {"row": Accumulators, "weight": PartialSums}


def tables_of(ring: RingLayout, *, pixel_beats: int) -> Tables:
    """Tables of a layer in the order of its schedule, see `Tables`."""
    return TABLES[ring.schedule.order](ring, pixel_beats=pixel_beats)


def finish_latency(schedule: Schedule) -> int:
    """Cycles from the last issue of an output unit at the accumulators to its last E sums."""
    return ACCUMULATORS[schedule.order].latency(schedule.drain)
