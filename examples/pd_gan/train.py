"""PD-GAN's three parts: relevance by matrix factorisation, a diversity kernel, and a discriminator that judges lists.

After Wu et al. (PD-GAN: Adversarial Learning for Personalized Diversity-Promoting Recommendation, IJCAI 2019): the generator is
a DPP with L_u = Diag(r_u)·V·Vᵀ·Diag(r_u), r_u = σ(P_u·Qᵀ + b), and learns by policy gradient from a discriminator of lists. Their
code is not public; what the paper leaves open is chosen here as simply as possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.pd_gan.data import Ratings, diverse_lists
from examples.pd_gan.dpp import sample_lists

LENGTH = 5


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """features : of users and items. steps : of relevance, kernel and adversarial training. batch : users a step."""

    features: int = 8
    relevance_steps: int = 400
    kernel_steps: int = 200
    adversarial_steps: int = 200
    batch: int = 64


class Recommender(nn.Module):
    """The generator: P (users, features), Q (items, features), b (items,), V (items, users).

    V begins as who rated what how, centred and of length 1, so the kernel is that of item similarity; its rank is as high as
    there are users or items.
    """

    def __init__(self, ratings: Ratings, sizes: Sizes, seed: int) -> None:
        super().__init__()
        users, items = ratings.stars.shape
        draw = torch.Generator().manual_seed(seed)
        self.p = nn.Parameter(0.1 * torch.randn(users, sizes.features, generator=draw))
        self.q = nn.Parameter(0.1 * torch.randn(items, sizes.features, generator=draw))
        self.b = nn.Parameter(torch.zeros(items))
        known = np.nan_to_num(ratings.stars - np.nanmean(ratings.stars, 1, keepdims=True))
        profile = torch.from_numpy(known.T).float()
        self.v = nn.Parameter(F.normalize(profile + 1e-3, dim=1))

    def relevance(self, users: Tensor) -> Tensor:
        """r_u of every item, in (0, 1): (users, items)."""
        return torch.sigmoid(self.p[users] @ self.q.T + self.b)


class Judge(nn.Module):
    """The discriminator: a score of a list for a user, from both features and how far the list's items are apart."""

    def __init__(self, features: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(3 * features + 1, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))

    def forward(self, user: Tensor, items: Tensor) -> Tensor:
        """user (N, features), items (N, length, features) → (N,)"""
        spread = items.var(1)
        means = items.mean(1)
        fit = (items * user[:, None]).sum(2).mean(1, keepdim=True)
        return self.net(torch.cat([user * means, means, spread, fit], 1))[:, 0]


def train(ratings: Ratings, sizes: Sizes | None = None, seed: int = 0) -> tuple[Recommender, dict[str, float]]:
    """The trained generator, and what its parts say of themselves before and after adversarial training."""
    sizes = sizes or Sizes()
    model = Recommender(ratings, sizes, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    lists = diverse_lists(ratings, LENGTH, per_user=4, seed=seed)
    notes = {"relevance_loss": _fit_relevance(model, ratings, sizes)}
    notes["kernel_gain"] = _fit_kernel(model, lists, ratings, sizes, draw)
    notes["judge_before"], notes["judge_after"] = _adversarial(model, lists, sizes, draw, seed)
    return model, notes


def _fit_relevance(model: Recommender, ratings: Ratings, sizes: Sizes) -> float:
    """Logistic matrix factorisation: liked or not, where a rating is known."""
    known = torch.from_numpy(np.isfinite(ratings.stars))
    liked = torch.from_numpy(ratings.liked).float()
    optimiser = torch.optim.Adam([model.p, model.q, model.b], lr=0.05, weight_decay=1e-4)
    everyone = torch.arange(len(liked))
    loss = torch.zeros(())
    for _ in range(sizes.relevance_steps):
        loss = F.binary_cross_entropy(model.relevance(everyone)[known], liked[known])
        loss = loss + 0.003 * (model.p.square().mean() + model.q.square().mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


def _log_det(factor: Tensor, lists: Tensor) -> Tensor:
    """log det of the kernel of every list: (N,)"""
    rows = factor[lists]
    return torch.logdet(rows @ rows.transpose(1, 2) + 1e-4 * torch.eye(lists.shape[1]))


def _fit_kernel(
    model: Recommender, lists: dict[int, np.ndarray], ratings: Ratings, sizes: Sizes, draw: torch.Generator
) -> float:
    """Diverse lists get a larger determinant than lists of one genre; how much larger, in the end."""
    alike = [np.flatnonzero(member) for member in ratings.genres.T if member.sum() >= LENGTH]
    good = torch.from_numpy(np.concatenate(list(lists.values())))
    optimiser = torch.optim.Adam([model.v], lr=0.002)
    gain = torch.zeros(())
    for _ in range(sizes.kernel_steps):
        chosen = good[torch.randint(len(good), (sizes.batch,), generator=draw)]
        genre = torch.randint(len(alike), (sizes.batch,), generator=draw)
        bad = torch.stack([
            torch.from_numpy(alike[int(g)])[torch.randperm(len(alike[int(g)]), generator=draw)[:LENGTH]] for g in genre
        ])  # fmt: skip
        factor = F.normalize(model.v, dim=1)
        gain = _log_det(factor, chosen).mean() - _log_det(factor, bad).mean()
        optimiser.zero_grad()
        (-gain).backward()
        optimiser.step()
    with torch.no_grad():
        model.v.copy_(F.normalize(model.v, dim=1))
    return gain.item()


def _adversarial(
    model: Recommender, lists: dict[int, np.ndarray], sizes: Sizes, draw: torch.Generator, seed: int
) -> tuple[float, float]:
    """REINFORCE (Williams, 1992) with the discriminator's verdict as reward; its mean at the beginning and at the end."""
    judge = Judge(sizes.features, seed)
    learn = torch.optim.Adam(judge.parameters(), lr=2e-3)
    optimiser = torch.optim.Adam([model.p, model.q, model.b, model.v], lr=5e-4)
    who = torch.tensor(sorted(lists))
    rewards: list[float] = []
    for _ in range(sizes.adversarial_steps):
        users = who[torch.randint(len(who), (sizes.batch,), generator=draw)]
        pick = torch.randint(4, (sizes.batch,), generator=draw).tolist()
        real = torch.from_numpy(np.stack([lists[user][one] for user, one in zip(users.tolist(), pick, strict=True)]))
        made, log_p = sample_lists(model.relevance(users), model.v, LENGTH, draw)
        features, people = model.q.detach(), model.p.detach()[users]
        loss = F.softplus(-judge(people, features[real])).mean() + F.softplus(judge(people, features[made])).mean()
        learn.zero_grad()
        loss.backward()
        learn.step()
        with torch.no_grad():
            reward = F.logsigmoid(judge(people, features[made]))
        rewards.append(reward.mean().item())
        policy = -((reward - reward.mean()) * log_p).mean()
        optimiser.zero_grad()
        policy.backward()
        optimiser.step()
    tenth = max(1, len(rewards) // 10)
    return float(np.mean(rewards[:tenth])), float(np.mean(rewards[-tenth:]))
