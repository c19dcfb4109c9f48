"""Win rates of every two players of a population, with the uncertainty that few games leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.evaluation.adaptive import Outcomes
from metamon_ext.evaluation.games import Games, pair_kinds, tally


@dataclass(frozen=True, eq=False)
class PayoffMatrix:
    """The symmetric zero-sum game in which each side picks one of n players, from games played.

    Attributes:
        players: the n players, in the order of rows and columns.
        games: (n, n) finished games of each two players.
        points: (n, n) wins of the row's player against the column's; a tie is half a win.
    """

    players: Sequence[str]
    games: NDArray[np.int64]
    points: NDArray[np.float64]
    _kinds: NDArray[np.int64] = field(repr=False)
    _counts: NDArray[np.int64] = field(repr=False)
    _places: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, games: Games, players: Sequence[str]) -> PayoffMatrix:
        """The payoffs of these players; games of others are ignored."""
        return cls.of_outcomes(tally(games.among(players)), players)

    @classmethod
    def of_outcomes(cls, outcomes: Outcomes, players: Sequence[str]) -> PayoffMatrix:
        """The same from (pairs, 3) wins, ties and losses of the first player of each pairing."""
        index = {player: i for i, player in enumerate(players)}
        n = len(players)
        counts = np.zeros((n, n), dtype=np.int64)
        points = np.zeros((n, n))
        places, rows = [], []
        for (a, b), pairs in outcomes.items():
            if not len(pairs):
                continue
            if index[a] > index[b]:
                a, b, pairs = b, a, pairs[:, ::-1]
            i, j = index[a], index[b]
            wins, ties, losses = pairs.sum(0)
            counts[i, j] = counts[j, i] = wins + ties + losses
            points[i, j], points[j, i] = wins + ties / 2, losses + ties / 2
            places.append((i, j))
            rows.append(pairs)
        kinds = pair_kinds(rows) if rows else (np.zeros((0, 4), np.int64), np.zeros(0, np.int64))
        return cls(players, counts, points, *kinds, np.array(places, np.int64).reshape(-1, 2).T)

    @property
    def observed(self) -> NDArray[np.float64]:
        """(n, n) share of points; nan where two players have not met."""
        with np.errstate(invalid="ignore"):
            return self.points / self.games

    @property
    def win_rates(self) -> NDArray[np.float64]:
        """(n, n) estimates (points + 1) / (games + 2), Laplace's rule, and 1/2 on the diagonal.

        The two games are those of the prior in `posterior`. Players that have not met stand at 1/2.
        """
        return (self.points + 1) / (self.games + 2)

    @property
    def unplayed(self) -> int:
        """How many pairs of players have not met."""
        return int((self.games == 0).sum() - len(self.players)) // 2

    def posterior(self, draws: int, seed: int = 0) -> NDArray[np.float64]:
        """Draw win rates from their posterior, (draws, n, n).

        The Bayesian bootstrap over mirrored pairs (Rubin 1981, Ann. Stat. 9:130), as for ratings:
        each pair counts with a random Exp(1) weight, and so do one imaginary game won and one lost.
        For games that are no mirrored pairs and have no ties this is the posterior
        Beta(wins + 1, losses + 1), and without any game the uniform distribution.
        """
        rng, n = np.random.default_rng(seed), len(self.players)
        drawn = rng.exponential(size=(2, draws, n, n))  # imaginary games of i < j: won, lost
        if len(self._counts):
            weights = rng.gamma(self._counts, size=(draws, len(self._counts)))
            scores = self._kinds[:, 1:] @ [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
            first = np.flatnonzero(np.diff(self._kinds[:, 0], prepend=-1))
            i, j = self._places
            for points, side in zip(drawn, scores.T, strict=True):
                points[:, i, j] += np.add.reduceat(weights * side, first, axis=1)
        above = np.triu(drawn[0] / drawn.sum(0), 1)
        below = np.tril(1 - above.transpose(0, 2, 1), -1)
        return above + below + np.eye(n) / 2


def choose_players(games: Games, players: Sequence[str] = (), min_games: int = 0) -> list[str]:
    """The players whose pairs all have at least `min_games` games, in order of their names.

    While a pair has fewer, the player with the most such pairs is left out; of several of them the
    one with the fewest games against the others, and of those the last by name.

    Args:
        games: games of all players.
        players: the candidates; all, if empty.
        min_games: 0 keeps players that have not met.

    Raises UserError for a player without games against the others, and where fewer than two players
    remain.
    """
    known = sorted({player for pair in tally(games) for player in pair})
    for player in players:
        if player not in known:
            raise UserError(f"Player {player!r} has no games.{did_you_mean(player, known)}")
    names = sorted(set(players)) or known
    counts = PayoffMatrix.of(games, names).games
    kept = list(range(len(names)))
    while len(kept) > 1:
        between = counts[np.ix_(kept, kept)]
        lacking = (between < min_games).sum(1) - (min_games > 0)  # not against itself
        if not lacking.any():
            break
        kept.pop(max(range(len(kept)), key=lambda i: (lacking[i], -between[i].sum(), i)))
    if len(kept) < 2:
        fix = f"Lower --min_games {min_games}." if min_games else "Name two players."
        raise UserError(f"Fewer than two of the {len(names)} players remain. {fix}")
    if alone := [names[i] for i in kept if not counts[i, kept].any()]:
        raise UserError(
            f"Player {alone[0]!r} has no games against the other players. Choose other --players, "
            "or pass --min_games 1."
        )
    return [names[i] for i in kept]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    `value` follows from the estimated win rates; `mean` and the 95 % interval [`low`, `high`] are
    those over draws from their posterior.
    """

    value: float
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: NDArray[np.float64]) -> Estimate:
        """From the value and the same number in each draw."""
        low, high = np.quantile(draws, [0.025, 0.975])
        return cls(float(value), float(draws.mean()), float(low), float(high))
