"""Huffman code: the best one, canonical, without loss, and no garbage from a damaged stream."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import replace

import numpy as np
import pytest
from bitarray import bitarray
from bitarray.util import canonical_decode, canonical_huffman
from hypothesis import given
from hypothesis import strategies as st

from organza.codes import Huffman, Linear
from organza.codes.bitstream import BitStream
from organza.codes.huffman import LONGEST, Table, code_lengths
from tests.strategies import random_code

counts = st.lists(st.integers(1, 10_000), min_size=2, max_size=60)
streams = st.lists(st.integers(0, 40), min_size=1, max_size=200).map(np.array)


def heap_cost(amounts):
    """Bits of a Huffman code without limit: the sum of all merged weights."""
    heap, cost = list(amounts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


@given(counts)
def test_without_a_limit_it_is_huffmans(amounts):
    lengths = code_lengths(np.array(amounts), 60)
    assert (lengths * amounts).sum() == heap_cost(amounts)
    assert sum(2.0**-lengths) == 1  # Kraft: every stream of bits means something


@given(st.lists(st.integers(1, 300), min_size=2, max_size=6), st.integers(1, 6))
def test_with_a_limit_it_is_the_best(amounts, longest):
    if len(amounts) > 1 << longest:
        with pytest.raises(ValueError, match=f"at most {1 << longest} different fields"):
            code_lengths(np.array(amounts), longest)
        return
    lengths = code_lengths(np.array(amounts), longest)
    assert sum(2.0**-lengths) == 1 and lengths.max() <= longest
    # Longer codes for rarer symbols: only sorted lengths can be the best.
    rarest = sorted(amounts, reverse=True)
    best = min(
        sum(n * length for n, length in zip(rarest, some, strict=True))
        for some in itertools.combinations_with_replacement(range(1, longest + 1), len(amounts))
        if sum(2.0**-length for length in some) <= 1
    )
    assert (lengths * amounts).sum() == best


def test_fibonacci_reaches_the_limit():
    amounts = [1, 1]
    while len(amounts) < 30:
        amounts.append(sum(amounts[-2:]))
    assert code_lengths(np.array(amounts), 60).max() == 29
    lengths = code_lengths(np.array(amounts))
    assert lengths.max() == LONGEST and sum(2.0**-lengths) == 1


def test_canonical_codes_are_those_of_deflate():
    """RFC 1951, 3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) of A…H give these codes."""
    amounts = np.zeros(LONGEST, np.int64)
    amounts[1:4] = 1, 5, 2
    table = Table(np.array([5, 0, 1, 2, 3, 4, 6, 7]), amounts)
    wanted = {5: "00", 0: "010", 1: "011", 2: "100", 3: "101", 4: "110", 6: "1110", 7: "1111"}
    found = zip(table.symbols.tolist(), table.codes.tolist(), table.lengths.tolist(), strict=True)
    assert {symbol: f"{code:0{bits}b}" for symbol, code, bits in found} == wanted


def test_fixed_codes_of_deflate():
    """RFC 1951, 3.2.6: 0…143 in 8 bits from 00110000, 144…255 in 9 from 110010000, 256…279 in 7
    from 0, 280…287 in 8 from 11000000; from the lengths alone."""
    lengths = np.repeat([8, 9, 7, 8], [144, 112, 24, 8])
    order = np.argsort(lengths, kind="stable")
    table = Table(order, np.bincount(lengths, minlength=LONGEST + 1)[1:])
    code = dict(zip(table.symbols.tolist(), table.codes.tolist(), strict=True))
    assert (code[0], code[143], code[144], code[255]) == (0x30, 0xBF, 0x190, 0x1FF)
    assert (code[256], code[279], code[280], code[287]) == (0, 23, 0xC0, 0xC7)


def naive(table, bits, count):
    """Reads bit by bit until the string of bits is a code."""
    known = {
        f"{code:0{length}b}": int(symbol)
        for symbol, code, length in zip(table.symbols, table.codes, table.lengths, strict=True)
    }
    made, some = [], ""
    for bit in bits:
        some += str(bit)
        if some in known:
            made.append(known[some])
            some = ""
    assert not some and len(made) == count
    return made


@given(streams, st.integers(6, LONGEST))
def test_round_trip(fields, longest):
    table = Table.of(fields, longest)
    stream = table.encode(fields)
    assert stream.bits == (table.lengths * [(fields == s).sum() for s in table.symbols]).sum()
    np.testing.assert_array_equal(table.decode(stream, len(fields)), fields)
    assert naive(table, stream.unpack().tolist(), len(fields)) == fields.tolist()


@given(counts)
def test_lengths_are_as_good_as_those_of_bitarray(amounts):
    lengths = code_lengths(np.array(amounts), 60)
    theirs, *_ = canonical_huffman(dict(enumerate(amounts)))
    assert (lengths * amounts).sum() == sum(len(theirs[symbol]) * amount for symbol, amount in enumerate(amounts))


@given(streams, st.integers(6, LONGEST))
def test_bitarray_decodes_our_streams(fields, longest):
    """Another library's decoder of canonical codes, given the symbols and how many have 0, 1, 2, … bits."""
    table = Table.of(fields, longest)
    bits = bitarray(table.encode(fields).unpack().tolist())
    assert list(canonical_decode(bits, [0, *table.amounts.tolist()], table.symbols.tolist())) == fields.tolist()


