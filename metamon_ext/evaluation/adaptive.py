"""Where the next battles of a league tell most about the order of its players, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from metamon_ext.errors import UserError
from metamon_ext.evaluation.ratings import ELO_PER_NAT, maximise

Pairing = tuple[str, str]
Outcomes = Mapping[Pairing, NDArray[np.int64]]
"""The pairings, and (pairs, 3) wins, ties and losses of the first of the two so far; (0, 3)
where they have not met. Players that are never paired here need not be ordered."""


def allocate(
    outcomes: Outcomes, pairs: int, indifference: float = 20.0, least: int = 2
) -> dict[Pairing, int]:
    """How many of the next `pairs` mirrored pairs each pairing is to play (0 for most of them).

    A tournament plays in rounds, and a round depends on nothing but the results before it, so that
    a resumed run plays the same battles:

        while not decided(outcomes) and there are battles left:
            play allocate(outcomes, pairs) and add the results to outcomes

    Pairings with fewer than `least` pairs come first, in their order. After that, one by one, each
    pair goes where it takes the largest share off the variances of the differences of ratings, each
    difference counted with the probability that its order is wrong (`doubts`). With Sigma the
    covariance of the ratings, c_ij = e_i - e_j, v = c' Sigma c, and w_ij the information that a
    pair of i and j brings on their difference,

        gain_ij = sum_kl doubt_kl / v_kl  (c_kl' Sigma c_ij)^2 w_ij / (1 + w_ij v_ij)
        Sigma  <- Sigma - Sigma c c' Sigma w / (1 + w v)

    so that the battles go to close neighbours, and none to pairings whose order is plain. A round
    of half as many pairs as there are pairings works well; more rounds change little.
    """
    league = fit(outcomes)
    first, second, w = league.first, league.second, league.information
    gap = np.abs(league.gap) + _nats(indifference)
    covariance, k = league.covariance, len(league.covariance)
    met = np.array([len(rows) for rows in outcomes.values()])
    given = np.zeros(len(outcomes), dtype=int)
    for _ in range(pairs):
        v = _variances(covariance, first, second)
        if (met + given < least).any():
            best = int(np.argmax(met + given < least))
        else:
            counted = ndtr(-gap / np.sqrt(v)) / v
            reached = covariance @ _laplacian(k, first, second, counted) @ covariance
            gain = _variances(reached, first, second) * w / (1 + w * v)
            # Rounded, so that the last bits of one machine do not decide between equal gains.
            best = int(np.argmax(np.round(gain / gain.max(), 9))) if gain.max() > 0 else 0
        step = covariance[first[best]] - covariance[second[best]]
        covariance = covariance - np.outer(step, step) * w[best] / (1 + w[best] * v[best])
        given[best] += 1
    return dict(zip(outcomes, given.tolist(), strict=True))


def decided(outcomes: Outcomes, indifference: float = 20.0, error: float = 0.05) -> bool:
    """Whether no pairing is in `doubts` of more than `error`: those at least `indifference` Elo
    apart are in the right order, and the closer ones may stand in either."""
    return max(doubts(outcomes, indifference).values()) <= error


def doubts(outcomes: Outcomes, indifference: float = 20.0) -> dict[Pairing, float]:
    """The probability that the better of two by rating is really the worse by more than
    `indifference` Elo, for each pairing:

        doubt_kl = Phi(-(|R_k - R_l| + indifference) / sd(R_k - R_l))

    for ratings R of the Bradley-Terry model of `bradley_terry`, prior included, under the normal
    approximation of their posterior. The information of a battle, p (1 - p), is divided by the
    variance of the scores of pairs over a binomial's, pooled over all pairings: battles count for
    more where teams decide pairs, and for less where results do not fit one number a player.
    """
    league = fit(outcomes)
    deviation = np.sqrt(_variances(league.covariance, league.first, league.second))
    chances = ndtr(-(np.abs(league.gap) + _nats(indifference)) / deviation)
    return dict(zip(outcomes, chances.tolist(), strict=True))


@dataclass(frozen=True)
class League:
    """What is known of a league, in nats (see `ELO_PER_NAT`).

    Arrays over its pairings: the indices `first` and `second` of their players, the `gap` of their
    ratings, and the `information` that one more mirrored pair brings on it. `covariance` of the
    ratings is (players, players).
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    gap: NDArray[np.float64]
    information: NDArray[np.float64]
    covariance: NDArray[np.float64]


def fit(outcomes: Outcomes) -> League:
    """Ratings by Bradley-Terry, as in `bradley_terry`. Raises UserError without a pairing."""
    players = sorted({player for pairing in outcomes for player in pairing})
    if not players:
        raise UserError("a league needs at least two players")
    index, k = {player: i for i, player in enumerate(players)}, len(players)
    first = np.array([index[a] for a, _ in outcomes])
    second = np.array([index[b] for _, b in outcomes])

    rows = np.concatenate(list(outcomes.values()))
    pairing = np.repeat(np.arange(len(outcomes)), [len(rows) for rows in outcomes.values()])
    n, score = rows.sum(1), rows @ [1.0, 0.5, 0.0]
    games = np.bincount(pairing, n, len(outcomes))
    won = np.bincount(pairing, score, len(outcomes))
    points = np.zeros((k + 1, k + 1))
    points[k, :k] = points[:k, k] = 1.0  # the prior: a win and a loss against an average player
    np.add.at(points, (first, second), won)
    np.add.at(points, (second, first), games - won)
    theta = maximise(points[None], np.zeros((1, k)))[0]

    gap = theta[first] - theta[second]
    p = expit(gap)
    m = len(rows)
    binomial = float((games * p * (1 - p)).sum())
    spread = float(((score - n * p[pairing]) ** 2).sum())
    # As in `score_pairs`: four pairs at 1 keep it from 0 where there are few.
    excess = spread / binomial * m / max(m - k + 1, 1) if m else 1.0
    excess = (m * excess + 4) / (m + 4)
    information = p * (1 - p) / excess
    precision = np.diag(2 * expit(theta) * expit(-theta))
    precision += _laplacian(k, first, second, games * information)
    return League(first, second, gap, 2 * information, np.linalg.inv(precision))


def _laplacian(
    k: int, first: NDArray[np.intp], second: NDArray[np.intp], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """sum of w (e_i - e_j)(e_i - e_j)' over the pairings, (k, k)."""
    matrix = np.zeros((k, k))
    matrix[first, second] = matrix[second, first] = -weights
    return matrix - np.diag(matrix.sum(1))


def _variances(
    covariance: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float64]:
    diagonal = np.diag(covariance)
    return diagonal[first] + diagonal[second] - 2 * covariance[first, second]


def _nats(elo: float) -> float:
    if elo < 0:
        raise UserError(f"an indifference of {elo:g} Elo: give 0 or more")
    return elo / ELO_PER_NAT
