"""mPA, IoU, AUROC and equality against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, recall_score, roc_auc_score

from organza.agreement import auroc, equal, iou, mpa_fcn, mpa_survey


@given(st.integers(0, 1000), st.integers(2, 6))
def test_segmentations_against_scikit_learn(seed, classes):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, rng.integers(1, classes + 1), (3, 5, 5))
    predicted = np.where(rng.random(target.shape) < 0.6, target, rng.integers(0, classes, target.shape))
    seen, either = np.unique(target), np.unique([*target.ravel(), *predicted.ravel()])
    recall = recall_score(target.ravel(), predicted.ravel(), labels=seen, average="macro")
    assert mpa_fcn(predicted, target, classes) == pytest.approx(recall)
    jaccard = jaccard_score(target.ravel(), predicted.ravel(), labels=either, average="macro")
    assert iou(predicted, target, classes) == pytest.approx(jaccard)


def test_equal_segmentations_agree_wholly():
    target = np.array([[0, 1], [1, 3]])
    assert mpa_fcn(target, target, 5) == 1 and iou(target, target, 5) == 1
    assert iou(np.array([0, 0]), np.array([1, 1]), 2) == 0


def test_mean_difference_of_images():
    a = np.array([[0, 255], [51, 0]], np.uint8)
    assert mpa_survey(a, a, 255) == 1
    assert mpa_survey(a, np.zeros_like(a), 255) == pytest.approx(1 - (255 + 51) / 4 / 255)
    assert mpa_survey(np.zeros(3), np.ones(3)) == 0


@given(st.integers(0, 1000))
def test_auroc_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    anomalous = np.append(rng.random(20) < 0.4, [True, False])
    scores = np.round(rng.normal(size=22) * 3 + 2 * anomalous, 1) * 1e4  # with ties, far from [0, 1]
    assert auroc(scores, anomalous) == pytest.approx(roc_auc_score(anomalous, scores))


def test_two_deviations():
    assert equal([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])  # two apart, deviation 1
    assert not equal([1.0, 2.0, 3.0], [3.1, 4.1, 5.1])
    assert equal([1.0, 1.0], [1.0, 1.0]) and not equal([1.0, 1.0], [1.1, 1.1])
    assert equal([0.0, 0.0, 0.0], [1.5, 0.0, 3.0])  # deviations of 0 and 1.5, pooled 1.06


@pytest.mark.parametrize("call, error, message", [
    (lambda: iou(np.ones(3), np.ones(3, int), 2), TypeError, "predicted must be a numpy array of integers"),
    (lambda: iou(np.ones(3, int), np.ones(2, int), 2), ValueError, r"same shape and values, got \(3,\) and \(2,\)"),
    (lambda: mpa_fcn(np.ones(0, int), np.ones(0, int), 2), ValueError, "same shape and values"),
    (lambda: mpa_fcn(np.ones(3, int) * 2, np.ones(3, int), 2), ValueError, "predicted must hold classes from 0 to 1, found 2 to 2"),
    (lambda: iou(np.ones(3, int), np.ones(3, int), 1), ValueError, "classes must be in"),
    (lambda: mpa_survey(np.ones(3) * 2, np.ones(3)), ValueError, r"in \[0, 1.0\], found \[1.0, 2.0\]"),
    (lambda: mpa_survey([1], np.ones(1)), TypeError, "a must be a numpy array of numbers"),
    (lambda: mpa_survey(np.ones(3), np.ones(2)), ValueError, "same shape and values"),
    (lambda: auroc(np.ones(3), np.ones(3, bool)), ValueError, "anomalous must be booleans of both kinds"),
    (lambda: equal([1.0], [1.0, 2.0]), ValueError, "at least two seeds"),
])  # fmt: skip
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
