"""Boards that ship, against amaranth-boards, which others wrote; constraint files; files that are wrong."""

from __future__ import annotations

import re
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from organza.board import Board, board_names, folder, load_board
from organza.errors import UserError
from organza_sim.constraint_files import SUFFIXES, constraints

# Platform of amaranth-boards: module and class.
PLATFORMS = {
    "ulx3s-85f": ("ulx3s", "ULX3S_85F_Platform"), "ulx3s-25f": ("ulx3s", "ULX3S_25F_Platform"),
    "orangecrab-85f": ("orangecrab_r0_2", "OrangeCrabR0_2_85FPlatform"), "ecpix5-85f": ("ecpix5", "ECPIX585Platform"),
    "icebreaker": ("icebreaker", "ICEBreakerPlatform"), "tang-nano-9k": ("tang_nano_9k", "TangNano9kPlatform"),
    "tang-primer-20k": ("tang_primer_20k", "TangPrimer20kPlatform"),
    "arty-a7-35t": ("arty_a7", "ArtyA7_35Platform"), "arty-a7-100t": ("arty_a7", "ArtyA7_100Platform"),
}  # fmt: skip
PACKAGES = {"BG381": "CABGA381", "BG554": "CABGA554", "MG285": "CSFBGA285"}  # Lattice's names and nextpnr's
MEMORIES = {"SDRAM": "sdram", "DDR3": "ddr3"}
# The OrangeCrab has no UART among its resources: the pins of the connector that the board calls 0 and 1.
ORANGECRAB_UART = {"rx": "0", "tx": "1"}


def platform_of(name: str) -> Any:
    module, kind = PLATFORMS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(import_module(f"amaranth_boards.{module}"), kind)


def resource(platform: Any, name: str) -> Any:
    return next(one for one in platform.resources if (one.name, one.number) == (name, 0))


def leaves(one: Any) -> dict[str, Any]:
    """Subsignals by name, with the attributes that are theirs or the whole's."""
    found = {sub.name: sub for sub in one.ios if hasattr(sub, "ios")}
    return found or {"": one}


def attributes_of(one: Any, leaf: Any) -> dict[str, str]:
    return {key: str(value) for key, value in {**one.attrs, **leaf.attrs}.items()}


def test_every_board_has_a_platform() -> None:
    assert board_names() == sorted(PLATFORMS)


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_device_and_clock(name: str) -> None:
    board, platform = load_board(name), platform_of(name)
    device = board.device
    if device.family == "ecp5":
        found = (platform.device, PACKAGES[platform.package], platform.speed)
    elif device.family == "ice40":
        found = (platform.device.removeprefix("iCE40"), platform.package, "")
    elif device.family == "gowin":
        found = (platform.part, "", "")
    else:
        found = (f"{platform.device}{platform.package}-{platform.speed}", "", "")
    assert (device.part, device.package, device.speed) == found
    clock = resource(platform, platform.default_clk)
    assert (board.clock.site, board.clock.hz) == (clock.ios[0].names[0], clock.clock.frequency)


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_pins(name: str) -> None:
    """Sites and whether they are inverted, and attributes that are named here are the platform's."""
    board, platform = load_board(name), platform_of(name)
    if name == "orangecrab-85f":
        (io,) = [one for one in platform.connectors if (one.name, one.number) == ("io", 0)]
        found = {port: io.mapping[pin] for port, pin in ORANGECRAB_UART.items()}
        assert {"rx": board.link.rx.site, "tx": board.link.tx.site} == found
    else:
        uart = resource(platform, "uart")
        for port, pin in (("rx", board.link.rx), ("tx", board.link.tx)):
            leaf = leaves(uart)[port]
            assert (pin.site, pin.inverted) == (leaf.ios[0].names[0], leaf.ios[0].invert)
            assert pin.attributes.items() <= attributes_of(uart, leaf).items()
    if board.led is not None:
        kind, color = ("rgb_led", "r") if name == "orangecrab-85f" else ("led", "")
        led = resource(platform, kind)
        leaf = leaves(led)[color]
        assert (board.led.site, board.led.inverted) == (leaf.ios[0].names[0], leaf.ios[0].invert)
        assert board.led.attributes.items() <= attributes_of(led, leaf).items()


