"""Images as beats, and beats as bits.

A beat is ``n`` consecutive channels of one pixel; the last beat of a pixel is padded with zero
channels. Beats come in raster order: row, column, channel group. In a payload, channel 0 is in the
lowest bits and ``last``, which is 1 in the last beat of an image, is above the data.
"""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Shape

__all__ = ["Beat", "from_beats", "last_flags", "to_beats"]

# Bits unpacked at a time: keeps the intermediate arrays at some 64 MB however long a run is.
CHUNK_BITS = 1 << 26


def to_beats(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Beats of the images ``x``, and their ``last`` flags.

    ``x`` has integers of shape (N, C, H, W); the beats have shape (N*H*W*ceil(C/n), n) and the type
    of ``x``, the flags are booleans, one a beat.
    """
    x = _integers(x, "Images")
    if x.ndim != 4:
        raise ValueError(f"Images must have four dimensions (N, C, H, W), not {x.shape}")
    _check_positive("Channels per beat", n)
    images, channels, height, width = x.shape
    groups = -(-channels // n)
    padded = np.zeros((images, height, width, groups * n), x.dtype)
    padded[..., :channels] = x.transpose(0, 2, 3, 1)
    beats = padded.reshape(-1, n)
    return beats, last_flags(images, height * width * groups)


def from_beats(beats: np.ndarray, channels: int, height: int, width: int) -> np.ndarray:
    """Images of shape (N, ``channels``, ``height``, ``width``) that ``beats`` of shape (B, n)
    carry.

    Raises :exc:`ValueError` if the beats are not whole images, or if padding channels are not zero.
    """
    beats = _integers(beats, "Beats")
    if beats.ndim != 2:
        raise ValueError(f"Beats must have two dimensions (B, n), not {beats.shape}")
    n = beats.shape[1]
    groups = -(-channels // n)
    image = height * width * groups
    if len(beats) % image:
        raise ValueError(f"Beats must be whole images of {image} beats, not {len(beats)} beats")
    pixels = beats.reshape(-1, height, width, groups * n)
    if np.any(pixels[..., channels:]):
        raise ValueError(
            f"Channels from {channels} on must be zero padding, but some are not"
        )
    return np.ascontiguousarray(pixels[..., :channels].transpose(0, 3, 1, 2))


def last_flags(images: int, beats: int) -> np.ndarray:
    """The ``last`` flags of ``images`` images of ``beats`` beats each, as booleans."""
    flags = np.zeros((images, beats), bool)
    flags[:, -1:] = True
    return flags.reshape(-1)


@dataclass(frozen=True)
class Beat:
    """The payload of a joint: ``n`` channels of ``width`` bits, signed or not, and ``last``."""

    n: int
    width: int
    signed: bool

    def __post_init__(self):
        _check_positive("Channels per beat", self.n)
        _check_positive("Channel width", self.width)
        if self.width > 62:
            raise ValueError(f"Channel width must be at most 62 bits, not {self.width}")

    @classmethod
    def of(cls, shape, n: int) -> "Beat":
        """The beat of ``n`` channels of the Amaranth shape ``shape``."""
        shape = Shape.cast(shape)
        return cls(n, shape.width, shape.signed)

    @property
    def bits(self) -> int:
        """Width of the payload."""
        return self.n * self.width + 1

    @property
    def words(self) -> int:
        """32-bit words that hold a payload in :meth:`pack`."""
        return -(-self.bits // 32)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest value of a channel."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1

    def pack(self, beats: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Payloads as little-endian words of shape (B, :attr:`words`), from ``beats`` (B, n) and
        ``last`` (B,).

        Raises :exc:`ValueError` if a value does not fit into a channel.
        """
        beats = _integers(beats, "Beats")
        if beats.ndim != 2 or beats.shape[1] != self.n:
            raise ValueError(f"Beats must have shape (B, {self.n}), not {beats.shape}")
        last = np.asarray(last, bool)
        if last.shape != (len(beats),):
            raise ValueError(f"Last flags must have shape ({len(beats)},), not {last.shape}")
        low, high = self.limits
        if beats.size and (beats.min() < low or beats.max() > high):
            raise ValueError(
                f"Beats must be from {low} to {high}, not from {beats.min()} to {beats.max()}"
            )
        words = np.zeros((len(beats), self.words), "<u4")
        for part in self._chunks(len(beats)):
            if self.width in (8, 16, 32):
                octets = beats[part].astype(f"<i{self.width // 8}", casting="unsafe").view(np.uint8)
                count = octets.shape[1]
                words.view(np.uint8)[part, :count] = octets
                words.view(np.uint8)[part, count] = last[part]
            else:
                bits = np.zeros((len(beats[part]), self.words * 32), np.uint8)
                data = bits[:, : self.n * self.width].reshape(-1, self.n, self.width)
                for k in range(self.width):
                    data[:, :, k] = (beats[part] >> k) & 1
                bits[:, : self.n * self.width] = data.reshape(len(bits), -1)
                bits[:, self.bits - 1] = last[part]
                words[part] = np.packbits(bits, axis=1, bitorder="little").view("<u4")
        return words

    def unpack(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of :meth:`pack`: ``beats`` (B, n) as int64, ``last`` (B,) as booleans."""
        words = np.ascontiguousarray(words, "<u4").reshape(-1, self.words)
        beats = np.zeros((len(words), self.n), np.int64)
        last = np.zeros(len(words), bool)
        octets = words.view(np.uint8)
        for part in self._chunks(len(words)):
            if self.width in (8, 16, 32):
                count = self.n * self.width // 8
                kind = f"<{'i' if self.signed else 'u'}{self.width // 8}"
                beats[part] = np.ascontiguousarray(octets[part, :count]).view(kind)
                last[part] = octets[part, count] & 1
            else:
                bits = np.unpackbits(octets[part], axis=1, bitorder="little")
                data = bits[:, : self.n * self.width].reshape(-1, self.n, self.width)
                for k in range(self.width):
                    sign = self.signed and k == self.width - 1
                    beats[part] += data[:, :, k].astype(np.int64) * (-(1 << k) if sign else 1 << k)
                last[part] = bits[:, self.bits - 1]
        return beats, last

    def _chunks(self, count: int):
        step = max(1, CHUNK_BITS // self.bits)
        return [slice(start, start + step) for start in range(0, count, step)]


def _integers(x, subject: str) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"{subject} must be integers, not {x.dtype}")
    return x


def _check_positive(subject: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{subject} must be an integer, not {value!r}")
    if value < 1:
        raise ValueError(f"{subject} must be positive, not {value!r}")
