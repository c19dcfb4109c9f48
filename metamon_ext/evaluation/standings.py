"""What a tournament says of each player, as one table, and the files that hold it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metamon_ext.evaluation.elo import gxe, last_ratings, progression
from metamon_ext.evaluation.games import LOSS, TIE, WIN, Game, HeadToHead, score_pairs, tally
from metamon_ext.evaluation.ratings import Rating, bradley_terry
from metamon_ext.evaluation.results import Results
from metamon_ext.files import atomic_write


@dataclass(frozen=True)
class Standing:
    """A player in its rank.

    `elo` in [`low`, `high`] is the Bradley-Terry rating with its 95 % interval, `superiority` the
    chance to be stronger than the next lower (None for the last), `classic_elo` where K-factor Elo
    ended. A tie is half a win in `win_rate`. `mean_turns` of a battle and `invalid_rate`, the share
    of refused choices, are None where they are not known.
    """

    rank: int
    player: str
    elo: float
    low: float
    high: float
    superiority: float | None
    gxe: float
    classic_elo: float
    games: int
    wins: int
    losses: int
    ties: int
    unfinished: int
    win_rate: float
    mean_turns: float | None
    invalid_rate: float | None


def standings(
    results: Results, ratings: Sequence[Rating], classic: Mapping[str, float]
) -> list[Standing]:
    """The table, in the order of the ratings; `classic` is each player's classic Elo."""
    games = results.games
    index = {player: i for i, player in enumerate(games.players)}
    counts = np.zeros((len(index), 3), dtype=int)  # wins, ties, losses
    np.add.at(counts, (games.a, games.outcome), 1)
    np.add.at(counts, (games.b, LOSS - games.outcome), 1)
    table = []
    for rank, r in enumerate(ratings, 1):
        own = counts[index[r.player]]
        wins, ties, losses = (int(own[i]) for i in (WIN, TIE, LOSS))
        open_ = sum(n for players, n in results.unfinished.items() if r.player in players)
        table.append(
            Standing(
                rank=rank,
                player=r.player,
                elo=r.rating,
                low=r.low,
                high=r.high,
                superiority=r.superiority,
                gxe=gxe(r.rating, r.deviation),
                classic_elo=classic[r.player],
                games=r.games,
                wins=wins,
                losses=losses,
                ties=ties,
                unfinished=open_,
                win_rate=(wins + ties / 2) / r.games,
                mean_turns=results.turns.get(r.player),
                invalid_rate=results.invalid.get(r.player),
            )
        )
    return table


@dataclass(frozen=True)
class Rated:
    """Battles, and what they say of their players.

    Attributes:
        results: the battles.
        ratings: of the players, the best first.
        table: a row for each player, in the order of the ratings.
        found: the results of each pairing.
        after: the `progression` of classic Elo.
    """

    results: Results
    ratings: Sequence[Rating]
    table: Sequence[Standing]
    found: Sequence[Matchup]
    after: NDArray[np.float64]


def rate_results(
    results: Results,
    k_factor: float = 32.0,
    initial_rating: float = 1500.0,
    anchor: str | None = None,
    anchor_rating: float = 1500.0,
) -> Rated:
    """Rate all players (see `bradley_terry` and `progression` for the settings)."""
    after = progression(results.games, k_factor, initial_rating)
    ratings = bradley_terry(results.games, anchor, anchor_rating)
    table = standings(results, ratings, last_ratings(results.games, after))
    return Rated(
        results, ratings, table, matchups(ratings, results.games, results.unfinished), after
    )


class Matchup(NamedTuple):
    """The results of a player against a lower-rated one, and the battles that did not finish."""

    player: str
    opponent: str
    result: HeadToHead
    unfinished: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        players = {"player": self.player, "opponent": self.opponent}
        return players | asdict(self.result) | {"unfinished": self.unfinished}


def matchups(
    ratings: Sequence[Rating], games: Iterable[Game], unfinished: Mapping[tuple[str, str], int]
) -> list[Matchup]:
    """All pairs of players that finished a battle, in the order of the ratings."""
    rank = {r.player: i for i, r in enumerate(ratings)}
    found = []
    for (a, b), outcomes in tally(games).items():
        if rank[a] > rank[b]:
            a, b, outcomes = b, a, outcomes[:, ::-1]
        open_ = unfinished.get((a, b), 0) + unfinished.get((b, a), 0)
        found.append(Matchup(a, b, score_pairs(outcomes), open_))
    return sorted(found, key=lambda m: (rank[m.player], rank[m.opponent]))


def matrix(players: Sequence[str], found: Iterable[Matchup]) -> tuple[np.ndarray, np.ndarray]:
    """Win rates (nan where not met) and battles, both (players, players)."""
    index = {player: i for i, player in enumerate(players)}
    rates = np.full((len(players),) * 2, np.nan)
    counts = np.zeros_like(rates, dtype=int)
    for m in found:
        i, j = index[m.player], index[m.opponent]
        rates[i, j], rates[j, i] = m.result.win_rate, 1 - m.result.win_rate
        counts[i, j] = counts[j, i] = m.result.games
    return rates, counts


def write_standings(path: Path, table: Iterable[Standing]) -> None:
    """A CSV with a row for each player, the best first; an empty cell is not known."""
    write_csv(
        path,
        [field.name for field in fields(Standing)],
        (
            [round(v, 4) if isinstance(v, float) else v for v in asdict(row).values()]
            for row in table
        ),
    )


def write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with a header, atomically."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(heads)
        table.writerows(rows)


def percent(chance: float) -> str:
    """Never 100 % or 0 %, which no number of battles can show."""
    if chance >= 0.9995:
        return "> 99.9 %"
    return f"{100 * chance:.1f} %" if chance > 0.0005 else "< 0.1 %"
