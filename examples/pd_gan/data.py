"""Ratings that look like MovieLens: tastes by genre, popular and unpopular items, many unknown ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ratings:
    """What users thought of items.

    stars : float64 (users, items), 1…5, NaN where unknown. genres : bool (items, genres).
    """

    stars: np.ndarray
    genres: np.ndarray

    @property
    def liked(self) -> np.ndarray:
        """bool (users, items): rated with at least 4 stars."""
        return np.nan_to_num(self.stars) >= 4


def make_ratings(users: int, items: int, genres: int, *, seed: int = 0, share: float = 0.3) -> Ratings:
    """Synthetic ratings, a `share` of them known.

    An item has one to three genres and a quality, a user likes some genres more than others; popular items are rated more often.
    """
    rng = np.random.default_rng(seed)
    member = np.zeros((items, genres), bool)
    for row in member:
        row[rng.choice(genres, rng.integers(1, 4), replace=False)] = True
    taste = rng.dirichlet(np.full(genres, 0.4), users) * genres
    fit = taste @ member.T / member.sum(1)
    quality = rng.normal(0, 0.4, items)
    score = 3.0 + 1.2 * np.log(fit + 0.2) + quality + rng.normal(0, 0.5, (users, items))
    stars = np.clip(np.round(score), 1, 5)
    popular = np.exp(0.8 * quality)
    known = rng.random((users, items)) < share * popular / popular.mean()
    return Ratings(np.where(known, stars, np.nan), member)


def diverse_lists(ratings: Ratings, length: int, *, per_user: int, seed: int = 0) -> dict[int, np.ndarray]:
    """Lists (per_user, length) of liked items for every user who likes enough, each with as many genres as possible.

    They are what a good recommender should have shown: relevant, and not all of a kind.
    """
    rng = np.random.default_rng(seed)
    made: dict[int, np.ndarray] = {}
    for user, liked in enumerate(ratings.liked):
        pool = np.flatnonzero(liked)
        if len(pool) < length:
            continue
        lists = []
        for _ in range(per_user):
            chosen, seen = [], np.zeros(ratings.genres.shape[1], bool)
            for _ in range(length):
                left = np.setdiff1d(pool, chosen)
                new = (ratings.genres[left] & ~seen).sum(1) + rng.random(len(left))
                chosen.append(int(left[new.argmax()]))
                seen |= ratings.genres[chosen[-1]]
            lists.append(chosen)
        made[user] = np.array(lists)
    return made
