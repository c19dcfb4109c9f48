"""The battles of a tournament, read from its folder or from a head-to-head table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from metamon_ext.arena.rows import BattleRow, player_names, query_results
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError, first_few
from metamon_ext.evaluation.battle_logs import find_logs, read_logs
from metamon_ext.evaluation.games import Games
from metamon_ext.evaluation.head_to_head_csv import read_table

Battle = tuple[str, str, float | None, int, int, int, str]
"""Players a and b, the score of a (None: unfinished), the number of the pair in its pairing,
whether it is the pair's mirrored battle, the seed of the pair, format."""


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
            (player, opponent, score, number, 0, number, battle_format)
            for (player, opponent, battle_format), scores in logs.scores.items()
            for number, score in enumerate(scores)
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


def read_head_to_head(path: Path) -> Results:
    """Read a CSV with the columns player, opponent, wins, losses and ties.

    It does not say which games are mirrored, nor in what order they were played: each game is a
    pair of its own, and the order is random, with a fixed seed. Raises UserError for a table that
    is not one.
    """
    table = read_table(path)
    number = iter(np.random.default_rng(0).permutation(sum(map(sum, table.values()))).tolist())
    battles = (
        (player, opponent, score, game, 0, game, "")
        for (player, opponent), (wins, losses, ties) in table.items()
        for score, count in ((1.0, wins), (0.0, losses), (0.5, ties))
        for game in islice(number, count)
    )
    results = _in_order(battles, {}, {}, [])
    rated = {
        results.games.players[i] for i in {*results.games.a.tolist(), *results.games.b.tolist()}
    }
    idle = sorted({player for players in table for player in players} - rated)
    notes = [f"Left out, as they have no games: {first_few(idle)}."] if idle else []
    return replace(results, formats=[], notes=[*results.notes, *notes])


def collect(rows: Iterable[BattleRow]) -> Results:
    """The results of battles that are in memory."""
    rows = list(rows)
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(4))
    for row in rows:
        if row.score is not None:
            sums[row.player_a] += (1, row.turns, row.a_decisions, row.a_invalid)
            sums[row.player_b] += (1, row.turns, row.b_decisions, row.b_invalid)
    battles = (
        (r.player_a, r.player_b, r.score, r.pair, r.mirrored, r.seed, r.battle_format) for r in rows
    )
    return _in_order(battles, *_means(sums), [])


def _means(
    sums: Mapping[str, NDArray[np.float64]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean turns and invalid rate by player, from battles, turns, decisions and invalid ones."""
    turns = {player: float(n[1] / n[0]) for player, n in sums.items()}
    return turns, {player: float(n[3] / n[2]) for player, n in sums.items() if n[2]}


def _read_store(path: Path) -> Results:
    names = player_names(path)
    conditions = {
        number: tuple(values) for number, *values in query_results(path, "SELECT * FROM conditions")
    }
    sums: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(4))
    for seat in ("a", "b"):
        columns = f"COUNT(*), SUM(turns), SUM({seat}_decisions), SUM({seat}_invalid)"
        query = f"SELECT player_{seat}, {columns} FROM battles WHERE score IS NOT NULL GROUP BY 1"
        for player, *values in query_results(path, query):
            sums[names[player]] += values
    query = (
        "SELECT reason, COUNT(*) FROM battles WHERE score IS NULL"
        " GROUP BY reason ORDER BY COUNT(*) DESC, reason"
    )
    reasons = [f"{reason} ({count:,})" for reason, count in query_results(path, query)]
    notes = [f"Unfinished battles are excluded: {', '.join(reasons)}."] if reasons else []
    if len(conditions) > len({values[0] for values in conditions.values()}):
        notes.append(
            "Battles on different teams, with different turn limits or on different versions of "
            "the simulator are rated together."
        )
    query = "SELECT player_a, player_b, score, pair, mirrored, seed, conditions FROM battles"
    battles = (
        (names[a], names[b], *numbers, conditions[number][0])
        for a, b, *numbers, number in query_results(path, query)
    )
    return _in_order(battles, *_means(sums), notes)


def _in_order(
    battles: Iterable[Battle],
    turns: Mapping[str, float],
    invalid: Mapping[str, float],
    notes: Iterable[str],
) -> Results:
    """The results in the order of playing, in whatever order the battles come."""
    names, formats, (a, b, score, pair, mirrored, seed, format_) = _columns(battles)
    # In files of old, and in battle logs, pairs of two formats have the same seeds.
    _, unique = np.unique(seed, return_inverse=True)
    unique = (unique * max(len(formats), 1) + format_) * 2 + (a > b)
    # By distance of the names: so no player has all its battles of a round in a row.
    playing = np.lexsort((mirrored, unique, b, a, np.abs(a - b), format_, pair))
    a, b, score, unique = a[playing], b[playing], score[playing], unique[playing]

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
    open_ = np.isnan(score) & ~alone
    done = ~np.isnan(score) & ~alone
    games = Games(names, a[done], b[done], unique[done], score[done])
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
) -> tuple[list[str], list[str], Sequence[NDArray[Any]]]:
    """The players and the formats in order, and the battles by columns with these as numbers."""
    players: dict[str, int] = {}
    formats: dict[str, int] = {}
    coded = (
        (
            players.setdefault(a, len(players)),
            players.setdefault(b, len(players)),
            score,
            *numbers,
            formats.setdefault(battle_format, len(formats)),
        )
        for a, b, score, *numbers, battle_format in battles
    )
    types = [np.int64, np.int64, np.float64, np.int64, np.int64, np.int64, np.int64]
    chunks: list[list[NDArray[Any]]] = [[np.zeros(0, dtype) for dtype in types]]
    while chunk := list(islice(coded, 100_000)):
        columns = zip(types, zip(*chunk, strict=True), strict=True)
        chunks.append([np.array(column, dtype) for dtype, column in columns])
    a, b, score, pair, mirrored, seed, format_ = map(np.concatenate, zip(*chunks, strict=True))
    names, rank = _sorted(players)
    format_names, format_rank = _sorted(formats)
    numbers = (pair, mirrored, seed, format_rank[format_])
    return names, format_names, (rank[a], rank[b], score, *numbers)


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
