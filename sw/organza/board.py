"""Boards: what a device has, where its clock comes in, and the pins that a host is at. One TOML file each.

    title = "ULX3S, LFE5U-85F"
    [device]
    family = "ecp5"
    part = "LFE5U-85F"
    …

Those that ship are beside their vendors' constraint files in `constraints/`; a file of one's own is given by its path.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from organza.errors import UserError
from organza.toml_tables import Table, read_toml, validated

Family = Literal["ecp5", "ice40", "gowin", "xc7"]
Site = Annotated[str, Field(pattern=r"^[A-Z]{0,2}[0-9]{1,3}$")]
Attributes = dict[Annotated[str, Field(pattern=r"^[A-Z_]+$")], Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]]
PARTS = 1 << 20  # most of anything that a device has
ALL_BANKS = 10  # pin of an SDRAM's address that says, with a precharge, that all banks are meant; so no column has it
BAUD_ERROR = 0.015  # half of what a line of ten bits forgives both ends together


class Device(Table):
    """`[device]`: what there is of each.

    part, package, speed : as nextpnr calls them; without package and speed where the part says both. series : of the part, for Gowin.
    luts : of four inputs, of six on
    xc7. multipliers : of 18×18 bits (ECP5, Gowin), 16×16 (iCE40), 25×18 (xc7). block_rams : of `block_ram_bits` each, which give
    words of `block_ram_widths` bits. large_rams : of `large_ram_bits` each and words of `large_ram_width`, which a bitstream
    cannot fill (the UP5K's single-port RAM).
    """

    family: Family
    part: str = Field(pattern=r"^[A-Za-z0-9/-]+$")
    package: str = Field(default="", pattern=r"^[A-Za-z0-9]*$")
    speed: str = Field(default="", pattern=r"^[A-Za-z0-9]*$")
    series: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$")
    luts: int = Field(ge=1, le=PARTS * 8)
    multipliers: int = Field(ge=0, le=PARTS)
    block_rams: int = Field(ge=0, le=PARTS)
    block_ram_bits: int = Field(ge=1, le=PARTS)
    block_ram_widths: list[Annotated[int, Field(ge=1, le=1024)]] = Field(min_length=1)
    large_rams: int = Field(default=0, ge=0, le=PARTS)
    large_ram_bits: int = Field(default=0, ge=0, le=PARTS)
    large_ram_width: int = Field(default=0, ge=0, le=1024)

    @field_validator("block_ram_widths")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if value != sorted(set(value)):
            raise ValueError(f"must rise, not {value}")
        return value

    @model_validator(mode="after")
    def _series_of_gowin(self) -> Device:
        if (self.series != "") != (self.family == "gowin"):
            raise ValueError("must have a series with the family gowin, and only then")
        return self

    @model_validator(mode="after")
    def _whole_rams(self) -> Device:
        if len({self.large_rams > 0, self.large_ram_bits > 0, self.large_ram_width > 0}) > 1:
            raise ValueError("must have all of large_rams, large_ram_bits and large_ram_width, or none")
        return self


class Pin(Table):
    """A pin of the top module: its site on the device, what the vendor's tool has to know of it, and whether low means yes."""

    site: Site
    attributes: Attributes = Field(default_factory=dict)
    inverted: bool = False


class MemoryPins(Table):
    """`[memory.pins]`: sites of an SDR SDRAM's pins, each list from bit 0 on. cs, ras, cas, we are low when they say yes. attributes : of all."""

    clk: Site
    cke: Site
    cs: Site
    ras: Site
    cas: Site
    we: Site
    ba: list[Site] = Field(min_length=1, max_length=2)
    a: list[Site] = Field(min_length=ALL_BANKS + 1, max_length=13)
    dqm: list[Site] = Field(min_length=1)
    dq: list[Site] = Field(min_length=1)
    attributes: Attributes = Field(default_factory=dict)

    @property
    def sites(self) -> dict[str, Site]:
        """By the names that constraint files have for ports of the top module, bits of one in brackets."""
        made = {f"sdram_{name}": getattr(self, name) for name in ("clk", "cke", "cs", "ras", "cas", "we")}
        return made | {f"sdram_{name}[{k}]": site for name in ("ba", "a", "dqm", "dq") for k, site in enumerate(getattr(self, name))}


Nanoseconds = Annotated[float, Field(gt=0, le=1e6)]


class MemoryTiming(Table):
    """`[memory.timing]`: of an SDR SDRAM, the slowest that is on such a board; nanoseconds but for `cas_latency`, in cycles.

    clock : least period (tCK). row_to_column : tRCD. row_precharge : tRP. row_active : least of tRAS. row_cycle : tRC. refresh_cycle : tRFC,
    of most data sheets tRC. write_recovery : tWR or tDPL. refresh_interval : on average. initialization : with a clock, before the first command.
    access : tAC. hold : tOH.
    """

    cas_latency: int = Field(ge=2, le=3)
    clock: Nanoseconds
    row_to_column: Nanoseconds
    row_precharge: Nanoseconds
    row_active: Nanoseconds
    row_cycle: Nanoseconds
    refresh_cycle: Nanoseconds
    write_recovery: Nanoseconds
    refresh_interval: Nanoseconds
    initialization: Nanoseconds
    access: Nanoseconds
    hold: Nanoseconds


class Memory(Table):
    """`[memory]`: memory beside the device. width : data pins; mebibytes : of all of it. pins, timing : of an SDR SDRAM that weights can be in."""

    kind: str
    width: int = Field(ge=1, le=1024)
    mebibytes: int = Field(ge=1, le=1 << 20)
    pins: MemoryPins | None = None
    timing: MemoryTiming | None = None

    @property
    def bytes(self) -> int:
        """Of all of it."""
        return self.mebibytes << 20

    @property
    def address_bits(self) -> int:
        """Of a word of `width` bits."""
        return (8 * self.bytes // self.width).bit_length() - 1

    @property
    def column_bits(self) -> int:
        """Bits of an address that choose a word of a row, of an SDR SDRAM."""
        return 0 if self.pins is None else self.address_bits - len(self.pins.ba) - len(self.pins.a)

    @model_validator(mode="after")
    def _whole(self) -> Memory:
        if (self.pins is None) != (self.timing is None):
            raise ValueError("must have both pins and timing, or neither")
        if self.pins is None:
            return self
        if self.width % 8 or (len(self.pins.dq), len(self.pins.dqm)) != (self.width, self.width // 8):
            raise ValueError(f"must have {self.width} pins dq and one dqm for eight of them, not {len(self.pins.dq)} and {len(self.pins.dqm)}")
        if not 8 <= self.column_bits <= ALL_BANKS or 8 * self.bytes != self.width << self.address_bits:
            raise ValueError(
                f"must have mebibytes that pins ba and a reach with 8 to {ALL_BANKS} bits of a column, "
                f"not {self.mebibytes} with {len(self.pins.ba)} and {len(self.pins.a)} pins"
            )
        return self


class Clock(Pin):
    """`[clock]`: where it comes in. hz : its frequency."""

    hz: int = Field(ge=1_000_000, le=500_000_000)


class Link(Table):
    """`[link]`: the serial line to the host. baud : bits a second."""

    rx: Pin
    tx: Pin
    baud: int = Field(ge=1200, le=12_000_000)


class Pair(Pin):
    """Two pins that always differ. complement : site of the other, which vendors' tools find themselves."""

    complement: Site


class Video(Table):
    """`[video]`: a DVI transmitter, or HDMI's, which is one. channels : blue with the syncs, green, red."""

    clock: Pair
    channels: list[Pair] = Field(min_length=3, max_length=3)

    @property
    def pins(self) -> dict[str, Pin]:
        """Pins by the names of the top module's ports."""
        return {"video_clk": self.clock, **{f"video_{k}": pair for k, pair in enumerate(self.channels)}}


class Flash(Table):
    """`[flash]`: the memory that the bitstream is in, for weights behind it. offset : of their image in bytes. bytes : of all of it."""

    sck: Pin
    cs: Pin
    mosi: Pin
    miso: Pin
    offset: int = Field(ge=0, lt=1 << 24)
    bytes: int = Field(ge=1, le=1 << 24)


class Board(Table):
    """A board; see `load_board`.

    led : lights up on errors. core_hz : the clock of the accelerator, made from that of the board.
    """

    title: str = Field(min_length=1)
    core_hz: int = Field(ge=1_000_000, le=500_000_000)
    device: Device
    memory: Memory | None = None
    clock: Clock
    link: Link
    led: Pin | None = None
    video: Video | None = None
    flash: Flash | None = None

    @property
    def pins(self) -> dict[str, Pin]:
        """Pins by the names of the top modules' ports; those of the link are one's, those of the screen the other's."""
        made: dict[str, Pin] = {"clk": self.clock, "rx": self.link.rx, "tx": self.link.tx}
        made |= {} if self.led is None else {"led": self.led}
        return made if self.video is None else {**made, **self.video.pins}

    @property
    def flash_pins(self) -> dict[str, Pin]:
        """More of them, for a chip that loads its weights."""
        return {} if self.flash is None else {f"flash_{name}": getattr(self.flash, name) for name in ("sck", "cs", "mosi", "miso")}

    @property
    def memory_pins(self) -> dict[str, Pin]:
        """More of them, for a chip with weights in the board's memory."""
        found = None if self.memory is None else self.memory.pins
        return {} if found is None else {name: Pin(site=site, attributes=found.attributes) for name, site in found.sites.items()}

    @model_validator(mode="after")
    def _own_sites(self) -> Board:
        sites = [pin.site for pin in (*self.pins.values(), *self.flash_pins.values(), *self.memory_pins.values())]
        sites += [pin.complement for pin in self.pins.values() if isinstance(pin, Pair)]
        twice = sorted({site for site in sites if sites.count(site) > 1})
        if twice:
            raise ValueError(f"must use every site once, not {twice[0]} twice")
        if self.core_hz < 4 * self.link.baud:
            raise ValueError(f"core_hz must be at least four times the link's baud, not {self.core_hz} and {self.link.baud}")
        wrong = abs(self.core_hz / self.divisor / self.link.baud - 1)
        if wrong > BAUD_ERROR:
            raise ValueError(f"core_hz must be a multiple of the link's baud, within {BAUD_ERROR:.1%}, and is {wrong:.1%} off")
        return self

    def with_core_hz(self, core_hz: int) -> Board:
        """The same board with another clock of the accelerator. Raises `UserError` if it can't have that."""
        return validated(Board, {**self.model_dump(), "core_hz": core_hz})

    @property
    def divisor(self) -> int:
        """Cycles of the accelerator's clock a bit of the link."""
        return round(self.core_hz / self.link.baud)


def folder() -> Path:
    """Folder of the boards that ship, of an installed package or of a checkout."""
    inside = Path(str(resources.files("organza"))) / "constraints"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "constraints"


def board_names() -> list[str]:
    """Boards that ship."""
    return sorted(path.stem for path in folder().glob("*.toml"))


@cache
def load_board(name: str) -> Board:
    """A board by its name, or by the path of its file, which ends with .toml.

    Raises `UserError` naming the file and key, or the names that there are.
    """
    if name in board_names():
        path = folder() / f"{name}.toml"
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise UserError(f"unknown board {name!r}; known are {', '.join(board_names())}, or give the path of a .toml file")
    values = read_toml(path, "a board")
    try:
        return validated(Board, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
