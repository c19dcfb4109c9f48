"""What a tournament leaves beside its results file, all of it made from that file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metamon_ext.arena.store import BattleRow
from metamon_ext.data.trajectory import safe_player_name
from metamon_ext.evaluation.games import games_of
from metamon_ext.evaluation.ratings import bradley_terry
from metamon_ext.evaluation.report import matchups
from metamon_ext.evaluation.standings import write_csv

HEADER = "Player Username, Team File, Opponent Username, Result, Turn Count, Battle ID"
"""Of Metamon's team results, with the blanks."""


def write_battle_logs(folder: Path, rows: Iterable[BattleRow]) -> None:
    """`battle_log_{player}_{format}.csv` as Metamon writes them: every finished battle twice.

    A tie, which Metamon's logs do not know, is a TIE. The battle's number is that in the names of
    its trajectories; in a pair's battle it tells which of two equal players is meant by the seat.
    """
    lines: defaultdict[tuple[str, str], list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        if row.outcome == "unfinished":
            continue
        for seat, player, opponent, team in (
            ("p1", row.p1, row.p2, row.p1_team),
            ("p2", row.p2, row.p1, row.p2_team),
        ):
            result = {"tie": "TIE", seat: "WIN"}.get(row.outcome, "LOSS")
            team_file = f"teams/{row.battle_format}/{team}.{row.battle_format}_team"
            line = (player, team_file, opponent, result, row.turns, int(row.key, 16))
            lines[player, row.battle_format].append(line)
    folder.mkdir(parents=True, exist_ok=True)
    for (player, battle_format), table in lines.items():
        name = f"battle_log_{safe_player_name(player)}_{battle_format}.csv"
        write_csv(folder / name, HEADER.split(","), table)


def results_of(
    rows: Sequence[BattleRow],
    settings: Mapping[str, Any],
    players: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """What `tournament_results.json` holds. The same battles make the same content.

    Args:
        settings: what the tournament was asked to do.
        players: what each player is (`PolicyRef.describe`).
        verdicts: of sequential tests, by pairing.
    """
    games, unfinished = games_of(rows)
    ratings = bradley_terry(games)
    decisions: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    for row in rows:
        decisions[row.p1] += row.p1_decisions
        decisions[row.p2] += row.p2_decisions
        invalid[row.p1] += row.p1_invalid
        invalid[row.p2] += row.p2_invalid
    ranks = {rating.player: rank for rank, rating in enumerate(ratings, start=1)}
    return {
        "settings": settings,
        "battles": len(rows),
        "unfinished": sum(unfinished.values()),
        "unfinished_reasons": Counter(r.reason for r in rows if r.outcome == "unfinished"),
        "players": {
            name: {
                **about,
                "rank": ranks.get(name),
                "decisions": decisions[name],
                "invalid_decisions": invalid[name],
            }
            for name, about in players.items()
        },
        "ratings": [asdict(rating) for rating in ratings],
        "matchups": [m.to_dict() for m in matchups(ratings, games, unfinished)],
        "sprt": [{"player": a, "opponent": b, **v} for (a, b), v in verdicts.items()],
    }
