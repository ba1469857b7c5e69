"""How good images are: PSNR against a reference; FID, KID and IS against a data set.

FID, KID and IS are computed by torchmetrics on the features and logits of an Organza classifier,
and reports name the network (`FID-fashion-cnn`): the numbers compare generators scored by the
same network on the same data, and nothing else. They are not comparable with Inception's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

# Their modules, not torchmetrics.image: that offers them only where torch-fidelity is installed,
# which is needed for Inception's weights alone.
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from organza.classifier import Classifier
from organza.models import check_int
from organza.sampling import draw_latents

DEFAULT_COUNT = 10_000
_BATCH = 500
_KID_SUBSETS = 50
_KID_SIZE = 1000
_IS_SPLITS = 10

Producer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scores:
    """Scores of `count` images by the classifier `net`.

    fid: Frechet distance of the features, at least 0, lower is better.
    kid, kid_std: kernel distance (unbiased, may be slightly negative) over random subsets.
    inception_score, inception_score_std: 1 to the number of classes, higher is better.
    """

    net: str
    count: int
    fid: float
    kid: float
    kid_std: float
    inception_score: float
    inception_score_std: float

    def to_dict(self) -> dict[str, float | int]:
        """Return the scores under the names that reports use, the network's among them."""
        return {
            "count": self.count,
            f"FID-{self.net}": self.fid,
            f"KID-{self.net}": self.kid,
            f"KID-{self.net}-std": self.kid_std,
            f"IS-{self.net}": self.inception_score,
            f"IS-{self.net}-std": self.inception_score_std,
        }


class _Given(nn.Module):
    """A feature module that passes on features already computed.

    The three metrics would each run the network over every image; computed once, they share.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


class Scorer:
    """Scores sets of images against one set of real ones, whose features are kept."""

    def __init__(self, classifier: Classifier, real: np.ndarray | Iterable[np.ndarray]) -> None:
        """`real`: images as `score` takes them; at least two.

        Raises TypeError for a classifier or images of the wrong kind, ValueError for their shape.
        """
        if not isinstance(classifier, Classifier):
            raise TypeError(f"classifier must be a Classifier, got {type(classifier).__name__}")
        self._classifier = classifier.eval()
        self._real, _ = self._extract(real, "real images")

    @property
    def net(self) -> str:
        """The classifier's name in reports."""
        return self._classifier.config.name

    def score(self, images: np.ndarray | Iterable[np.ndarray], *, seed: int = 0) -> Scores:
        """Score images: one array or an iterable of batches, each (n, C, R, R).

        A batch is uint8, or float in [0, 1]. `seed` picks KID's subsets and the order of IS.
        KID's subsets have 1000 images, or as many as the smaller set has.
        """
        fake, logits = self._extract(images, "images")
        given = _Given(fake.shape[1])
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # It warns that features are kept in memory: 10,000 of 64 numbers are 5 MB.
            warnings.filterwarnings("ignore", "Metric `.*` will save all extracted features")
            # One split has no deviation; it is reported as 0 below.
            warnings.filterwarnings("ignore", r"std\(\): degrees of freedom is <= 0")
            torch.manual_seed(seed)
            fid = FrechetInceptionDistance(feature=given)
            kid = KernelInceptionDistance(
                feature=given,
                subsets=_KID_SUBSETS,
                subset_size=min(_KID_SIZE, len(fake), len(self._real)),
            )
            inception = InceptionScore(feature=given, splits=min(_IS_SPLITS, len(logits) // 2))
            for metric in (fid, kid):
                metric.update(self._real, real=True)
                metric.update(fake, real=False)
            inception.update(logits)
            kid_mean, kid_std = kid.compute()
            is_mean, is_std = inception.compute()
            distance = float(fid.compute())
        return Scores(
            net=self.net,
            count=len(fake),
            # Rounding may leave a distance of equal sets just below zero.
            fid=max(distance, 0.0),
            kid=float(kid_mean),
            kid_std=float(kid_std),
            inception_score=float(is_mean),
            inception_score_std=float(is_std) if inception.splits > 1 else 0.0,
        )

    def score_model(
        self,
        produce: Producer,
        *,
        latent: int,
        count: int = DEFAULT_COUNT,
        seed: int = 0,
        batch: int = 250,
    ) -> Scores:
        """Score what `produce` makes of `count` latents, float32 (n, latent), drawn from `seed`.

        `produce` returns images as `score` takes them: any model can be scored, float or integer.
        """
        check_int("latent", latent, 1, 1 << 16)
        check_int("count", count, 2, 1 << 24)
        check_int("seed", seed, 0, (1 << 31) - 1)
        check_int("batch", batch, 1, 1 << 16)
        latents = draw_latents(count, latent, seed).numpy()
        starts = range(0, count, batch)
        return self.score((produce(latents[s : s + batch]) for s in starts), seed=seed)

    @torch.inference_mode()
    def _extract(
        self, images: np.ndarray | Iterable[np.ndarray], subject: str
    ) -> tuple[Tensor, Tensor]:
        """Features (N, F) and logits (N, classes), both float64."""
        features, logits = [], []
        for batch in _batches(images, subject):
            part = self._classifier.features(batch)
            features.append(part.double())
            logits.append(self._classifier.head(part).double())
        if sum(map(len, features)) < 2:
            raise ValueError(f"{subject} must be at least 2, got {sum(map(len, features))}")
        return torch.cat(features), torch.cat(logits)


def psnr(a: np.ndarray, b: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB of two sets of images, from one MSE over all pixels.

    Both are of the same shape, integer or float, in [0, data_range] (255 for uint8). Infinite for
    equal images. One MSE over everything, not a mean of ratios an image: a single exact image
    would make that mean infinite.

    Raises TypeError for anything but arrays of numbers, ValueError for shapes that differ or are
    empty, values out of range and a range that is not positive.
    """
    arrays = []
    if not (isinstance(data_range, int | float) and math.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range must be a positive number, got {data_range!r}")
    for name, array in (("a", a), ("b", b)):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
            raise TypeError(f"{name} must be a numpy array of numbers")
        if array.size == 0:
            raise ValueError(f"{name} must not be empty")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= data_range):
            raise ValueError(f"{name} must be in [0, {data_range}], found [{low}, {high}]")
        arrays.append(array.astype(np.float64))
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same shape, got {a.shape} and {b.shape}")
    mse = float(np.mean(np.square(arrays[0] - arrays[1])))
    return math.inf if mse == 0 else 10 * math.log10(data_range**2 / mse)


def _batches(images: np.ndarray | Iterable[np.ndarray], subject: str) -> Iterator[Tensor]:
    """Yield checked float32 batches in [0, 1]."""
    for array in [images] if isinstance(images, np.ndarray) else images:
        if not isinstance(array, np.ndarray) or (
            array.dtype != np.uint8 and array.dtype.kind != "f"
        ):
            raise TypeError(f"{subject} must be numpy arrays of uint8 or float")
        if array.ndim != 4:
            raise ValueError(f"{subject} must have shape (N, C, H, W), got {array.shape}")
        for start in range(0, len(array), _BATCH):
            part = array[start : start + _BATCH]
            if part.dtype == np.uint8:
                yield torch.from_numpy(part.astype(np.float32)) / 255
                continue
            if not (part.min() >= 0 and part.max() <= 1):
                raise ValueError(
                    f"{subject} of float must be in [0, 1], found [{part.min()}, {part.max()}]"
                )
            yield torch.from_numpy(part.astype(np.float32))
