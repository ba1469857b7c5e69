"""Scores against values worked out independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from organza.classifier import Classifier, ClassifierConfig
from organza.metrics import Scorer, psnr

RNG = np.random.default_rng(11)
REAL = RNG.integers(0, 256, (60, 1, 32, 32), dtype=np.uint8)
FAKE = (RNG.integers(0, 256, (50, 1, 32, 32)) // 2).astype(np.uint8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return Classifier(ClassifierConfig(name="tiny", features=8)).eval()


@pytest.fixture(scope="module")
def scorer(classifier: Classifier) -> Scorer:
    return Scorer(classifier, REAL)


def features(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return classifier.features(torch.from_numpy(images).float() / 255).double().numpy()


def root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


def test_fid_by_symmetric_eigenvalues(classifier: Classifier, scorer: Scorer) -> None:
    a, b = features(classifier, REAL), features(classifier, FAKE)
    sa, sb = np.cov(a.T), np.cov(b.T)
    # tr((Sa Sb)^(1/2)) = tr((Sa^(1/2) Sb Sa^(1/2))^(1/2)), which is symmetric.
    cross = np.trace(root(root(sa) @ sb @ root(sa)))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(sa) + np.trace(sb) - 2 * cross
    assert scorer.score(FAKE).fid == pytest.approx(expected, rel=1e-5)


def test_kid_by_its_definition(classifier: Classifier, scorer: Scorer) -> None:
    # Subsets are as large as the smaller set; against 50 real images there is but one.
    real = REAL[:50]
    a, b = features(classifier, real), features(classifier, FAKE)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    n = len(a)
    within = sum((kernel(x, x).sum() - np.trace(kernel(x, x))) / (n * (n - 1)) for x in (a, b))
    scores = Scorer(classifier, real).score(FAKE)
    assert scores.kid == pytest.approx(within - 2 * kernel(a, b).mean(), rel=1e-5)
    assert scores.kid_std == pytest.approx(0, abs=1e-6)


def test_inception_score_by_its_definition(classifier: Classifier, scorer: Scorer) -> None:
    with torch.no_grad():
        logits = classifier(torch.from_numpy(FAKE[:3]).float() / 255).double()
    p = torch.softmax(logits, 1).numpy()
    expected = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    scores = scorer.score(FAKE[:3])  # Too few images for more than one split.
    assert scores.inception_score == pytest.approx(expected, rel=1e-6)
    assert scores.inception_score_std == 0


def test_equal_sets(scorer: Scorer) -> None:
    scores = scorer.score(REAL)
    assert scores.fid == pytest.approx(0, abs=1e-6)
    assert scores.kid < 1e-6


def test_batches_floats_and_models_score_alike(scorer: Scorer) -> None:
    whole = scorer.score(FAKE, seed=4)
    assert scorer.score([FAKE[:7], FAKE[7:]], seed=4).fid == pytest.approx(whole.fid, rel=1e-4)
    as_float = scorer.score(FAKE.astype(np.float64) / 255, seed=4)
    assert as_float.fid == pytest.approx(whole.fid, rel=1e-4)
    assert scorer.score(FAKE, seed=4) == whole
    seen = []

    def produce(z: np.ndarray) -> np.ndarray:
        seen.append(z)
        return FAKE[: len(z)]

    assert scorer.score_model(produce, latent=3, count=50, batch=50).fid == pytest.approx(whole.fid)
    assert [z.shape for z in seen] == [(50, 3)] and seen[0].dtype == np.float32
    scorer.score_model(produce, latent=3, count=50, batch=20)
    assert np.array_equal(np.concatenate(seen[1:]), seen[0])


def test_reports_name_the_network(scorer: Scorer) -> None:
    report = scorer.score(FAKE).to_dict()
    assert set(report) == {
        "count",
        "FID-tiny",
        "KID-tiny",
        "KID-tiny-std",
        "IS-tiny",
        "IS-tiny-std",
    }
    assert report["count"] == 50


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([[1]], TypeError, "images must be numpy arrays of uint8 or float"),
        (FAKE.astype(np.int32), TypeError, "images must be numpy arrays of uint8 or float"),
        (FAKE[0], ValueError, r"images must have shape \(N, C, H, W\), got \(1, 32, 32\)"),
        (FAKE[:, :, 1:], ValueError, r"images for tiny must have shape .* got \(50, 1, 31, 32\)"),
        (FAKE / 100, ValueError, r"images of float must be in \[0, 1\], found"),
        (np.full((2, 1, 32, 32), np.nan), ValueError, r"must be in \[0, 1\], found \[nan, nan\]"),
        (FAKE[:1], ValueError, "images must be at least 2, got 1"),
        ([], ValueError, "images must be at least 2, got 0"),
    ],
)
def test_images_are_checked(scorer: Scorer, images, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        scorer.score(images)


def test_scorer_arguments(classifier: Classifier, scorer: Scorer) -> None:
    with pytest.raises(TypeError, match="classifier must be a Classifier, got int"):
        Scorer(3, REAL)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="real images must be at least 2, got 1"):
        Scorer(classifier, REAL[:1])
    with pytest.raises(ValueError, match=r"count must be in .*, got 1"):
        scorer.score_model(lambda z: FAKE, latent=3, count=1)


def test_psnr_by_hand() -> None:
    a = np.zeros((2, 1, 2, 2))
    b = a.copy()
    b[0] = 0.1  # Half the pixels are 0.1 off: MSE 0.005. A mean over images would be infinite.
    assert psnr(a, b) == pytest.approx(10 * np.log10(1 / 0.005))
    assert psnr(a, a) == np.inf
    eight = np.array([0, 255], np.uint8)
    assert psnr(eight, eight[::-1], data_range=255) == pytest.approx(0)
    assert psnr(a.astype(np.float32), np.full_like(a, 1)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("a", "b", "limit", "error", "message"),
    [
        ([1], np.zeros(1), 1.0, TypeError, "a must be a numpy array of numbers"),
        (np.zeros(1), np.array(["x"]), 1.0, TypeError, "b must be a numpy array of numbers"),
        (np.zeros(1), np.zeros(2), 1.0, ValueError, r"same shape, got \(1,\) and \(2,\)"),
        (np.zeros(0), np.zeros(0), 1.0, ValueError, "a must not be empty"),
        (np.full(1, 1.5), np.zeros(1), 1.0, ValueError, r"a must be in \[0, 1.0\], found \[1.5"),
        (np.zeros(1), np.full(1, -0.1), 1.0, ValueError, r"b must be in \[0, 1.0\], found \[-0.1"),
        (np.zeros(1), np.full(1, np.nan), 1.0, ValueError, r"b must be in \[0, 1.0\], found \[nan"),
        (np.zeros(1), np.zeros(1), 0, ValueError, "data_range must be a positive number, got 0"),
    ],
)
def test_psnr_arguments(a, b, limit: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        psnr(a, b, limit)
