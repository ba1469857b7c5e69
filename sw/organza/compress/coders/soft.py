"""Soft weight sharing: a learned mixture pulls weights together until they are its means (Ullrich et al.)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from organza.codes import Code, Codebook
from organza.codes.kmeans import lloyd
from organza.codes.spec import CodeSpec
from organza.compress.coders.checks import check_choice, check_integer, check_number
from organza.compress.coders.coder import LEAST_SCALE, Coder
from organza.compress.coders.mixture import MixtureLoss, likeliest, merged
from organza.compress.coders.shared_values import rounded_values
from organza.compress.gradients import straight_through

REACH = 0.6  # largest weight in the units of the paper's constants
DEVIATION, LEAST_DEVIATION = 0.25, 1e-3
STARTS = ("kmeans", "range")
# Shape and rate of the Gamma priors of precisions: of the component at 0, of the others.
ZERO_PRIOR, PRIOR = (5e3, 2.0), (250.0, 0.1)
NEARNESS = 1e-10
MEAN_RATE = 0.2


class SoftCoder(Coder):
    """Weights under the prior −τ / n · log p(w), p a mixture of Gaussians (Ullrich et al., ICLR 2017).

    Component 0 has mean 0 and a fixed share: its weights become 0. Priors are those of the authors' tutorial for
    weights divided so that the largest is 0.6. While training, weights are real; in evaluation, and for good after
    `finish`, each is the mean of the component that most likely made it, components that have become the same counted
    together, and further training moves the means. Means are stored as integers of 8 bits.

    Parameters
    ----------
    components : 2…256. start : of the means. "kmeans": centroids of k-means, deviations half of what is usual between
        them; "range": the authors', equal steps over the weights' range and deviations of 0.25, with which nearly all
        weights of a generator become 0.
    zero_share : of component 0, in (0, 1); the authors have 0.99. tau : weight of the prior over the number of weights;
        the authors have 0.003 over the number of training images. rate : how much faster log precisions and shares move
        than weights, 6 for the authors, who train for many more steps; means move at a fifth of the weights' rate.
    """

    kind = "soft"
    granularities = ("tensor",)
    unit: Tensor
    finished: Tensor
    index: Tensor  # component of every weight after `finish`

    def __init__(
        self, shape: tuple[int, int, int, int], groups: int, *, components: int = 16, start: str = "kmeans",
        zero_share: float = 0.5, tau: float = 0.3, rate: float = 60.0,
    ) -> None:  # fmt: skip
        super().__init__(shape, groups)
        count = check_integer("soft components", components, 2, 256)
        self.start = check_choice("soft start", start, STARTS)
        self.zero_share = check_number("soft zero_share", zero_share, 1e-6, 1 - 1e-6)
        self.tau = check_number("soft tau", tau, 0, 1e6)
        self.rate = check_number("soft rate", rate, 1e-3, 1e3)
        # Parameters over their rates, because there is one rate for everything that is trained.
        self.slow_means = nn.Parameter(torch.zeros(count - 1))
        self.slow_precisions = nn.Parameter(torch.zeros(count))
        self.slow_mix = nn.Parameter(torch.zeros(count - 1))
        self.register_buffer("unit", torch.ones(1))
        self.register_buffer("finished", torch.zeros(1, dtype=torch.bool))
        self.register_buffer("index", torch.zeros(self.shape, dtype=torch.uint8))

    def options(self) -> dict[str, Any]:
        return {
            "components": len(self.slow_precisions), "start": self.start, "zero_share": self.zero_share,
            "tau": self.tau, "rate": self.rate,
        }  # fmt: skip

    def spec(self) -> CodeSpec:
        return CodeSpec("codebook", {"centroids": len(self.slow_precisions)})

    @torch.no_grad()
    def refit(self, weight: Tensor | None, mask: Tensor | None) -> None:
        """Lay out the mixture, once."""
        if weight is None or self.slow_means.any():
            return
        peak, others = weight.abs().max().clamp_min(LEAST_SCALE), len(self.slow_means)
        self.unit.copy_(peak / REACH)
        means, deviation = torch.linspace(-1, 1, others) * peak, DEVIATION
        if self.start == "kmeans":
            found = lloyd((weight if mask is None else weight[mask]).double().numpy().reshape(-1), others + 1)
            deviation = max(float(np.median(np.diff(found))) / 2 / float(self.unit), LEAST_DEVIATION)
            means = torch.from_numpy(np.delete(found, np.abs(found).argmin())).float()
        self.slow_means.copy_(means / MEAN_RATE)
        self.slow_precisions.fill_(-2 * np.log(deviation) / self.rate)

    def mixture(self) -> tuple[Tensor, Tensor, Tensor]:
        """Real means, log precisions for weights over `unit`, and log shares of the components, component 0 first."""
        means = torch.cat([self.slow_means.new_zeros(1), MEAN_RATE * self.slow_means])
        others = torch.log_softmax(self.rate * self.slow_mix, 0) + np.log1p(-self.zero_share)
        log_mix = torch.cat([others.new_full((1,), float(np.log(self.zero_share))), others])
        return means, self.rate * self.slow_precisions, log_mix

    def penalty(self, weight: Tensor | None, mask: Tensor | None) -> Tensor | None:
        if weight is None or self.finished:
            return None
        w = (weight if mask is None else weight[mask]).reshape(-1)
        means, log_precisions, log_mix = self.mixture()
        loss = MixtureLoss.apply(w / self.unit, means / self.unit, log_precisions, log_mix)
        for part, (alpha, beta) in ((log_precisions[:1], ZERO_PRIOR), (log_precisions[1:], PRIOR)):
            loss = loss + ((1 - alpha) * part + beta * part.exp()).sum()
        return self.tau / max(len(w), 1) * loss

    @torch.no_grad()
    def finish(self, weight: Tensor | None, mask: Tensor | None) -> None:
        if weight is None or self.finished:
            return
        means, index = self._assigned(weight, mask)
        self.slow_means.copy_(means[1:] / MEAN_RATE)
        self.index.copy_(index)
        self.finished.fill_(True)

    @torch.no_grad()
    def _assigned(self, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means (components,), and of every weight the component, the first of those that are the same."""
        means, log_precisions, log_mix = (part.clone() for part in self.mixture())
        for first, *others in merged(means / self.unit, log_precisions, NEARNESS):
            group = torch.tensor([first, *others])
            share = log_mix[group].softmax(0)
            if first:
                means[first] = (share * means[group]).sum()
            log_precisions[first] = (share * log_precisions[group].exp()).sum().log()
            log_mix[first] = log_mix[group].logsumexp(0)
            log_mix[others] = -torch.inf
        index = likeliest(weight.reshape(-1) / self.unit, means / self.unit, log_precisions, log_mix)
        index = index.to(torch.uint8).reshape(self.shape)
        return means, index if mask is None else index * mask

    def forward(self, weight: Tensor | None, mask: Tensor | None) -> Tensor:
        assert weight is not None
        if self.training and not self.finished:
            return weight
        table, index = (self.mixture()[0], self.index) if self.finished else self._assigned(weight, mask)
        values, step = rounded_values(table)
        place = index.int().reshape(-1)
        made = values.index_select(0, place) * step
        return straight_through(made, table.index_select(0, place)).reshape(self.shape)

    @torch.no_grad()
    def code(self, weight: Tensor | None, mask: Tensor | None) -> tuple[Code, np.ndarray]:
        assert weight is not None
        table, index = (self.mixture()[0], self.index) if self.finished else self._assigned(weight, mask)
        values, step = rounded_values(table)
        return Codebook.of(values.long().numpy()[index.numpy()]), step.double().numpy()
