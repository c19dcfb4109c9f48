"""What a tournament says of each player, as one table, and the files that hold it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from metamon_ext.evaluation.elo import gxe
from metamon_ext.evaluation.games import LOSS, TIE, WIN
from metamon_ext.evaluation.ratings import Rating
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
    """A table with a header, whole or not at all."""
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
