"""The search finds the fewest bits by definition, and asks no more than it needs."""

import pytest

from organza.compress.precision import SWEEP, Trial, knee, search_precision


def landscape(needed_g, needed_d, asked):
    """A quality that is good enough from these bits on."""

    def evaluate(generator, discriminator):
        asked.append((generator, discriminator))
        short = sum(bits is not None and bits < need for bits, need in ((generator, needed_g), (discriminator, needed_d)))
        return 10.0 + 4 * short

    return evaluate


@pytest.mark.parametrize("needed_g", [1, 3, 8])
@pytest.mark.parametrize("needed_d", [1, 2, 8])
def test_discriminator_first_then_generator(needed_g, needed_d):
    asked = []
    made = search_precision(landscape(needed_g, needed_d, asked), 0.1)
    assert (made.generator, made.discriminator) == (needed_g, needed_d)
    wanted = [(None, None), *((None, d) for d in range(1, needed_d + 1)), *((g, needed_d) for g in range(1, needed_g + 1))]
    assert asked == wanted
    assert [(trial.generator, trial.discriminator) for trial in made.trials] == wanted
    assert made.trials[0] == Trial(None, None, 10.0) and made.trials[-1].quality == 10


def test_floats_where_nothing_is_good_enough():
    asked = []
    made = search_precision(landscape(99, 99, asked), 0.1, (2, 4))
    assert (made.generator, made.discriminator) == (None, None)
    assert asked == [(None, None), (None, 2), (None, 4), (2, None), (4, None)]
    made = search_precision(lambda g, d: 5.0 if g is None else 5.5, 0.1, (4,))
    assert (made.generator, made.discriminator) == (4, 4)


@pytest.mark.parametrize("bits, tolerance, message", [
    ((), 0.1, "^bits must be rising numbers, not "), ((4, 2), 0.1, "^bits must be rising"), ((2, 2), 0.1, "^bits must be rising"),
    ((1,), -0.1, "^tolerance must be at least 0"), ((1,), float("nan"), "^tolerance must be at least 0"),
])  # fmt: skip
def test_wrong_arguments(bits, tolerance, message):
    with pytest.raises(ValueError, match=message):
        search_precision(lambda g, d: 1.0, tolerance, bits)


def test_the_knee_is_where_the_loss_begins():
    curve = dict(zip(SWEEP, (10, 14, 22, 27.6, 28, 28.1, 28), strict=True))
    assert knee(curve, 0.5) == 6 and knee(curve, 0) == 8 and knee(curve, 100) == 1
    with pytest.raises(ValueError, match="^curve must have"):
        knee({}, 1)