@pytest.mark.parametrize("name", ["ulx3s-25f", "ulx3s-85f"])
def test_pins_of_a_screen(name: str) -> None:
    """Both pins of every pair, and all of their attributes."""
    video, hdmi = load_board(name).video, leaves(resource(platform_of(name), "hdmi"))
    assert video is not None
    pairs = [video.clock, *video.channels]
    found = [(pair.site, pair.complement) for pair in pairs]
    wanted = [(p, n) for leaf in ("clk", "d") for p, n in zip(hdmi[leaf].ios[0].p.names, hdmi[leaf].ios[0].n.names, strict=True)]
    assert found == wanted
    for pair, leaf in zip(pairs, (hdmi["clk"], *[hdmi["d"]] * 3), strict=True):
        assert pair.attributes == {key: str(value) for key, value in leaf.attrs.items()} and not pair.inverted


def test_pins_of_the_flash() -> None:
    """Those of amaranth-boards; in the constraint file of a chip that loads its weights only."""
    board = load_board("icebreaker")
    assert board.flash is not None and board.flash.offset < board.flash.bytes
    found = leaves(resource(platform_of("icebreaker"), "spi_flash_1x"))
    names = {"sck": "clk", "cs": "cs", "mosi": "copi", "miso": "cipo"}
    assert {name: getattr(board.flash, name).site for name in names} == {name: found[leaf].ios[0].names[0] for name, leaf in names.items()}
    added = set(constraints(board, board.flash_pins).splitlines()) - set(constraints(board).splitlines())
    assert added == {f"set_io flash_{name} {getattr(board.flash, name).site}" for name in names}
    assert load_board("ulx3s-85f").flash_pins == {}


@pytest.mark.parametrize("name", ["ulx3s-25f", "ulx3s-85f"])
def test_pins_of_the_sdram(name: str) -> None:
    """Those of amaranth-boards with all of their attributes; in the constraint file of a chip with weights there only."""
    board = load_board(name)
    found = resource(platform_of(name), "sdram")
    memory = board.memory
    assert memory is not None and memory.pins is not None
    assert memory.pins.attributes == {key: str(value) for key, value in found.attrs.items()}
    names = {"clk": "clk", "clk_en": "cke", "cs": "cs", "ras": "ras", "cas": "cas", "we": "we", "ba": "ba", "a": "a", "dqm": "dqm", "dq": "dq"}
    assert set(names) == set(leaves(found))
    for leaf, ours in names.items():
        sites = getattr(memory.pins, ours)
        assert leaves(found)[leaf].ios[0].names == ([sites] if isinstance(sites, str) else sites)
        assert leaves(found)[leaf].ios[0].invert == (leaf in ("cs", "ras", "cas", "we"))
    added = set(constraints(board, board.memory_pins).splitlines()) - set(constraints(board).splitlines())
    assert len(added) == 2 * (6 + 2 + 13 + 2 + 16)
    assert 'LOCATE COMP "sdram_dq[15]" SITE "J17";' in added
    assert 'IOBUF PORT "sdram_clk" IO_TYPE=LVCMOS33 PULLMODE=NONE DRIVE=4 SLEWRATE=FAST;' in added


# ns with CAS latency 3 of chips that can be on such boards: AS4C16M16SA-7 (Alliance), IS42S16160G-7 (ISSI), MT48LC16M16A2-75 (Micron),
# W9825G6KH-6 (Winbond).
DATA_SHEETS = {
    "clock": (7, 7, 7.5, 6), "row_to_column": (21, 15, 20, 15), "row_precharge": (21, 15, 20, 15), "row_active": (42, 37, 44, 42),
    "row_cycle": (63, 60, 66, 60), "refresh_cycle": (63, 60, 66, 60), "write_recovery": (14, 14, 15, 12),
    "initialization": (200_000, 100_000, 100_000, 200_000), "access": (5.4, 5.4, 5.4, 5),
}  # fmt: skip


@pytest.mark.parametrize("name", ["ulx3s-25f", "ulx3s-85f"])
def test_times_of_the_sdram_are_enough_for_every_chip(name: str) -> None:
    memory = load_board(name).memory
    assert memory is not None and memory.timing is not None and (memory.address_bits, memory.column_bits, memory.bytes) == (24, 9, 1 << 25)
    for key, values in DATA_SHEETS.items():
        assert getattr(memory.timing, key) >= max(values)
    assert memory.timing.hold <= min(2.5, 2.7, 2.7, 3) and memory.timing.refresh_interval * 8192 <= 64e6


