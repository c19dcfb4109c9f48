"""Bradley-Terry ratings on the Elo scale, with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamon_ext.errors import UserError
from metamon_ext.league.games import Game, tally

ELO_PER_NAT = 400 / np.log(10)
"""Elo points in one unit of log odds: P(a beats b) = 1 / (1 + 10^((R_b - R_a) / 400))."""


@dataclass(frozen=True)
class Rating:
    """Elo points with the 95 % interval [low, high], from this many games."""

    player: str
    rating: float
    low: float
    high: float
    games: int


def bradley_terry(
    games: Iterable[Game],
    anchor: str | None = None,
    anchor_rating: float = 1500.0,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Rating]:
    """Ratings of all players at once, best first. Only differences of ratings mean anything:
    `anchor` is set to `anchor_rating`, or, by default, the mean of all players is.

    R = theta * 400 / ln 10, where theta (players,) maximises, with w_ij the points of i against j
    (a tie is half a point each) and sigma the logistic function,

        sum_ij w_ij log sigma(theta_i - theta_j) + sum_i [log sigma(theta_i) + log sigma(-theta_i)]

    First term: Bradley & Terry (1952, Biometrika 39:324). Second: the prior. Each player has also
    won and lost one imaginary game against an average one (theta = 0), that is, theta_i follows a
    standard logistic law (sd 315 Elo). It keeps who has only won, or only lost, at a finite
    rating, and is worth two games, however many were played.

    Intervals are the Bayesian bootstrap over pairs within matchups (Rubin 1981, Ann. Stat. 9:130):
    random Dirichlet weights in the place of counts of redrawn pairs, and Exp(1) on the imaginary
    games. Unlike redrawing, it leaves an interval where every game was won. Simulated leagues of
    three: they cover the truth 87 to 91 % of the time at 10 pairs a player, 92 at 20, 95 at 100.
    The anchor's own interval is a point, as the others are relative to it.
    """
    matchups = tally(games)
    players = sorted({player for players in matchups for player in players})
    if not players:
        return []
    if anchor is not None and anchor not in players:
        raise UserError(f"anchor {anchor!r} has no games; choose one of: {', '.join(players)}")
    index = {player: i for i, player in enumerate(players)}
    k, rng = len(players), np.random.default_rng(seed)
    points = np.ones((k + 1, k + 1))  # the last player is the imaginary one
    points[:k, :k] = 0.0
    resampled = np.zeros((resamples, k + 1, k + 1))
    resampled[:, k, :k] = rng.exponential(size=(resamples, k))
    resampled[:, :k, k] = rng.exponential(size=(resamples, k))
    played = np.zeros(k, dtype=int)
    for (a, b), outcomes in matchups.items():
        i, j = index[a], index[b]
        played[[i, j]] += outcomes.sum()
        kinds, counts = np.unique(outcomes, axis=0, return_counts=True)
        scores = kinds @ [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]  # (kinds, 2) points of a and of b
        points[i, j], points[j, i] = counts @ scores
        drawn = rng.dirichlet(counts, resamples) * len(outcomes) @ scores
        resampled[:, i, j], resampled[:, j, i] = drawn.T
    theta = maximise(points[None], np.zeros((1, k)))
    thetas = maximise(resampled, np.repeat(theta, resamples, 0))
    elo = np.concatenate([theta, thetas]) * ELO_PER_NAT
    zero = elo.mean(1) if anchor is None else elo[:, index[anchor]]
    elo += anchor_rating - zero[:, None]
    low, high = np.quantile(elo[1:], [0.025, 0.975], axis=0)
    ratings = [
        Rating(player, float(elo[0, i]), float(low[i]), float(high[i]), int(played[i]))
        for player, i in index.items()
    ]
    return sorted(ratings, key=lambda r: (-r.rating, r.player))


def maximise(points: NDArray[np.float64], theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Newton's method on a batch of leagues: (batch, k+1, k+1) points, last theta fixed at 0, from
    the start (batch, k) to the maximum.

    A step that moves no theta by more than 1/2 moves no difference by more than 1, where the
    likelihood, whose third derivative is bounded by its second, cannot fall (Bach 2010, Electron.
    J. Stat. 4:384): so longer steps are cut to that, and the iteration cannot diverge.
    """
    k = theta.shape[1]
    games = points + points.transpose(0, 2, 1)
    full = np.concatenate([theta, np.zeros((len(theta), 1))], 1)
    for _ in range(200):
        win = 1 / (1 + np.exp(full[:, None, :] - full[:, :, None]))
        slope = (points - games * win).sum(2)[:, :k]
        weight = games * win * (1 - win)
        curvature = -weight[:, :k, :k]
        curvature[:, range(k), range(k)] += weight.sum(2)[:, :k]
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        longest = np.abs(step).max()
        full[:, :k] += step * np.minimum(1, 0.5 / np.abs(step).max(1, keepdims=True).clip(1e-12))
        if longest < 1e-9:
            break
    return full[:, :k]
