"""How far two sets of images, segmentations or scores agree: the survey's mPA and IoU, AUROC, and when two results are equal.

Images are scored by `organza.metrics`; here are the measures that compare pixel with pixel, computed by torchmetrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy, multiclass_jaccard_index
from torchmetrics.functional.regression import mean_absolute_error

from organza.models import check_int

# Differences below so many deviations are none.
EQUAL_DEVIATIONS = 2.0


def mpa_fcn(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """Mean over classes of the share of their pixels that `predicted` has right, in [0, 1], as FCN-scores are (Isola et al., 2017).

    predicted, target : integer classes of any one shape; what a segmentation network sees in generated images, and what they
    were made of. Classes without a pixel in `target` do not count. Raises as `iou`.
    """
    got, wanted = _classes(predicted, target, classes)
    share = multiclass_accuracy(got, wanted, classes, average="none")
    present = torch.bincount(wanted, minlength=classes) > 0
    return float(share[present].mean())


def iou(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """Mean over classes of intersection over union, in [0, 1]; classes without any pixel do not count.

    Raises TypeError for anything but integer arrays, ValueError for shapes that differ or are empty, and classes out of range.
    """
    got, wanted = _classes(predicted, target, classes)
    share = multiclass_jaccard_index(got, wanted, classes, average="none")
    present = torch.bincount(torch.cat([got, wanted]), minlength=classes) > 0
    return float(share[present].mean())


def mpa_survey(a: np.ndarray, b: np.ndarray, data_range: float = 1.0) -> float:
    """1 − mean absolute difference over the range, in [0, 1]: mPA as Tantawy, Zahran and Wassal (2021) describe it.

    Images of the same shape, integer or float, in [0, data_range]. Raises TypeError / ValueError for others.
    """
    for name, array in (("a", a), ("b", b)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
            raise TypeError(f"{name} must be a numpy array of numbers")
    if a.shape != b.shape or not a.size:
        raise ValueError(f"a and b must have the same shape and values, got {a.shape} and {b.shape}")
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if not (low >= 0 and high <= data_range):
        raise ValueError(f"a and b must be in [0, {data_range}], found [{low}, {high}]")
    left, right = (torch.from_numpy(array.astype(np.float64)).flatten() for array in (a, b))
    return 1 - float(mean_absolute_error(left, right)) / data_range


def auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Area under the receiver operating characteristic of anomaly `scores` (N,), raw: only their order counts.

    Raises ValueError unless `anomalous` (N,) bool has both kinds.
    """
    if scores.shape != anomalous.shape or anomalous.dtype != bool or anomalous.all() or not anomalous.any():
        raise ValueError("anomalous must be booleans of both kinds, one for each score")
    # Ranks, so that no score is squeezed: torchmetrics takes values outside [0, 1] for logits.
    ranks = np.unique(scores, return_inverse=True)[1] / len(scores)
    return float(binary_auroc(torch.from_numpy(ranks), torch.from_numpy(anomalous.astype(np.int64))))


def equal(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the means of two results over seeds differ by less than two deviations, pooled over both.

    Raises ValueError for fewer than two values, of which there is no deviation.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"results must have at least two seeds to be compared, not {len(a)} and {len(b)}")
    squares = sum(float(((np.asarray(values) - np.mean(values)) ** 2).sum()) for values in (a, b))
    pooled = math.sqrt(squares / (len(a) + len(b) - 2))
    return abs(float(np.mean(a)) - float(np.mean(b))) <= EQUAL_DEVIATIONS * pooled


def _classes(predicted: np.ndarray, target: np.ndarray, classes: int) -> tuple[Tensor, Tensor]:
    check_int("classes", classes, 2, 1 << 16)
    for name, array in (("predicted", predicted), ("target", target)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "ui":
            raise TypeError(f"{name} must be a numpy array of integers")
    if predicted.shape != target.shape or not target.size:
        raise ValueError(f"predicted and target must have the same shape and values, got {predicted.shape} and {target.shape}")
    for name, array in (("predicted", predicted), ("target", target)):
        if array.min() < 0 or array.max() >= classes:
            raise ValueError(f"{name} must hold classes from 0 to {classes - 1}, found {array.min()} to {array.max()}")
    return torch.from_numpy(predicted.astype(np.int64)).flatten(), torch.from_numpy(target.astype(np.int64)).flatten()
