"""Small raw replays, as Metamon's data set and PokéChamp's have them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PLACEHOLDER = {
    "id": "game_0_0",
    "log": "",
    "winner": "",
    "players": [],
    "format": "gen9ou",
    "endType": "normal",
}
"""Every record of a public download of 3.5 million battles."""


def make_log(
    number: int = 0,
    players: tuple[str, str] = ("mist98895", "typhlosion10919"),
    ratings: tuple[int | str, int | str] = (1500, 1400),
    tier: str = "[Gen 1] OU",
    end: str | None = None,
) -> str:
    """A battle of six turns; no two numbers give the same."""
    p1, p2 = players
    lines = [
        f"|j|☆{p1}",
        f"|player|p1|{p1}|1|{ratings[0]}",
        f"|player|p2|{p2}|2|{ratings[1]}",
        "|gametype|singles",
        "|gen|1",
        f"|tier|{tier}",
        "|rule|Species Clause: Limit one of each Pokémon",
        "|start",
        "|switch|p1a: Jynx|Jynx|333/333",
        "|switch|p2a: Alakazam|Alakazam|313/313",
    ]
    for turn in range(1, 7):
        health = 300 - turn - 7 * number
        lines += [f"|turn|{turn}", f"|c|☆{p1}|gg {number}", "|"]
        lines += ["|move|p1a: Jynx|Psychic|p2a: Alakazam", f"|-damage|p2a: Alakazam|{health}/313"]
    lines += [f"|win|{p2}" if end is None else end, "|player|p1|"]
    return "\n".join(lines)


def make_replay(number: int = 0, **changes: Any) -> dict[str, Any]:
    """As in Metamon's raw replays; `changes` go into the record, those of `make_log` into it."""
    known = ("players", "ratings", "tier", "end")
    log = make_log(number, **{key: changes.pop(key) for key in known if key in changes})
    replay = {
        "id": f"gen1ou-{316031019 + number}",
        "format": "[Gen 1] OU",
        "players": ["mist98895", "typhlosion10919"],
        "log": log,
        "uploadtime": 1452480109 + 86400 * number,
        "formatid": "gen1ou",
        "rating": "None",
    }
    return replay | changes


def make_pokechamp(number: int = 0, elo: str = "1200-1399", **changes: Any) -> dict[str, Any]:
    """As in the records of PokéChamp's data set."""
    record = {
        "month_year": "March2024",
        "elo": elo,
        "gamemode": "gen1ou",
        "battle_id": f"gen1ou-{number}",
        "text": make_log(number, ("a_b c", "Zoë/x"), ("", "")),
    }
    return record | changes


def write_replay(root: Path, number: int = 0, **changes: Any) -> Path:
    """A file where Metamon's replay parser looks for it."""
    replay = make_replay(number, **changes)
    path = root / "gen1" / "ou" / f"{replay['id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(replay))
    return path


def write_lines(path: Path, records: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_parquet(path: Path, records: list[dict[str, Any]], rows: int = 50) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=rows)
    return path