@given(streams, st.data())
def test_damage_is_found(fields, data):
    table = Table.of(fields)
    stream = table.encode(fields)
    word = data.draw(st.integers(0, len(stream.words) - 1))
    bit = data.draw(st.integers(0, stream.word_bits - 1))
    damaged = stream.words.copy()
    damaged[word] ^= 1 << bit
    with pytest.raises(ValueError, match="^Stream does not match its check sum$"):
        table.decode(replace(stream, words=damaged), len(fields))
    with pytest.raises(ValueError, match="^Stream is too short: "):
        table.decode(replace(stream, words=stream.words[:-1]), len(fields))
    with pytest.raises(ValueError, match="^Stream is too long: "):
        table.decode(replace(stream, words=np.append(stream.words, 0)), len(fields))
    with pytest.raises(ValueError, match=f"^Stream ends in field {len(fields)} of"):
        table.decode(stream, len(fields) + 1)
    with pytest.raises(ValueError, match="bits behind the last of"):
        table.decode(stream, len(fields) - 1)


def test_a_code_that_does_not_exist():
    """The code of a single symbol is 0; with the check sum of the damaged stream itself 1 is read."""
    table = Table.of(np.zeros(3, np.int64))
    wrong = BitStream.pack(np.array([0, 1, 0]), np.ones(3, np.int64), 16)
    with pytest.raises(ValueError, match="^Stream has no field for a code of field 1$"):
        table.decode(wrong, 3)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("lanes", [(1, 1, 1), (2, 3, 1), (4, 2, 2)])
def test_stored_bits(seed, lanes):
    code = random_code(np.random.default_rng(seed), (6, 4, 2, 3), "huffman")
    stream = code.stream(*lanes)
    tables = code.inner.stored_bits - code.inner.field_bits * code.inner.fields().size
    symbols = np.unique(code.fields()).size
    assert code.stored_bits == stream.stored_bits + symbols * code.field_bits + 240 + tables
    assert code.buffer_bits(1, 1, 1) == code.field_bits * 144
    np.testing.assert_array_equal(code.table.decode(stream, 144), code.ordered(*lanes))


def test_close_to_the_entropy():
    rng = np.random.default_rng(0)
    weights = np.clip(np.round(rng.normal(0, 12, (64, 32, 3, 3))), -127, 127).astype(int)
    code = Huffman(Linear(weights))
    _, amounts = np.unique(weights, return_counts=True)
    entropy = -(amounts / weights.size * np.log2(amounts / weights.size)).sum()
    assert entropy <= code.stream(1, 1, 1).bits / weights.size <= entropy + 0.05
    assert code.stored_bits < 0.75 * code.inner.stored_bits


def test_wrong_codes():
    inner = Linear(np.arange(4).reshape(4, 1, 1, 1))
    for make, kind, message in (
        (lambda: Huffman(Huffman(inner)), ValueError, "^huffman must be around one of linear, .*, not 'huffman'$"),
        (lambda: Huffman(3), TypeError, "^huffman must be around a code, not 3$"),
        (lambda: Huffman(inner, 16), ValueError, "^huffman longest must be between 1 and 15, not"),
        (lambda: Huffman(inner, 1.0), TypeError, "^huffman longest must be an integer, not 1.0$"),
        (lambda: Huffman(inner, 1), ValueError, "^huffman must have at most 2 different fields"),
        (lambda: Huffman.encode(inner.integers() * 1.0, 1, np.ones(4), bits=3), ValueError,
         "^huffman: .*bits"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            make()
