"""Reads the codes of a stored bit stream, one a cycle, and checks its sum."""

from typing import Any

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from organza.codes.bitstream import CRC_BITS, BitStream
from organza_hw.compare import less_than
from organza_hw.lanes.dot import register
from organza_hw.rom import Rom, read_held

AHEAD = 3  # words between the memory's and the one in turn


class CodeReader(wiring.Component):
    """The codes of a `BitStream`, each of at most `most` bits, fewer than a word has.

    Where a code ends is known only when its length is. So that this takes little of a cycle, what begins at every bit of a word is
    measured before the word's turn comes: the place of a code chooses the place of the next.

    Throughput: a code every cycle. Latency: the first code is there `LATENCY` cycles after reset.

    Parameters
    ----------
    ends : a code that is no code of an earlier pair (length, end) has that length if its first bits are a number below that end;
        lengths rise up to `most`. None if all codes have `most` bits.

    Members
    -------
    there : Out(1), the outputs below are those of a code, or say that there is none. Stays.
    take : In(1), the next code is asked for; only while `there` and `good`.
    bits : Out(most), the code and what follows it, first bit highest. length : Out, of the code.
    good : Out(1), there is such a code, and it ends within the stream.
    end : Out(1), the stream ends here.
    checked : Out(1), the check sum has been read, at most two cycles after the last code is there. intact : Out(1), with `checked`:
        it is right.
    """

    LATENCY = Rom.LATENCY + 1 + AHEAD + 1  # a word and its register, those ahead, the code

    there: Signal
    take: Signal
    bits: Signal
    length: Signal
    good: Signal
    end: Signal
    checked: Signal
    intact: Signal

    def __init__(self, stream: BitStream, *, most: int, ends: list[tuple[int, int]] | None = None, file=None):
        if not 1 <= most < stream.word_bits:
            raise ValueError(f"CodeReader must take between 1 and {stream.word_bits - 1} bits, not {most}")
        self.stream, self.most, self.ends = stream, most, ends or [(most, 1 << most)]
        self.rom = Rom(width=stream.row_words * stream.word_bits, words=stream.rows, file=file)
        super().__init__({
            "there": Out(1), "take": In(1), "bits": Out(most), "length": Out(range(most + 1)), "good": Out(1), "end": Out(1),
            "checked": Out(1), "intact": Out(1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        width, advance, filled = self.stream.word_bits, Signal(), Signal(AHEAD)
        ready, word, coming = self._words(m, advance)
        with m.If(advance):
            m.d.sync += filled.eq(Cat(1, filled))
        following = register(m, coming, enable=advance)
        current = register(m, following, enable=advance)
        nexts, goods = self._places(m, Cat(word, coming), filled[0], advance)

        # The place of the next code, and the code there. Two can wait: what is asked for does not decide what is read in that cycle.
        place, load, free = Signal(range(width)), Signal(), Signal(init=1)
        last, end = divmod(self.stream.bits, width)
        turn = Signal(range(last + 2))  # of which word it is; it stops behind the last
        m.d.comb += load.eq(filled[-1] & free)
        window = Cat(following, current)
        starts = Array(window[2 * width - self.most - at : 2 * width - at] for at in range(width))
        code = Signal(data.StructLayout({
            "there": 1, "good": 1, "end": 1, "bits": self.most, "begin": place.shape(), "behind": width.bit_length(),
        }))  # fmt: skip
        m.d.comb += [
            code.there.eq(load),
            code.good.eq(Array(goods)[place]),
            code.end.eq((turn == last) & (place == end)),
            code.bits.eq(starts[place]),
            code.begin.eq(place),
            code.behind.eq(Array(nexts)[place]),
        ]
        moved = load & code.good & code.behind[-1]
        with m.If(load & code.good):
            m.d.sync += place.eq(code.behind)
        with m.If(moved & (turn <= last)):
            m.d.sync += turn.eq(turn + 1)
        m.d.comb += advance.eq(ready & (~filled[-1] | moved))
        offered, waiting = Signal.like(code), Signal.like(code)
        stays = offered.there & ~self.take
        with m.If(~stays):
            m.d.sync += [offered.eq(Mux(waiting.there, waiting, code)), waiting.there.eq(0), free.eq(1)]
        with m.Elif(load):
            m.d.sync += [waiting.eq(code), free.eq(0)]
        m.d.comb += self.length.eq(offered.behind - offered.begin)
        m.d.comb += [getattr(self, name).eq(offered[name]) for name in ("there", "good", "end", "bits")]
        return m

    def judge(self, m, expander, *, over, refused):
        """Set `intact` and `error` of the expander that takes the codes.

        over : it has made all its fields. refused : what is there is no code, or more than it can use.
        """
        m.d.comb += expander.intact.eq(over & self.end & self.intact & ~expander.error)
        with m.If(refused | (over & ((self.there & ~self.end) | (self.checked & ~self.intact)))):
            m.d.sync += expander.error.eq(1)

    def _words(self, m, advance):
        """Are there words; the next and the one before it, which move with `advance`. Behind the last there is anything."""
        width, payload = self.stream.word_bits, self.stream.payload_words
        m.submodules.rom = rom = self.rom
        crc: Any = catalog.CRC32_ISO_HDLC(data_width=width).create()
        m.submodules.crc = crc
        asked = Signal(Rom.LATENCY + 1)  # the words behind have been asked for; the highest: `word` is word `index`
        index = Signal(range(len(self.stream.words) + 1))  # words used up
        place = self.stream.row_words.bit_length() - 1  # bits of an address that are a place in a row
        address = Signal(rom.address_bits + place)
        fetch, accept, over, read_all = Signal(), Signal(), Signal(), Signal()
        row = read_held(m, rom, address >> place, fetch)
        word = register(m, row.word_select((address - Rom.LATENCY)[:place], width), enable=fetch)
        m.d.comb += [
            over.eq(index >= payload),
            read_all.eq(index == payload + CRC_BITS // width),
            # The check sum is read as soon as there are no other words.
            accept.eq(asked[-1] & ~read_all & (over | advance)),
            fetch.eq(accept | ~asked[-1]),
            crc.data.eq(word), crc.valid.eq(accept),
        ]  # fmt: skip
        m.d.sync += [self.checked.eq(read_all), self.intact.eq(read_all & crc.match_detected)]
        with m.If(fetch):
            m.d.sync += [asked.eq(Cat(1, asked)), address.eq(address + 1)]
        with m.If(accept):
            m.d.sync += index.eq(index + 1)
        return asked[-1], word, register(m, word, enable=advance)

    def _places(self, m, both, measures, advance):
        """For every bit of the word in turn: where the code behind it begins, that of the next word with a carry; is it good?

        both : the word two behind the one in turn, which is measured, and below it its next. measures : there is one.
        """
        width = self.stream.word_bits
        last, end = divmod(self.stream.bits, width)
        number = Signal(range(last + 2))  # of the word that is measured
        with m.If(advance & measures & (number <= last)):
            m.d.sync += number.eq(number + 1)
        at_last, one_before, before = (
            register(m, flag, enable=advance) for flag in (number == last, number == last - 1, number < last - 1)
        )
        nexts, goods = [], []
        for place in range(width):
            begins = both[: 2 * width - place][-self.most :]
            below = [
                register(m, less_than(begins[self.most - length :], limit), enable=advance)
                for length, limit in self.ends
            ]
            behind, good = Const(0, width.bit_length()), Const(0)
            for (length, _), is_below in reversed([*zip(self.ends, below, strict=True)]):
                fits = (
                    before | (one_before & int(place + length <= width + end)) | (at_last & int(place + length <= end))
                )
                behind, good = Mux(is_below, place + length, behind), Mux(is_below, fits, good)
            nexts.append(register(m, behind[: width.bit_length()], enable=advance))
            goods.append(register(m, good, enable=advance))
        return nexts, goods
