"""What a tournament leaves beside its results file, all of it made from that file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metamon_ext.arena.rows import BattleRow
from metamon_ext.data.trajectory import safe_player_name
from metamon_ext.evaluation.standings import Rated, write_csv

HEADER = "Player Username, Team File, Opponent Username, Result, Turn Count, Battle ID"
"""Of Metamon's team results, with the blanks."""


def write_battle_logs(folder: Path, rows: Iterable[BattleRow]) -> None:
    """`battle_log_{player}_{format}.csv` as Metamon writes them: every finished battle twice.

    A tie, which Metamon's logs do not know, is a TIE. The battle's number is that in the names of
    its trajectories.
    """
    lines: defaultdict[tuple[str, str], list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        if row.score is None:
            continue
        for player, opponent, team, score in (
            (row.player_a, row.player_b, row.team_a, row.score),
            (row.player_b, row.player_a, row.team_b, 1 - row.score),
        ):
            result = {1.0: "WIN", 0.5: "TIE", 0.0: "LOSS"}[score]
            team_file = f"teams/{row.battle_format}/{team}.{row.battle_format}_team"
            line = (player, team_file, opponent, result, row.turns, int(row.key, 16))
            lines[player, row.battle_format].append(line)
    folder.mkdir(parents=True, exist_ok=True)
    for (player, battle_format), table in lines.items():
        name = f"battle_log_{safe_player_name(player)}_{battle_format}.csv"
        write_csv(folder / name, HEADER.split(","), table)


def results_of(
    rows: Sequence[BattleRow],
    rated: Rated,
    settings: Mapping[str, Any],
    players: Mapping[str, Mapping[str, Any]],
    verdicts: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """What `tournament_results.json` holds. The same battles make the same content.

    Args:
        rated: the same battles, rated.
        settings: what the tournament was asked to do.
        players: what each player is (`PolicyRef.describe`).
        verdicts: of sequential tests, by pairing.
    """
    decisions: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    for row in rows:
        decisions[row.player_a] += row.a_decisions
        decisions[row.player_b] += row.b_decisions
        invalid[row.player_a] += row.a_invalid
        invalid[row.player_b] += row.b_invalid
    ranks = {row.player: row.rank for row in rated.table}
    return {
        "settings": settings,
        "battles": len(rows),
        "unfinished": sum(rated.results.unfinished.values()),
        "unfinished_reasons": Counter(r.reason for r in rows if r.score is None),
        "players": {
            name: {
                **about,
                "rank": ranks.get(name),
                "decisions": decisions[name],
                "invalid_decisions": invalid[name],
            }
            for name, about in players.items()
        },
        "ratings": [asdict(row) for row in rated.table],
        "matchups": [matchup.to_dict() for matchup in rated.found],
        "sprt": [{"player": a, "opponent": b, **v} for (a, b), v in verdicts.items()],
    }
