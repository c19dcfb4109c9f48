"""Battles of the arena as games of a league."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from metamon_ext.arena.store import BattleRow
from metamon_ext.league.games import Game

_SCORES = {"p1": 1.0, "tie": 0.5, "p2": 0.0}


def games_of(rows: Iterable[BattleRow]) -> tuple[list[Game], Counter[tuple[str, str]]]:
    """The finished battles as games, and the number of unfinished ones of each two players.

    Players are named in the order of their matchup, whoever sat where.
    """
    games: list[Game] = []
    unfinished: Counter[tuple[str, str]] = Counter()
    for row in rows:
        a, b = (row.p2, row.p1) if row.mirrored else (row.p1, row.p2)
        if row.outcome == "unfinished":
            unfinished[a, b] += 1
        else:
            score = _SCORES[row.outcome]
            games.append(Game(a, b, row.pair, 1 - score if row.mirrored else score))
    return games, unfinished
