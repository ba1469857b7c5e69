"""k-means on a line is scikit-learn's, from the same start."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from organza.codes.kmeans import lloyd


@given(st.integers(2, 20), st.integers(0, 1000), st.booleans())
def test_centroids_are_those_of_scikit_learn(count, seed, heavy):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, 300) if heavy else rng.normal(size=300)
    start = np.linspace(values.min(), values.max(), count)
    made = lloyd(values, count)
    assert (np.diff(made) >= 0).all()
    nearest = np.abs(values[:, None] - made).argmin(1)
    if len(np.unique(nearest)) < count:
        return  # scikit-learn moves empty clusters elsewhere; a cluster that was never empty at the end may have been before
    means = KMeans(count, init=start[:, None], n_init=1, tol=0, algorithm="lloyd").fit(values[:, None])
    theirs, ours = means.inertia_, ((values - made[nearest]) ** 2).sum()
    assert all(values[nearest == k].mean() == pytest.approx(made[k], rel=1e-9, abs=1e-12) for k in range(count))
    if not _was_empty(values, start):
        assert ours == pytest.approx(theirs, rel=1e-9)


def _was_empty(values, centroids):
    for _ in range(300):
        nearest = np.abs(values[:, None] - centroids).argmin(1)
        if len(np.unique(nearest)) < len(centroids):
            return True
        moved = np.array([values[nearest == k].mean() for k in range(len(centroids))])
        if np.allclose(moved, centroids, rtol=1e-14):
            return False
        centroids = moved
    return False


def test_extremes():
    assert lloyd(np.full(5, 2.0), 3).tolist() == [2, 2, 2]
    assert lloyd(np.array([]), 3).tolist() == [0, 0, 0]
    assert lloyd(np.array([1.0]), 4).tolist() == [1, 1, 1, 1]
    assert lloyd(np.array([0, 0, 10.0, 12]), 2).tolist() == [0, 11]
    assert lloyd(np.array([0, 1, 100.0]), 4).tolist() == pytest.approx([0.5, 100 / 3, 200 / 3, 100])
