"""Finished battles, and what two players' battles against each other say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from metamon_ext.arena.rows import BattleRow

WIN, TIE, LOSS = range(3)
"""Columns of the arrays that count outcomes."""


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
        """All finished battles."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True, eq=False)
class Games:
    """Games by columns, in order: as good as a list of `Game`, at 33 bytes each.

    `a` and `b` (n,) are indices into `players`; `pair` and `score` (n,) are as in `Game`.
    """

    players: Sequence[str]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    pair: NDArray[np.int64]
    score: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not np.isin(self.score, (0.0, 0.5, 1.0)).all():
            wrong = self.score[~np.isin(self.score, (0.0, 0.5, 1.0))][0]
            raise ValueError(f"a score of {wrong}: it is 1 for a win, 0.5 for a tie, 0 for a loss")

    @classmethod
    def of(cls, games: Iterable[Game]) -> Games:
        """The same games by columns. Raises ValueError for a score other than 0, 0.5 and 1."""
        if isinstance(games, Games):
            return games
        index: dict[str, int] = {}
        rows = [
            (
                index.setdefault(game.player_a, len(index)),
                index.setdefault(game.player_b, len(index)),
                game.pair,
                game.score,
            )
            for game in games
        ]
        a, b, pair, score = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(
            list(index),
            np.array(a, dtype=np.int64),
            np.array(b, dtype=np.int64),
            np.array(pair, dtype=np.int64),
            np.array(score, dtype=np.float64),
        )

    @property
    def outcome(self) -> NDArray[np.int64]:
        """WIN, TIE or LOSS of `a`, (n,)."""
        return (2 - 2 * self.score).astype(np.int64)

    @classmethod
    def concatenate(cls, parts: Sequence[Games]) -> Games:
        """The games of several tournaments. Players of the same name are one player; mirrored pairs
        of different tournaments are different pairs."""
        players = [*dict.fromkeys(player for part in parts for player in part.players)]
        index = {player: i for i, player in enumerate(players)}
        columns: list[list[NDArray[np.int64]]] = [[], [], []]
        for part in parts:
            rank = np.array([index[player] for player in part.players], dtype=np.int64)
            offset = sum(map(len, columns[0]))
            pair = np.unique(part.pair, return_inverse=True)[1] + offset
            for column, values in zip(columns, (rank[part.a], rank[part.b], pair), strict=True):
                column.append(values)
        a, b, pair = map(np.concatenate, columns)
        return cls(players, a, b, pair, np.concatenate([part.score for part in parts]))

    def among(self, players: Iterable[str]) -> Games:
        """The games of these players against each other."""
        chosen = set(players)
        kept = np.array([player in chosen for player in self.players], dtype=bool)
        rows = kept[self.a] & kept[self.b]
        columns = (self.a, self.b, self.pair, self.score)
        return Games(self.players, *(column[rows] for column in columns))

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[Game]:
        for a, b, pair, score in zip(self.a, self.b, self.pair, self.score, strict=True):
            yield Game(self.players[a], self.players[b], int(pair), float(score))


def tally(games: Iterable[Game]) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Group by players and pair: `{(a, b): (pairs, 3) wins, ties, losses of a}` with a < b.

    Does not depend on the order of the games, nor on which player a game calls `player_a`.
    """
    games = Games.of(games)
    if not len(games):
        return {}
    players = sorted(games.players)
    place = {player: i for i, player in enumerate(players)}
    rank = np.array([place[player] for player in games.players])
    a, b, outcome = rank[games.a], rank[games.b], games.outcome
    outcome = np.where(a > b, LOSS - outcome, outcome)
    met = np.minimum(a, b) * len(players) + np.maximum(a, b)

    order = np.lexsort((games.pair, met))
    met, pair, outcome = met[order], games.pair[order], outcome[order]
    row = np.cumsum(_starts(met, pair)) - 1
    rows = np.bincount(3 * row + outcome, minlength=3 * (row[-1] + 1)).reshape(-1, 3)
    met = met[_starts(met, pair)]

    rows = rows[np.lexsort((*rows.T[::-1], met))]  # of a matchup, whatever their numbers
    first = _starts(met)
    matchups = np.split(rows, np.flatnonzero(first)[1:])
    return {
        (players[m // len(players)], players[m % len(players)]): outcomes
        for m, outcomes in zip(met[first], matchups, strict=True)
    }


def pair_kinds(
    outcomes: Sequence[NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pairs that ended alike.

    Args:
        outcomes: of each matchup, its (pairs, 3) wins, ties and losses (see `tally`).

    Returns:
        (kinds, 4) number of the matchup, in order, and wins, ties and losses; (kinds,) pairs.
    """
    rows = [np.insert(pairs, 0, matchup, axis=1) for matchup, pairs in enumerate(outcomes)]
    kinds, counts = np.unique(np.concatenate(rows), axis=0, return_counts=True)
    return kinds, counts


def _starts(*columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a run of equal rows starts."""
    changes = np.any([np.diff(column) != 0 for column in columns], axis=0)
    return np.concatenate([[True], changes])


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


def games_of(rows: Iterable[BattleRow]) -> tuple[list[Game], Counter[tuple[str, str]]]:
    """The finished battles as games, and the number of unfinished ones of each two players."""
    games: list[Game] = []
    unfinished: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.score is None:
            unfinished[row.player_a, row.player_b] += 1
        else:
            games.append(Game(row.player_a, row.player_b, row.seed, row.score))
    return games, unfinished
