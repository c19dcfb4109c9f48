"""Metamon's universal state as plain dataclasses, for where Metamon is not installed.

The fields, their order and their meaning are those of `metamon.interface` 1.5.1 and of its
trajectory files ("parsed replays"), so that a reward function or an observation space that only
touches fields works on Metamon's own objects and on these alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class UniversalMove:
    """One move. `accuracy` is a probability; names and types are lowercase letters only."""

    name: str
    move_type: str
    category: str
    base_power: int
    accuracy: float
    priority: int
    current_pp: int
    max_pp: int

    @classmethod
    def blank(cls) -> UniversalMove:
        """The move of somebody who has not moved yet."""
        return cls("nomove", "nomove", "nomove", 0, 1.0, 0, 0, 0)


@dataclass(slots=True)
class UniversalPokemon:
    """One Pokémon as its observer knows it. `hp_pct` is in [0, 1], boosts in [-6, 6]."""

    name: str
    hp_pct: float
    types: str
    item: str
    ability: str
    lvl: int
    status: str
    effect: str
    moves: list[UniversalMove]
    atk_boost: int
    spa_boost: int
    def_boost: int
    spd_boost: int
    spe_boost: int
    accuracy_boost: int
    evasion_boost: int
    base_atk: int
    base_spa: int
    base_def: int
    base_spd: int
    base_spe: int
    base_hp: int
    tera_type: str
    base_species: str

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> UniversalPokemon:
        """Inverse of `dataclasses.asdict`; older files lack `tera_type` and `base_species`."""
        moves = [UniversalMove(**move) for move in data["moves"][:4]]
        versioned = {"tera_type": "notype", "base_species": data["name"].split("-")[0].strip()}
        return cls(**(versioned | data | {"moves": moves}))


@dataclass(slots=True)
class UniversalState:
    """What one player knows when it is asked for an action."""

    format: str
    player_active_pokemon: UniversalPokemon
    opponent_active_pokemon: UniversalPokemon
    available_switches: list[UniversalPokemon]
    player_prev_move: UniversalMove
    opponent_prev_move: UniversalMove
    opponents_remaining: int
    player_conditions: str
    opponent_conditions: str
    weather: str
    battle_field: str
    forced_switch: bool
    battle_won: bool
    battle_lost: bool
    can_tera: bool
    opponent_teampreview: list[str]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> UniversalState:
        """Read one entry of a trajectory file's `states`.

        Raises KeyError, TypeError or AttributeError where it is not a universal state.
        """
        versioned: dict[str, Any] = {"can_tera": False, "opponent_teampreview": []}
        nested: dict[str, Any] = {
            "player_active_pokemon": UniversalPokemon.from_dict(data["player_active_pokemon"]),
            "opponent_active_pokemon": UniversalPokemon.from_dict(data["opponent_active_pokemon"]),
            "available_switches": [
                UniversalPokemon.from_dict(pokemon) for pokemon in data["available_switches"]
            ],
            "player_prev_move": UniversalMove(**data["player_prev_move"]),
            "opponent_prev_move": UniversalMove(**data["opponent_prev_move"]),
        }
        return cls(**(versioned | data | nested))

    def to_dict(self) -> dict[str, Any]:
        """The entry that a trajectory file holds: Metamon's own keys, in its order."""
        return asdict(self)
