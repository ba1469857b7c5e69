# amaranth: UnusedElaboratable=no
"""Every byte behind every balance that bytes can lead to, against the specification's own flow charts and what they are for."""

import random
from itertools import pairwise

import numpy as np

from organza_hw.video.tmds import CONTROLS, TmdsEncoder
from organza_sim import dvi
from organza_sim.pysim import trace_cycles
from tests.organza_hw.video import tmds_oracle as oracle

PIXELS = [(1, byte) for byte in range(256)]


def paths():
    """Bytes that lead from a control symbol to each count that can be reached."""
    found, new = {0: []}, [0]
    while new:
        cnt = new.pop(0)
        for byte in range(256):
            after = oracle.encode(byte, cnt)[1]
            if after not in found:
                found[after] = [*found[cnt], byte]
                new.append(after)
    return found


def encoded(items):
    """Symbols of the gateware for (seen, byte or control bits)."""
    inputs = [{"seen": seen, "byte": value if seen else 0xA5, "control": 2 if seen else value} for seen, value in items]
    seen = trace_cycles(TmdsEncoder(), [*inputs, *({} for _ in range(TmdsEncoder.LATENCY))], ["symbol"])
    return [symbol for symbol, in seen[TmdsEncoder.LATENCY :]]


def ones(symbol):
    return symbol.bit_count() - (10 - symbol.bit_count())


def changes(symbol):
    return sum(a != b for a, b in pairwise(oracle.bits_of(symbol, 10)))


def test_oracle_has_the_properties_that_it_is_for():
    """And the two decoders, neither of which knows of the other, are one."""
    counts = oracle.reachable()
    assert counts == sorted(paths()) and max(map(abs, counts)) <= 10
    for cnt in counts:
        for byte in range(256):
            symbol, after = oracle.encode(byte, cnt)
            assert oracle.decode(symbol) == byte and after == cnt + ones(symbol)
            assert changes(symbol) <= 5 and symbol not in CONTROLS
    every = dvi.decode(np.arange(1024))
    assert every.byte.tolist() == [oracle.decode(symbol) for symbol in range(1024)]
    for value in range(4):
        symbol = oracle.control(value)
        assert CONTROLS[value] == symbol and changes(symbol) >= 7
        assert every.blank[symbol] and every.control[symbol] == value
    assert every.blank.sum() == 4


def test_every_byte_at_every_balance():
    """Each time from a control symbol on, by the shortest way there."""
    items, wanted = [], []
    for lead in paths().values():
        for byte in range(256):
            items += [(0, byte % 4), *((1, one) for one in lead), (1, byte)]
            wanted.append(oracle.control(byte % 4))
            cnt = 0
            for one in (*lead, byte):
                symbol, cnt = oracle.encode(one, cnt)
                wanted.append(symbol)
    assert encoded(items) == wanted


def test_a_long_line_stays_in_balance():
    rng = random.Random(1)
    for source in ([rng.randrange(256) for _ in range(3000)], [0] * 600, [255] * 600, [0x10, 0xEF] * 300, [0x55] * 600):
        found = encoded([(1, byte) for byte in source])
        assert [oracle.decode(symbol) for symbol in found] == source
        line = np.array([bit for symbol in found for bit in oracle.bits_of(symbol, 10)])
        balance = np.cumsum(2 * line - 1)
        assert np.abs(balance[9::10]).max() <= 10 and np.abs(balance).max() <= 18
