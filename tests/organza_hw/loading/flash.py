"""A flash at the pins of an SPI master, as its data sheet describes it: asleep until it is woken, mode 0, READ from 24 bits of address."""

from organza_hw.loading.spi_flash import ADDRESS_BITS, READ, WAKE


class Flash:
    """What `miso` is, from what the other pins were. Bytes behind its content are 0xFF; `content` may change between reads."""

    def __init__(self, content: bytes, *, asleep: bool = True):
        self.content, self.asleep = content, asleep
        self.commands: list[tuple[int, int]] = []
        self._sck, self._bits, self._value, self._place = 0, 0, 0, None
        self.miso = 0

    def step(self, sck: int, cs: int, mosi: int) -> int:
        """Pins in one cycle; `miso` after them."""
        if cs:
            if self._bits == 8 and self._value == WAKE:
                self.asleep = False
                self.commands.append((WAKE, 0))
            self._bits = self._value = 0
            self._place = None
        elif sck and not self._sck:
            self._bits, self._value = self._bits + 1, self._value << 1 | mosi
            if not self.asleep and self._bits == 8 + ADDRESS_BITS and self._value >> ADDRESS_BITS == READ:
                self._place = 8 * (self._value & (1 << ADDRESS_BITS) - 1)
                self.commands.append((READ, self._place // 8))
        elif self._sck and not sck and self._place is not None:
            byte = self.content[self._place // 8] if self._place // 8 < len(self.content) else 0xFF
            self.miso = byte >> 7 - self._place % 8 & 1
            self._place += 1
        self._sck = sck
        return self.miso
