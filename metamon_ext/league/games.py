"""Finished battles, and what two players' battles against each other say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

_COLUMN = {1.0: 0, 0.5: 1, 0.0: 2}


@dataclass(frozen=True)
class Game:
    """One finished battle.

    Games of the same two players with the same `pair` are mirrored: same teams, same simulator
    seed, seats swapped. They are not independent of each other, so results are scored by pair. A
    battle that was played on its own has a pair of its own.
    """

    player_a: str
    player_b: str
    pair: int
    score: float
    """1 when `player_a` won, 0.5 for a tie, 0 when `player_b` won."""


@dataclass(frozen=True)
class HeadToHead:
    """One player's results against another. A tie is half a win; [low, high] is the 95 % interval
    of `win_rate`. Without any game the rate is nan and the interval [0, 1]."""

    wins: int
    losses: int
    ties: int
    pairs: int
    win_rate: float
    low: float
    high: float

    @property
    def games(self) -> int:
        return self.wins + self.losses + self.ties


def tally(games: Iterable[Game]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Group by players and pair: `{(a, b): (pairs, 3) wins, ties, losses of a}` with a < b.

    Does not depend on the order of the games, nor on which player a game calls `player_a`.
    """
    matchups: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(dict)
    for game in games:
        a, b, column = game.player_a, game.player_b, _COLUMN[game.score]
        if a > b:
            a, b, column = b, a, 2 - column
        matchups[a, b].setdefault(game.pair, [0, 0, 0])[column] += 1
    return {players: np.array(sorted(rows.values())) for players, rows in sorted(matchups.items())}


def score_pairs(outcomes: NDArray[np.int64]) -> HeadToHead:
    """Win rate and its 95 % interval from the (pairs, 3) wins, ties and losses of one player.

    With s_i points in the n_i games of pair i, i = 1..m, N = sum n_i and p = sum s_i / N:

        deff  = m/(m-1) sum (s_i - p n_i)^2 / (N p (1-p))    variance of p over a binomial's
        deff' = (m deff + 4) / (m + 4)                       deff = 1 where p is 0 or 1
        N'    = N / deff'                                    effective number of games
        low, high = (p + t^2/2N' -+ t sqrt(p (1-p) / N' + t^2/4N'^2)) / (1 + t^2/N')

    with t the 97.5 % quantile of Student's t for m-1 degrees of freedom: Wilson's interval on the
    effective sample size, as for clustered samples (Franco et al. 2019, J. Survey Stat. Methodol.
    7:334). It stays in [0, 1] and never closes at 0 or 100 %. A mirrored pair that the teams decide
    splits, so deff falls below 1 and the interval narrows: the gain of pairing. The 4 (our
    addition, as if four pairs were seen at deff = 1) keeps it open when all pairs agree.
    """
    wins, ties, losses = (int(x) for x in outcomes.sum(0))
    n, m = outcomes.sum(1), len(outcomes)
    total = wins + ties + losses
    if not total:
        return HeadToHead(0, 0, 0, 0, float("nan"), 0.0, 1.0)
    points = outcomes @ [1.0, 0.5, 0.0]
    p = float(points.sum()) / total
    spread, binomial = float(((points - p * n) ** 2).sum()), total * p * (1 - p)
    deff = spread / binomial * m / max(m - 1, 1) if binomial else 1.0
    n_eff = total * (m + 4) / (m * deff + 4)
    t2 = float(stdtrit(max(m - 1, 1), 0.975)) ** 2 / n_eff
    half = (t2 * p * (1 - p) + t2**2 / 4) ** 0.5
    low, high = (p + t2 / 2 - half) / (1 + t2), (p + t2 / 2 + half) / (1 + t2)
    # At p = 0 and 1 one end is p itself, up to rounding.
    return HeadToHead(wins, losses, ties, m, p, min(max(low, 0.0), p), max(min(high, 1.0), p))


def head_to_head(games: Iterable[Game], a: str, b: str) -> HeadToHead:
    """`a`'s results against `b`; other players' games are ignored."""
    matchups = tally(game for game in games if {game.player_a, game.player_b} == {a, b})
    outcomes = matchups.get((min(a, b), max(a, b)), np.zeros((0, 3), dtype=np.int64))
    return score_pairs(outcomes if a < b else outcomes[:, ::-1])