@pytest.mark.parametrize("name", [name for name in sorted(PLATFORMS) if load_board(name).memory])
def test_width_of_the_memory(name: str) -> None:
    memory = load_board(name).memory
    assert memory is not None
    if memory.kind in MEMORIES:
        assert len(leaves(resource(platform_of(name), MEMORIES[memory.kind]))["dq"].ios[0].names) == memory.width


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_constraint_file_is_that_of_the_board(name: str) -> None:
    board = load_board(name)
    text = (folder() / f"{name}{SUFFIXES[board.device.family]}").read_text()
    assert text == constraints(board)
    for port, pin in board.pins.items():
        lines = [re.split(r'[\s";\]]+', line) for line in text.splitlines()]
        (line,) = [words for words in lines if pin.site in words]
        assert port in line


def test_no_other_files() -> None:
    wanted = {f"{name}.toml" for name in PLATFORMS} | {f"{name}{SUFFIXES[load_board(name).device.family]}" for name in PLATFORMS}
    assert {path.name for path in folder().iterdir()} == wanted


def written(tmp_path: Path, old: str, new: str) -> str:
    text = (folder() / "ulx3s-85f.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    assert load_board(written(tmp_path, "156", "100")).device.multipliers == 100


@pytest.mark.parametrize("old, new, message", [
    ("luts", "luds", "device.luts: is missing; device: unknown key 'luds'; known are family, part, package, speed, series, luts, "),
    ("156", "-1", "device.multipliers: must be greater than or equal to 0, not -1"),
    ('"ecp5"', '"ecp6"', "device.family: must be one of ecp5, ice40, gowin, xc7, not 'ecp6'"),
    ('"L4"', '"M1"', "must use every site once, not M1 twice"),
    ('"L4"', '"L4; evil"', "link.tx.site: must be "),
    ("[1, 2, 4,", "[2, 1, 4,", "device.block_ram_widths: must rise, not [2, 1, 4, 9, 18, 36]"),
    ("core_hz = 125_000_000", "core_hz = 11_000_000", "core_hz must be at least four times"),
    ('"C14"', '"A16"', "must use every site once, not A16 twice"),
    ('complement = "C14", ', "", "video.channels.complement: is missing"),
    ("channels = [", "lanes = [", "video.channels: is missing; video: unknown key 'lanes'; known are clock, channels"),
    ("cas_latency = 3", "cas_latency = 4", "memory.timing.cas_latency: must be less than or equal to 3, not 4"),
    ("row_cycle = 66", "row_cicle = 66", "memory.timing.row_cycle: is missing; memory.timing: unknown key 'row_cicle'; known are cas_latency, clock, "),
    ("access = 5.4", "access = 0", "memory.timing.access: must be greater than 0, not 0"),
    ('dqm = ["U19", "E20"]', 'dqm = ["U19"]', "memory: must have 16 pins dq and one dqm for eight of them, not 16 and 1"),
    ("mebibytes = 32", "mebibytes = 128", "memory: must have mebibytes that pins ba and a reach with 8 to 10 bits of a column, not 128 with 2 and 13 pins"),
    ("mebibytes = 32", "mebibytes = 31", "memory: must have mebibytes that pins ba and a reach"),
    ('cke = "F20"', 'cke = "F19"', "must use every site once, not F19 twice"),
    ("luts = 83_640", "luts = 83_640\nlarge_rams = 4", "device: must have all of large_rams, large_ram_bits and large_ram_width, or none"),
    ("[device]", "[device", "must be TOML: "),
])  # fmt: skip
def test_wrong_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path, old, new)
    with pytest.raises(UserError) as caught:
        load_board(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert str(caught.value).count(path) == 1


def test_unknown_boards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown board 'ulx4s'; known are arty-a7-100t, .* or give the path of a \.toml file$"):
        load_board("ulx4s")
    with pytest.raises(UserError, match=r"none\.toml: cannot be read \(No such file or directory\); give a board, a TOML file$"):
        load_board(str(tmp_path / "none.toml"))


def test_values_are_those_of_the_files() -> None:
    """Nothing that a file says is lost on the way: the models have all keys."""
    for name in board_names():
        values = tomllib.loads((folder() / f"{name}.toml").read_text())
        assert Board.model_validate(values).model_dump(exclude_unset=True) == values
