"""Takes an image of weights (`organza.weight_image`) apart, and writes its words into the memories of a chip."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from organza.weight_image import CRC_BYTES, PARTS, Reason, header
from organza_hw.link.crc import BYTE, Crc32

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
    """What the next byte is: of no image, of the header, of a word, of the check sum; LOADED: that has been read and is right."""

    IDLE = 0
    HEADER = 1
    WORDS = 2
    CHECK = 3
    LOADED = 4


def word_bytes(width: int) -> int:
    """Bytes of a word of so many bits in an image."""
    return -(-width // BYTE)


class WeightLoader(wiring.Component):
    """Writes the words of an image while it comes, and says when a whole and right one has come.

    Throughput: a byte in `PERIOD` cycles, always. Latency: a word is written `LATENCY` cycles after its last byte was taken; `loaded` or
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
    until another begins. image : Out(32), check sum at the end of the image that was accepted, while it is `loaded`.
    """

    PERIOD, LATENCY, VERDICT = 2, 2, 3

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
        m.submodules.crc = crc = Crc32()
        # A byte that was taken, in the first and in the second cycle in which it is the last one of the word.
        there, later, first, byte = Signal(), Signal(), Signal(), self._word[-BYTE:]
        take = self.i.valid & ~there
        m.d.comb += self.i.ready.eq(~there)
        m.d.sync += [there.eq(take), later.eq(there)]
        with m.If(take):
            m.d.sync += [self._word.eq(Cat(self._word, self.i.payload.byte)[BYTE:]), first.eq(self.i.payload.first)]

        state, wrong = Signal(State), Signal()  # so far, the check sum is
        number = Signal(range(len(self.memories)))  # of the memory of the word that comes; `address` is its place there, or a header's
        taken = Signal(range(max(CRC_BYTES, len(self._word) // BYTE)))  # bytes of the word, or of the check sum
        address, whole, last = Signal(range(max(len(self.header), 1 << len(self.address)))), Signal(), Signal()
        place = address[: (len(self.header) - 1).bit_length()]
        sizes = Array(word_bytes(width) - 1 for width, _ in self.memories)
        ends = Array(depth - 1 for _, depth in self.memories)
        reasons = Array(reason.value for reason, size in PARTS for _ in range(size))
        m.d.comb += [
            crc.start.eq(there & first), crc.byte.eq(byte), self.image.eq(crc.sum), self.address.eq(address),
            self.loaded.eq(state == State.LOADED), whole.eq(taken == sizes[number]), last.eq(address == ends[number]),
        ]  # fmt: skip
        m.d.sync += self.write.eq(0)
        ahead, anew, header_end = Signal(), Signal(), place == len(self.header) - 1  # address: to the next, or to the first one
        m.d.comb += anew.eq(there & first)
        with m.If(there):
            with m.If(first):
                m.d.sync += [state.eq(State.HEADER), self.refusal.eq(0), number.eq(0), taken.eq(0), wrong.eq(0)]
            with m.Elif((state == State.WORDS) & whole):
                m.d.sync += self.write.eq(1 << number)
        with m.If(later):
            with m.Switch(state):
                with m.Case(State.HEADER):
                    m.d.comb += [crc.valid.eq(1), ahead.eq(1), anew.eq(header_end)]
                    with m.If(byte != Array(self.header)[place]):
                        m.d.sync += [self.refusal.eq(reasons[place]), state.eq(State.IDLE)]
                    with m.Elif(header_end):
                        m.d.sync += state.eq(State.WORDS)
                with m.Case(State.WORDS):
                    m.d.comb += [crc.valid.eq(1), ahead.eq(whole), anew.eq(whole & last)]
                    m.d.sync += taken.eq(Mux(whole, 0, taken + 1))
                    with m.If(whole & last):
                        m.d.sync += number.eq(number + 1)
                        with m.If(number == len(self.memories) - 1):
                            m.d.sync += state.eq(State.CHECK)
                with m.Case(State.CHECK):
                    # The bytes that come are those that the check sum has, one after the other.
                    bad = wrong | (byte != crc.sum[:BYTE])
                    m.d.comb += crc.turn.eq(1)
                    m.d.sync += [taken.eq(taken + 1), wrong.eq(bad)]
                    with m.If(taken == CRC_BYTES - 1):
                        m.d.sync += [state.eq(Mux(bad, State.IDLE, State.LOADED)), self.refusal.eq(Mux(bad, Reason.CRC, 0))]
        with m.If(anew):
            m.d.sync += address.eq(0)
        with m.Elif(ahead):
            m.d.sync += address.eq(address + 1)
        return m
