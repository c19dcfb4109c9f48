"""A race: which of several candidates is best, with a stated error and few battles.

Ratings theta, in nats, are fitted by least squares, as candidates are close to each other: with
s_ij the mean score of n_ij mirrored pairs, 4 (s_ij - 1/2) estimates theta_i - theta_j with variance
16 v / n_ij, v being the variance of a pair's score. Their prior is N(0, tau^2), tau one of
`SPREADS`, weighted by the evidence of the results.

The race ends when the leader is within `indifference` of the best with posterior probability
1 - error. Until then the next pairs are played by the best two of draws from the posterior, as in
top-two Thompson sampling (Russo 2016, arXiv:1602.08448): few battles go to candidates that are
clearly behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from metamon_ext.errors import UserError
from metamon_ext.evaluation.adaptive import Outcomes, Pairing
from metamon_ext.evaluation.ratings import ELO_PER_NAT
from metamon_ext.evaluation.schedules import NO_GAMES, Counts

SPREADS = (20.0, 40.0, 80.0, 160.0)
"""Standard deviations of the candidates' ratings that are possible beforehand, in Elo."""

DRAWS = 4000
FIRST_PAIRS = 4
"""Mirrored pairs of each pairing of the first round."""


@dataclass(frozen=True)
class RaceStanding:
    """Where a race stands.

    Attributes:
        leader: the candidate with the highest mean rating.
        elo: candidate -> mean rating, relative to the mean of all.
        error: the probability that the leader is further below the best than the indifference.
        decided: whether that is as small as was asked for.
    """

    leader: str
    elo: dict[str, float]
    error: float
    decided: bool


@dataclass(frozen=True)
class Race:
    """A `Plan`: candidates play each other, or all of them an opponent.

    Attributes:
        candidates: names of players.
        opponent: the player that all of them meet, such as a mixture; None: each other.
        error: probability that the leader in the end is worse than the best by more than:
        indifference: in Elo.
        limit: battles of the race; one that reaches it ends undecided.
        look: mirrored pairs of a round.

    Raises UserError for values out of range.
    """

    candidates: Sequence[str]
    opponent: str | None = None
    error: float = 0.05
    indifference: float = 20.0
    limit: int = 4000
    look: int = 16

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) < len(self.candidates):
            raise UserError(f"A race needs candidates, each once, not {list(self.candidates)}.")
        if not 0 < self.error < 1 or not self.indifference > 0:
            raise UserError(
                f"A race needs an error from 0 to 1 and an indifference above 0, not {self.error} "
                f"and {self.indifference}."
            )

    @property
    def pairings(self) -> list[Pairing]:
        """All that may be played."""
        if self.opponent is None:
            return list(combinations(self.candidates, 2))
        return [(candidate, self.opponent) for candidate in self.candidates]

    def __call__(self, outcomes: Outcomes, played: Counts) -> Counts:
        if not played:
            first = self._first_round()
            return {pairing: 2 * FIRST_PAIRS * (pairing in first) for pairing in self.pairings}
        left = (self.limit - sum(played.values())) // 2
        draws = self._draws(outcomes)
        if left <= 0 or self._standing(draws).decided:
            return played
        more = self._allocate(draws, min(self.look, left), sum(played.values()))
        return {pairing: played.get(pairing, 0) + 2 * more[pairing] for pairing in self.pairings}

    def standing(self, outcomes: Outcomes) -> RaceStanding:
        """Who leads, and how certain that is."""
        return self._standing(self._draws(outcomes))

    def _first_round(self) -> set[Pairing]:
        """Each candidate plays the next one; or all play the opponent."""
        if self.opponent is not None:
            return set(self.pairings)
        ring = zip(self.candidates, [*self.candidates[1:], self.candidates[0]], strict=True)
        return {pairing for a, b in ring for pairing in ((a, b), (b, a))} & set(self.pairings)

    def _standing(self, draws: NDArray[np.float64]) -> RaceStanding:
        mean = draws.mean(0)
        leader = int(np.argmax(mean))
        error = float((draws.max(1) - draws[:, leader] > self.indifference).mean())
        elo = dict(zip(self.candidates, (mean - mean.mean()).tolist(), strict=True))
        return RaceStanding(self.candidates[leader], elo, error, error <= self.error)

    def _draws(self, outcomes: Outcomes) -> NDArray[np.float64]:
        """(DRAWS, candidates) ratings from the posterior, in Elo: equal for equal results."""
        precision, shift = self._likelihood(outcomes)
        k, size = len(self.candidates), len(shift)
        rng = np.random.default_rng(0)
        normal = rng.standard_normal((DRAWS, size))
        means, roots, evidence = [], [], []
        for spread in SPREADS:
            prior = np.full(size, (ELO_PER_NAT / spread) ** 2)
            prior[k:] = 1e-4  # hardly anything is known of the opponent
            posterior = precision + np.diag(prior)
            mean = np.linalg.solve(posterior, shift)
            means.append(mean)
            roots.append(np.linalg.cholesky(np.linalg.inv(posterior)))
            log_det = np.linalg.slogdet(posterior)[1] - np.log(prior).sum()
            evidence.append((shift @ mean - log_det) / 2)
        weight = np.exp(np.array(evidence) - max(evidence))
        which = rng.choice(len(SPREADS), DRAWS, p=weight / weight.sum())
        noise = np.einsum("dij,dj->di", np.array(roots)[which], normal)
        return (np.array(means)[which] + noise)[:, :k] * ELO_PER_NAT

    def _likelihood(self, outcomes: Outcomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision matrix, and precision times mean, of the ratings of all players, in nats."""
        players = list(self.candidates) + ([] if self.opponent is None else [self.opponent])
        index = {player: i for i, player in enumerate(players)}
        scores = {pairing: _scores(outcomes.get(pairing, NO_GAMES)) for pairing in self.pairings}
        off = np.concatenate([s - s.mean() for s in scores.values() if len(s)] or [np.zeros(0)])
        # four pairs of independent even battles keep it from 0 where there are few
        v = (float((off**2).sum()) + 4 / 8) / (len(off) + 4)
        precision = np.zeros((len(players), len(players)))
        shift = np.zeros(len(players))
        for (a, b), s in scores.items():
            contrast = np.zeros(len(players))
            contrast[index[a]], contrast[index[b]] = 1.0, -1.0
            precision += len(s) / (16 * v) * np.outer(contrast, contrast)
            shift += float((s - 0.5).sum()) / (4 * v) * contrast
        return precision, shift

    def _allocate(self, draws: NDArray[np.float64], pairs: int, played: int) -> Counter[Pairing]:
        """The pairings of the next pairs: the best two of a draw, or these and the opponent."""
        chosen = np.random.default_rng(played).choice(DRAWS, pairs)
        more: Counter[Pairing] = Counter()
        for n, (i, j) in enumerate(np.argsort(-draws[chosen], axis=1, kind="stable")[:, :2]):
            if self.opponent is None:
                more[self.candidates[min(i, j)], self.candidates[max(i, j)]] += 1
            else:
                more[self.candidates[(i, j)[n % 2]], self.opponent] += 1
        return more


def _scores(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the first player in each pair, in [0, 1]."""
    games = rows.sum(1)
    return (rows @ [1.0, 0.5, 0.0])[games > 0] / games[games > 0]
