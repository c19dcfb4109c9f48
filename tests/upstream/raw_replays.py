"""Raw replays of battles that the simulator plays here, and usage statistics of our own teams.

What one seat is told is what a spectator sees, but that its own health is exact. What spectators
were told of one battle in each of four generations is in `SPECTATED`, in the words of the site.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from metamon_ext.arena.simulator.process import Simulator
from metamon_ext.arena.teams import SAMPLE_TEAMS

PLAYERS = ("ash_k", "Gary Oak")
SPECTATED = Path(__file__).parents[1] / "data" / "spectated_replays.jsonl"
"""By simple_heuristics and random players in gen2ou, gen3ou, gen4ou and gen9ou, with nicknames,
chat, ratings, and two that somebody gave up."""


def play(count: int, battle_format: str = "gen1ou") -> list[dict[str, Any]]:
    """Battles between random players, as Metamon's raw replays have them."""
    exports = [path.read_text() for path in sorted((SAMPLE_TEAMS / battle_format).iterdir())]
    with Simulator() as simulator:
        teams = [team["packed"] for team in simulator.ask("validate", battle_format, exports)]
        return [_play(simulator, battle_format, number, teams) for number in range(count)]


def _play(simulator: Simulator, battle_format: str, number: int, teams: list[str]) -> Any:
    chance = random.Random(number)
    seats = ("p1", "p2")
    start: dict[str, Any] = {"format": battle_format, "seed": f"{number},2,3,4"}
    for seat, name in zip(seats, PLAYERS, strict=True):
        start[seat] = {"name": name, "team": chance.choice(teams), "seed": f"{number},6,7,8"}
    simulator.send([["start", number, start]])
    log: list[str] = []
    while True:
        for _, _, lines, requests, _, end in simulator.receive(60):
            log += [line for line in lines[0].split("\n") if line]
            if end is not None:
                return _record(battle_format, number, log)
            asked = zip(seats, requests, strict=True)
            choices = [(seat, choose(request, chance)) for seat, request in asked if request]
            simulator.send(["choose", number, *choice] for choice in choices if choice[1])


def choose(request: dict[str, Any], chance: random.Random) -> str | None:
    """A random choice, mostly of a move; None where nothing is asked."""
    if request.get("wait"):
        return None
    team = request["side"]["pokemon"]
    bench = [
        f"switch {place}"
        for place, pokemon in enumerate(team, 1)
        if not pokemon["active"] and not pokemon["condition"].endswith("fnt")
    ]
    if request.get("forceSwitch"):
        return chance.choice(bench)
    active = request["active"][0]
    moves = [f"move {i}" for i, move in enumerate(active["moves"], 1) if not move.get("disabled")]
    trapped = active.get("trapped") or active.get("maybeTrapped")
    return chance.choice(bench if bench and not trapped and chance.random() < 0.15 else moves)


def _record(battle_format: str, number: int, log: list[str]) -> dict[str, Any]:
    return {
        "id": f"{battle_format}-{1000 + number}",
        "format": battle_format,
        "players": list(PLAYERS),
        "log": "\n".join(log),
        "uploadtime": 1452480109,
        "formatid": battle_format,
        "rating": None,
    }


def write_statistics(cache: Path, battle_format: str = "gen1ou") -> None:
    """Usage statistics in Metamon's cache, as if everybody played our sample teams."""
    statistics: dict[str, dict[str, Any]] = {}
    for team in sorted((SAMPLE_TEAMS / battle_format).iterdir()):
        blocks = team.read_text().strip().split("\n\n")
        names = [re.split(" [(@]", block.splitlines()[0])[0].strip() for block in blocks]
        for name, block in zip(names, blocks, strict=True):
            sets = statistics.setdefault(_id(name), {"count": 100, "checks": {}})
            for kind, values in _used(block).items():
                sets.setdefault(kind, {}).update(dict.fromkeys(values, 1.0))
            teammates = sets.setdefault("teammates", {})
            teammates.update({other: 0.5 for other in names if other != name})
    for kind in ("movesets_data", "checks_data"):
        for tier in (battle_format[4:], "ubers", "all_tiers"):
            folder = cache / "usage-stats" / kind / battle_format[:4] / tier
            folder.mkdir(parents=True)
            for month in ("2016-01", "2024-06"):
                (folder / f"{month}.json").write_text(json.dumps(statistics))


def _used(block: str) -> dict[str, list[str]]:
    """What the set of one Pokémon adds to its statistics, in Smogon's words."""
    first, *lines = (line.strip() for line in block.splitlines())
    told = dict(line.split(": ", 1) for line in lines if ": " in line)
    return {
        "abilities": [told.get("Ability", "No Ability")],
        "items": [first.partition(" @ ")[2] or "Nothing"],
        "spreads": ["Serious:85/85/85/85/85/85"],
        "moves": [re.sub(r"[][]", "", line[2:]) for line in lines if line.startswith("- ")],
        "tera_types": [told.get("Tera Type", "Nothing")],
    }


def _id(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
