"""How few bits will do: QGAN's search for discriminator and generator, QMGAN's sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

BITS = (1, 2, 3, 4, 5, 6, 7, 8)
SWEEP = (1, 2, 4, 6, 8, 16, 32)

# Called with bits of generator and discriminator, None for floats; a quality, the smaller the better.
Evaluate = Callable[[int | None, int | None], float]


@dataclass(frozen=True)
class Trial:
    """One evaluation: bits of generator and discriminator, None for floats, and the quality, the smaller the better."""

    generator: int | None
    discriminator: int | None
    quality: float


@dataclass(frozen=True)
class PrecisionSearch:
    """Result of `search_precision`: the bits (None: floats, as no bits were good enough), all trials in order."""

    generator: int | None
    discriminator: int | None
    trials: tuple[Trial, ...]


def search_precision(evaluate: Evaluate, tolerance: float, bits: Sequence[int] = BITS) -> PrecisionSearch:
    """QGAN's search for two precisions (Wang et al., arXiv:1901.08263; best reading: discriminators need more).

    First the fewest bits of the discriminator with a float generator, then the fewest of the generator with that
    discriminator; few enough is what makes the quality (FID, for example) at most 1 + `tolerance` times that of floats.

    Raises ValueError for bits that do not rise, or a tolerance below 0.
    """
    if list(bits) != sorted(set(bits)) or not bits:
        raise ValueError(f"bits must be rising numbers, not {list(bits)}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    trials = [Trial(None, None, evaluate(None, None))]
    limit = trials[0].quality * (1 + tolerance)

    def fewest(pairs: Sequence[tuple[int | None, int | None]]) -> int | None:
        for number, pair in enumerate(pairs):
            trials.append(Trial(*pair, evaluate(*pair)))
            if trials[-1].quality <= limit:
                return bits[number]
        return None

    discriminator = fewest([(None, count) for count in bits])
    generator = fewest([(count, discriminator) for count in bits])
    return PrecisionSearch(generator, discriminator, tuple(trials))


def knee(curve: dict[int, float], loss: float) -> int:
    """The fewest bits of a `curve` of PSNR, or what else is good when large, that lose at most `loss` against the most.

    For QMGAN's sweep over `SWEEP` (Deng et al., 2019). Raises ValueError for an empty curve.
    """
    if not curve:
        raise ValueError("curve must have at least one number of bits")
    best = curve[max(curve)]
    return min(bits for bits, quality in curve.items() if quality >= best - loss)
