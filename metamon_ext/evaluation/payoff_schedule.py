"""Battles that fill a payoff matrix, most of them where the meta-strategy is uncertain.

With sigma_d the meta-strategy of draw d of the win rates w from their posterior, the share of the
variance of sigma_k that a linear regression on w_ij explains is what is lost by not knowing w_ij:

    explained_ij = sum_k Cov(w_ij, sigma_k)^2 / Var(w_ij)

It falls like the variance of w_ij, that is like 1 / n for n mirrored pairs, one imaginary one
included, so that the next pair gains explained_ij / (n + 1). It is played where that is largest
(Strong et al. 2015, Med. Decis. Making 35:570, find the value of more samples by such regressions).
Entries on which the meta-strategy does not depend keep their first battles: those that explain no
more than the noise of the draws would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from metamon_ext.evaluation.adaptive import Outcomes, Pairing
from metamon_ext.evaluation.meta_solvers import MetaSolver, explore, nash
from metamon_ext.evaluation.payoffs import PayoffMatrix
from metamon_ext.evaluation.schedules import NO_GAMES, Counts

FIRST_PAIRS = 4
"""Mirrored pairs of each pairing of the first round."""
NOISE = 5.0
"""An entry that sigma does not depend on explains 1 / draws of its variance on average, and more
than so many times that in 2.5 % of the cases or fewer."""


@dataclass(frozen=True)
class PayoffSchedule:
    """A `Plan`: every two players meet, and those again whose result matters.

    Attributes:
        players: the population.
        limit: battles of a pairing at most; an odd one is rounded down.
        solver: a meta-solver.
        exploration: see `explore`.
        given: battles of pairings that were played before, and count from the start.
        tolerance: it ends when the standard deviations of the probabilities of all players,
            squared, sum to no more than this, squared.
        look: mirrored pairs of a round.
        draws: from the posterior of the win rates.
    """

    players: Sequence[str]
    limit: int
    solver: MetaSolver = nash
    exploration: float = 0.0
    given: Mapping[Pairing, int] = field(default_factory=dict)
    tolerance: float = 0.05
    look: int = 32
    draws: int = 200

    @property
    def pairings(self) -> list[Pairing]:
        """All that are played."""
        return list(combinations(self.players, 2))

    def __call__(self, outcomes: Outcomes, played: Counts) -> Counts:
        most = self.limit // 2
        if not played:
            given = {pairing: self.given.get(pairing, 0) // 2 for pairing in self.pairings}
            return {
                pairing: 2 * min(max(FIRST_PAIRS, pairs), most) for pairing, pairs in given.items()
            }
        explained, deviation = self._uncertainty(outcomes)
        if deviation <= self.tolerance:
            return played
        pairs = np.array([played[pairing] // 2 for pairing in self.pairings])
        for _ in range(self.look):
            gain = np.where(pairs < most, explained / (pairs + 1) / (pairs + 2), 0.0)
            if not gain.any():
                break
            # Rounded, so that the last bits of one machine do not decide between equal gains.
            pairs[np.argmax(np.round(gain / gain.max(), 9))] += 1
        return dict(zip(self.pairings, (2 * pairs).tolist(), strict=True))

    def _uncertainty(self, outcomes: Outcomes) -> tuple[NDArray[np.float64], float]:
        """`explained_ij` times n of each pairing, and the standard deviation of sigma."""
        met = {pairing: outcomes.get(pairing, NO_GAMES) for pairing in self.pairings}
        drawn = PayoffMatrix.of_outcomes(met, self.players).posterior(self.draws)
        sigma = explore(np.array([self.solver(each) for each in drawn]), self.exploration)
        sigma = sigma - sigma.mean(0)
        variance = float((sigma**2).mean(0).sum())
        i, j = np.triu_indices(len(self.players), 1)
        rates = drawn[:, i, j] - drawn[:, i, j].mean(0)
        covariances = rates.T @ sigma / self.draws
        explained = (covariances**2).sum(1) / (rates**2).mean(0)
        explained[explained <= NOISE * variance / self.draws] = 0
        pairs = np.array([len(rows) for rows in met.values()])
        return explained * (pairs + 1), variance**0.5
