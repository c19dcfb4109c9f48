"""Classic Elo, game by game, and GXE: what the field is used to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from metamon_ext.evaluation.games import Game, Games

_GLICKO = 3 * (np.log(10) / (400 * np.pi)) ** 2
_AVERAGE, _SPREAD = 1500.0, 130.0


def progression(
    games: Games, k_factor: float = 32.0, initial_rating: float = 1500.0
) -> NDArray[np.float64]:
    """Elo's ratings of both players after each game, (games, 2): those of `games.a` and `games.b`.

    The winner takes k_factor * (S - E) points from the loser, S being the score (a tie is half a
    point) and E = 1 / (1 + 10^((R_b - R_a) / 400)) what was expected of it. The last games count
    most and the order matters: to compare players, take `bradley_terry`.
    """
    ratings = [initial_rating] * len(games.players)
    after = np.empty((len(games), 2))
    columns = games.a.tolist(), games.b.tolist(), games.score.tolist()
    for game, (a, b, score) in enumerate(zip(*columns, strict=True)):
        expected = 1 / (1 + 10 ** min((ratings[b] - ratings[a]) / 400, 300))  # stays a float
        change = k_factor * (score - expected)
        ratings[a] += change
        ratings[b] -= change
        after[game] = ratings[a], ratings[b]
    return after


def elo(
    games: Iterable[Game], k_factor: float = 32.0, initial_rating: float = 1500.0
) -> dict[str, float]:
    """Each player's classic Elo rating after all games, in their order (see `progression`)."""
    games = Games.of(games)
    return last_ratings(games, progression(games, k_factor, initial_rating))


def last_ratings(games: Games, after: NDArray[np.float64]) -> dict[str, float]:
    """Each player's rating after its last game, from its `progression`."""
    ratings = {}
    for i, player in enumerate(games.players):
        mine = np.column_stack([games.a == i, games.b == i])
        if mine.any():
            ratings[player] = float(after[mine][-1])
    return ratings


def gxe(rating: float, deviation: float) -> float:
    """Showdown's GXE (Glicko X-Act Estimate): the percentage to win against an average player.

        100 / (1 + 10^((1500 - R) / (400 sqrt(1 + C (RD^2 + 130^2))))),   C = 3 (ln 10 / 400 pi)^2

    the expected score of Glicko-1 (Glickman 1999, Appl. Stat. 48:377) against rating 1500 with
    deviation 130, a newcomer to the ladder, as Showdown's login server computes it (`Ladder.update`
    in src/ladder.ts of smogon/pokemon-showdown-loginserver). There R and RD are Glicko-1's. Here
    they are the Bradley-Terry rating and its standard error, so that 1500 stands for the average of
    the league, or for what the anchor makes of it.
    """
    scale = 400 * np.sqrt(1 + _GLICKO * (deviation**2 + _SPREAD**2))
    return float(100 / (1 + 10 ** ((_AVERAGE - rating) / scale)))
