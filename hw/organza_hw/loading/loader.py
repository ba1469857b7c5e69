"""Takes an image of weights (`organza.weight_image`) apart, and writes its words into the memories of a chip."""

from typing import Any

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from organza.weight_image import CRC_BYTES, PARTS, Reason, header
from organza_hw.link.frames import BYTE

# A byte of an image; `first`: a new image begins with it, whatever came before.
LOAD_BYTE = data.StructLayout({"byte": BYTE, "first": 1})
REASON_BITS = max(Reason).bit_length()
LOAD_PORTS = {
    "load": In(stream.Signature(LOAD_BYTE)),
    "loaded": Out(1),
    "refusal": Out(REASON_BITS),
    "image": Out(BYTE * CRC_BYTES),
}


class State(enum.Enum):
    """What the next byte is: of no image, of the header, of a word, of the check sum; VERDICT: that has been read; LOADED: and is right."""

    IDLE = 0
    HEADER = 1
    WORDS = 2
    CHECK = 3
    VERDICT = 4
    LOADED = 5


def word_bytes(width: int) -> int:
    """Bytes of a word of so many bits in an image."""
    return -(-width // BYTE)


class WeightLoader(wiring.Component):
    """Writes the words of an image while it comes, and says when a whole and right one has come.

    Throughput: a byte every cycle, always. Latency: a word is written `LATENCY` cycles after its last byte was taken; `loaded` or
    `refusal` is there `VERDICT` cycles after the last byte that matters. Words are written as they come: from the first byte of an
    image on, what was in the memories before does not count, and `loaded` is 0 until an image has been accepted.

    Parameters
    ----------
    shape : what the chip was built for, see `organza.loadable.shape_hash`. memories : width and depth of each, in order.

    Members
    -------
    i : In, stream of `LOAD_BYTE`. Bytes before the first `first`, and behind an image or what it was refused for, do not matter.
    write : Out, a bit for every memory. address : Out, of the word. words : list of the word as each memory takes it.
    loaded : Out(1), a whole image is in the memories. refusal : Out, `Reason` why the last image was refused, 0 if it was not; stays
    until another begins. image : Out(32), check sum at the end of the image that was accepted.
    """

    LATENCY, VERDICT = 2, 3

    i: stream.Interface
    write: Signal
    address: Signal
    loaded: Signal
    refusal: Signal
    image: Signal

    def __init__(self, shape: bytes, memories: list[tuple[int, int]]):
        if not memories:
            raise ValueError("WeightLoader must have memories")
        self.memories = list(memories)
        self.payload_bytes = sum(word_bytes(width) * depth for width, depth in memories)
        self.header = header(shape, self.payload_bytes)
        most = max(word_bytes(width) for width, _ in memories)
        self._word = Signal(BYTE * most, reset_less=True)
        # Bytes come in from above.
        self.words = [self._word[-BYTE * word_bytes(width) :][:width] for width, _ in memories]
        ports = {**LOAD_PORTS, "i": LOAD_PORTS["load"]}
        del ports["load"]
        super().__init__({**ports, "write": Out(len(memories)), "address": Out(range(max(2, *(depth for _, depth in memories))))})

    def elaborate(self, platform):
        m = Module()
        crc: Any = catalog.CRC32_ISO_HDLC().create()
        m.submodules.crc = crc
        there, byte, first = Signal(), Signal(BYTE), Signal()  # a byte that was taken
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [there.eq(self.i.valid), byte.eq(self.i.payload.byte), first.eq(self.i.payload.first)]
        m.d.comb += [crc.valid.eq(there), crc.data.eq(byte), crc.start.eq(there & first)]

        state = Signal(State)
        place, at = Signal(range(len(self.header))), Signal(range(len(self.header)))  # of a byte of the header
        number, address = Signal(range(len(self.memories))), Signal.like(self.address)  # of the word that comes
        left = Signal(range(max(CRC_BYTES, len(self._word) // BYTE)))  # bytes of it, or of the check sum, behind this one
        sizes = Array(word_bytes(width) - 1 for width, _ in self.memories)
        ends = Array(depth - 1 for _, depth in self.memories)
        reasons = Array(reason.value for reason, size in PARTS for _ in range(size))
        following = Signal.like(number)
        m.d.comb += [at.eq(Mux(first, 0, place)), following.eq(number + 1)]
        m.d.comb += self.loaded.eq(state == State.LOADED)
        m.d.sync += self.write.eq(0)
        with m.Switch(state):
            with m.Case(State.WORDS):
                with m.If(there & ~first):
                    m.d.sync += [self._word.eq(Cat(self._word, byte)[BYTE:]), left.eq(left - 1), self.address.eq(address)]
                    with m.If(left == 0):
                        m.d.sync += [self.write.eq(1 << number), address.eq(address + 1), left.eq(sizes[number])]
                        with m.If(address == ends[number]):
                            m.d.sync += [address.eq(0), number.eq(following), left.eq(sizes[following])]
                            with m.If(number == len(self.memories) - 1):
                                m.d.sync += [state.eq(State.CHECK), left.eq(CRC_BYTES - 1)]
            with m.Case(State.CHECK):
                with m.If(there):
                    m.d.sync += [self.image.eq(Cat(self.image, byte)[BYTE:]), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.d.sync += state.eq(State.VERDICT)
            with m.Case(State.VERDICT):
                m.d.sync += [
                    state.eq(Mux(crc.match_detected, State.LOADED, State.IDLE)), self.refusal.eq(Mux(crc.match_detected, 0, Reason.CRC)),
                ]  # fmt: skip
        with m.If(there & (first | (state == State.HEADER))):
            m.d.sync += [
                self.refusal.eq(0), state.eq(State.HEADER), place.eq(at + 1),
                number.eq(0), address.eq(0), left.eq(sizes[0]),
            ]  # fmt: skip
            with m.If(byte != Array(self.header)[at]):
                m.d.sync += [self.refusal.eq(reasons[at]), state.eq(State.IDLE)]
            with m.Elif(at == len(self.header) - 1):
                m.d.sync += state.eq(State.WORDS)
        return m
