"""Small but valid universal states and trajectory files, as plain dictionaries."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from metamon_ext.data.trajectory import TrajectoryName, write_trajectory


def make_move(name: str = "psychic", **changes: Any) -> dict[str, Any]:
    move = {
        "name": name,
        "move_type": "psychic",
        "category": "special",
        "base_power": 90,
        "accuracy": 1.0,
        "priority": 0,
        "current_pp": 16,
        "max_pp": 16,
    }
    return move | changes


def make_pokemon(name: str = "alakazam", **changes: Any) -> dict[str, Any]:
    boosts = ("atk", "spa", "def", "spd", "spe", "accuracy", "evasion")
    pokemon = {
        "name": name,
        "hp_pct": 1.0,
        "types": "psychic notype",
        "item": "noitem",
        "ability": "noability",
        "lvl": 100,
        "status": "nostatus",
        "effect": "noeffect",
        "moves": [make_move(move) for move in ("psychic", "recover", "seismictoss", "thunderwave")],
        **{f"{stat}_boost": 0 for stat in boosts},
        **{f"base_{stat}": 100 for stat in ("atk", "spa", "def", "spd", "spe", "hp")},
        "tera_type": "notype",
        "base_species": name,
    }
    return pokemon | changes


def make_state(**changes: Any) -> dict[str, Any]:
    """A state with four moves and two switches: actions 0 to 5 are possible."""
    state = {
        "format": "gen1ou",
        "player_active_pokemon": make_pokemon(),
        "opponent_active_pokemon": make_pokemon("tauros"),
        "available_switches": [make_pokemon("snorlax"), make_pokemon("starmie")],
        "player_prev_move": make_move("nomove"),
        "opponent_prev_move": make_move("nomove"),
        "opponents_remaining": 6,
        "player_conditions": "noconditions",
        "opponent_conditions": "noconditions",
        "weather": "noweather",
        "battle_field": "nofield",
        "forced_switch": False,
        "battle_won": False,
        "battle_lost": False,
        "can_tera": False,
        "opponent_teampreview": [],
    }
    return state | changes


def make_battle(
    decisions: int = 3, outcome: str = "WIN", **changes: Any
) -> tuple[list[dict[str, Any]], list[int]]:
    """States and actions of a finished battle; `changes` go into every state."""
    states = [make_state(opponents_remaining=6 - turn % 6, **changes) for turn in range(decisions)]
    states.append(
        make_state(**{"battle_won": outcome == "WIN", "battle_lost": outcome == "LOSS"} | changes)
    )
    return states, [turn % 4 for turn in range(decisions)] + [-1]


def make_name(number: int = 0, **changes: Any) -> TrajectoryName:
    fields = {
        "battle_id": f"metamon-gen1ou-{number:010d}",
        "rating": None,
        "player": "red",
        "opponent": "blue",
        "date": datetime(2026, 11, 21, 8, 30, 5),
        "outcome": "WIN",
    }
    return TrajectoryName(**(fields | changes))


def write_battle(root: Path, number: int = 0, decisions: int | None = None, **changes: Any) -> Path:
    """Write battle `number` into `root/gen1ou`; battles of different length differ."""
    states, actions = make_battle(number + 1 if decisions is None else decisions)
    return write_trajectory(root / "gen1ou", make_name(number, **changes), states, actions)
