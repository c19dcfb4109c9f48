"""The battles of a tournament, read from its folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from metamon_ext.arena.store import query_results
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError, first_few
from metamon_ext.evaluation.battle_logs import find_logs, read_logs
from metamon_ext.evaluation.games import LOSS, TIE, UNFINISHED, WIN, Games

Battle = tuple[str, str, int, int, int, str]
"""Players a and b, outcome for a, pair, whether it is the pair's mirrored battle, format."""


@dataclass(frozen=True)
class Results:
    """A tournament's battles, of these `formats`.

    `games` are the finished ones in the order of playing: pair after pair, in each of them one
    matchup after the other. `unfinished` counts those without a result by players. `turns` is the
    mean length of a player's battles, `invalid` the share of its choices that the simulator
    refused (empty where that was not recorded). `notes` are sentences that a reader of the ratings
    must know, above all what the files leave open.
    """

    games: Games
    unfinished: Mapping[tuple[str, str], int]
    turns: Mapping[str, float]
    invalid: Mapping[str, float]
    formats: Sequence[str]
    notes: Sequence[str]


def read_tournament(folder: Path) -> Results:
    """Read `results.sqlite`, or else battle logs as Metamon writes them (`team_results/*.csv` or
    `*.csv`). Raises UserError where there is neither, and where no battle finished."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name that of a tournament")
    store = folder / RESULTS
    if store.is_file():
        try:
            results = _read_store(store)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{store} is damaged: a value of {error} is in it") from None
    elif paths := find_logs(folder):
        logs = read_logs(paths)
        battles = (
            (player, opponent, outcome, number, 0, battle_format)
            for (player, opponent, battle_format), outcomes in logs.outcomes.items()
            for number, outcome in enumerate(outcomes)
        )
        results = _in_order(battles, logs.lengths, {}, logs.notes)
    else:
        raise UserError(
            f"{folder} has neither results.sqlite nor battle logs as Metamon writes them: "
            "name the folder of a tournament"
        )
    if not len(results.games):
        what = f"nothing to rate in {folder}: no battle of two different players finished."
        raise UserError(" ".join([what, *results.notes]))
    return results


def _read_store(path: Path) -> Results:
    """Players are named in the order of their matchup, whoever sat where."""
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(4))
    for seat in ("p1", "p2"):
        columns = f"COUNT(*), SUM(turns), SUM({seat}_decisions), SUM({seat}_invalid)"
        query = f"SELECT {seat}, {columns} FROM battles WHERE outcome != 'unfinished' GROUP BY 1"
        for player, *values in query_results(path, query):
            sums[player] += values
    query = (
        "SELECT reason, COUNT(*) FROM battles WHERE outcome = 'unfinished'"
        " GROUP BY reason ORDER BY COUNT(*) DESC, reason"
    )
    reasons = [f"{reason} ({count:,})" for reason, count in query_results(path, query)]
    return _in_order(
        _battles(path),
        turns={player: float(n[1] / n[0]) for player, n in sums.items()},
        invalid={player: float(n[3] / n[2]) for player, n in sums.items() if n[2]},
        notes=[f"Unfinished battles count for nobody: {', '.join(reasons)}."] if reasons else [],
    )


def _battles(path: Path) -> Iterator[Battle]:
    query = "SELECT p1, p2, outcome, pair, mirrored, battle_format FROM battles"
    straight = {"p1": WIN, "tie": TIE, "p2": LOSS, "unfinished": UNFINISHED}
    swapped = straight | {"p1": LOSS, "p2": WIN}
    for p1, p2, outcome, pair, mirrored, battle_format in query_results(path, query):
        if mirrored:
            yield p2, p1, swapped[outcome], pair, 1, battle_format
        else:
            yield p1, p2, straight[outcome], pair, 0, battle_format


def _in_order(
    battles: Iterable[Battle],
    turns: Mapping[str, float],
    invalid: Mapping[str, float],
    notes: Iterable[str],
) -> Results:
    """The results in the order of playing, in whatever order the battles come."""
    names, formats, (a, b, outcome, pair, mirrored, format_) = _columns(battles)
    # Pairs of two formats, or of a matchup that was arranged both ways, have the same numbers.
    unique = (pair * max(len(formats), 1) + format_) * 2 + (a > b)
    # By distance of the names: so nobody has all its battles of a round in a row.
    playing = np.lexsort((mirrored, b, a, np.abs(a - b), format_, pair))
    a, b, outcome, unique = a[playing], b[playing], outcome[playing], unique[playing]

    alone = a == b
    notes = list(notes)
    if alone.any():
        notes.append(
            "Battles of a player against its own name, left out as they say nothing of its strength"
            f" or two players go by it: {alone.sum():,} "
            f"({first_few([names[i] for i in np.unique(a[alone])])})."
        )
    if len(formats) > 1:
        notes.append(f"Battles of {', '.join(formats)} are rated together.")
    open_ = (outcome == UNFINISHED) & ~alone
    done = (outcome != UNFINISHED) & ~alone
    games = Games(names, a[done], b[done], unique[done], outcome[done])
    rated = {*np.unique([games.a, games.b])}
    if never := [names[i] for i in np.unique([a[open_], b[open_]]) if i not in rated]:
        notes.append(f"Not rated, as none of their battles finished: {first_few(never)}.")
    if (groups := _groups(games)) > 1:
        notes.append(
            f"The players fall into {groups} groups that have not met: ratings compare players of "
            "one group, not of two."
        )
    return Results(
        games,
        Counter((names[i], names[j]) for i, j in zip(a[open_], b[open_], strict=True)),
        turns,
        invalid,
        formats,
        notes,
    )


def _columns(
    battles: Iterable[Battle],
) -> tuple[list[str], list[str], Sequence[NDArray[np.int64]]]:
    """The players and the formats in order, and the battles by columns with these as numbers."""
    players: dict[str, int] = {}
    formats: dict[str, int] = {}
    coded = (
        (
            players.setdefault(a, len(players)),
            players.setdefault(b, len(players)),
            outcome,
            pair,
            mirrored,
            formats.setdefault(battle_format, len(formats)),
        )
        for a, b, outcome, pair, mirrored, battle_format in battles
    )
    chunks = [np.zeros((0, 6), dtype=np.int64)]
    while chunk := list(islice(coded, 100_000)):
        chunks.append(np.array(chunk, dtype=np.int64))
    a, b, outcome, pair, mirrored, format_ = np.concatenate(chunks).T
    names, rank = _sorted(players)
    format_names, format_rank = _sorted(formats)
    return names, format_names, (rank[a], rank[b], outcome, pair, mirrored, format_rank[format_])


def _groups(games: Games) -> int:
    """How many groups of players there are that are not linked by any games."""
    k = len(games.players)
    met = coo_array((np.ones(len(games)), (games.a, games.b)), shape=(k, k))
    _, labels = connected_components(met, directed=False)
    return len(np.unique(labels[np.unique([games.a, games.b])]))


def _sorted(names: Iterable[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The names in order, and the place there of each of them as they came."""
    ordered = sorted(names)
    place = {name: i for i, name in enumerate(ordered)}
    return ordered, np.array([place[name] for name in names], dtype=np.int64)
