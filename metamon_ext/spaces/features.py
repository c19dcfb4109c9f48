"""The numbers of `MatchupObservationSpace`: each one's name, its scaling and how it is computed.

The order of names is the order of columns that trained models have learned: append, never reorder.
A feature without a scaling is 1 for yes and 0 for no. Damage is a fraction of the full HP, or of
the HP left ("to_hp"), and at most 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from metamon_ext.spaces.mechanics import (
    HAZARDS,
    SCREENS,
    STATUSES,
    WEATHERS,
    effectiveness,
    move_facts,
)
from metamon_ext.spaces.universal import UniversalMove, UniversalPokemon

TYPES = (
    "normal", "fire", "water", "electric", "grass", "ice", "fighting", "poison", "ground",
    "flying", "psychic", "bug", "rock", "ghost", "dragon", "dark", "steel", "fairy", "stellar",
)  # fmt: skip
EFFECTS = ("substitute", "reflect", "lightscreen", "confusion", "leechseed", "partiallytrapped")
CONDITIONS = (*HAZARDS, *SCREENS, "tailwind")
WEATHER_KINDS = ("rain", "sun", "sandstorm", "hail", "other_weather")
"""In the order of the numbers in `WEATHERS`."""
BOOSTS = (
    "atk_boost", "spa_boost", "def_boost", "spd_boost", "spe_boost", "accuracy_boost",
    "evasion_boost",
)  # fmt: skip
"""Attributes of a Pokémon, stages / 3."""
BASE_STATS = ("base_hp", "base_atk", "base_def", "base_spa", "base_spd", "base_spe")
"""Attributes of a Pokémon, base stats / 100."""
MOVE_FLAGS = (
    "drain", "recoil", "fixed_damage", "self_destruct", "recharge", "charge", "trap", "hazard",
    "screen", "seed", "substitute", "protect", "weather", "phaze", "pivot", "one_hit_ko",
)  # fmt: skip
"""Attributes of `MoveFacts`, as they are."""

_boosts: Callable[[Any], tuple[int, ...]] = attrgetter(*BOOSTS)
_base_stats: Callable[[Any], tuple[int, ...]] = attrgetter(*BASE_STATS)
_move_flags: Callable[[Any], tuple[float, ...]] = attrgetter(*MOVE_FLAGS)


class Situation(NamedTuple):
    """The battle so far. The opponent's team is what has been seen of it."""

    gen: float  # / 9
    decision: float  # how many so far, at most 100, / 50
    forced_switch: float
    can_tera: float
    own_left: float  # Pokémon, / 6
    opponent_left: float  # Pokémon, / 6
    opponent_seen: float  # Pokémon, / 6
    own_hp_left: float  # in Pokémon of full HP, / 6
    opponent_hp_left: float  # in Pokémon of full HP, / 6; unseen ones count as healthy
    own_statuses: float  # Pokémon with a status, / 6
    opponent_statuses: float  # Pokémon with a status, / 6
    opponent_asleep: float
    opponent_frozen: float
    decisions_facing: float  # since the opposing Pokémon came in, at most 10, / 10
    faster: float  # whether our active Pokémon acts first; 0.5 on a tie
    speed_ratio: float  # log2(own speed / opposing speed), within [-2, 2]
    best_damage: float
    best_damage_to_hp: float
    threat: float  # damage of the opponent's best known or likely move
    threat_to_hp: float


class MoveNumbers(NamedTuple):
    """A move of ours against the opposing active Pokémon."""

    is_move: float
    tera: float
    power: float  # base power / 100
    accuracy: float  # probability
    priority: float  # / 3
    physical: float
    special: float
    pp: float  # part that is left
    effectiveness: float  # damage multiplier of the types, / 2
    stab: float
    damage: float
    damage_to_hp: float
    knocks_out: float  # whether the lowest roll does
    moves_first: float  # 0.5 on a tie
    redundant: float  # a status move that can change nothing
    sleep: float  # probability that the move inflicts it on this opponent, as are the next five
    paralysis: float
    freeze: float
    burn: float
    poison: float
    confusion: float
    heal: float  # part of the full HP that it can restore
    boost_offense: float  # stages that can still be gained, / 2, as are the next two
    boost_defense: float
    boost_speed: float
    foe_drops: float  # stages taken from the opponent


class SwitchNumbers(NamedTuple):
    """A Pokémon on the bench against the opposing active Pokémon."""

    faster: float  # 0.5 on a tie
    damage: float
    damage_to_hp: float
    threat: float
    threat_to_hp: float
    threat_effectiveness: float  # highest damage multiplier of the opponent's types, / 2


class Capabilities(NamedTuple):
    """What one of a Pokémon's moves can do."""

    can_sleep: float
    can_paralyze: float
    can_heal: float
    can_self_destruct: float
    can_boost: float  # two stages or more


class PreviousMove(NamedTuple):
    """The move that a side used last."""

    power: float  # base power / 100
    is_status: float
    recharge: float
    charge: float
    self_destruct: float


MOVE_FEATURES = (*MoveNumbers._fields, *MOVE_FLAGS)
SWITCH_FEATURES = (
    "is_switch", "hp", *STATUSES[:-1], *SwitchNumbers._fields, *BASE_STATS, *Capabilities._fields,
)  # fmt: skip
_POKEMON_FEATURES = (
    "hp", "level", *STATUSES, *BOOSTS, *BASE_STATS, *EFFECTS, "other_effect", "known_moves", *TYPES,
)  # fmt: skip
STATE_FEATURES = (
    *Situation._fields, *WEATHER_KINDS, "trick_room", "other_field",
    *(f"own_{name}" for name in (*CONDITIONS, "other_condition")),
    *(f"opponent_{name}" for name in (*CONDITIONS, "other_condition")),
    *(f"own_previous_{name}" for name in PreviousMove._fields),
    *(f"opponent_previous_{name}" for name in PreviousMove._fields),
    *(f"own_active_{name}" for name in _POKEMON_FEATURES),
    *(f"opponent_active_{name}" for name in _POKEMON_FEATURES),
)  # fmt: skip


@cache
def move_flags(gen: int, name: str) -> tuple[float, ...]:
    """The columns of MOVE_FLAGS, which no situation changes."""
    return tuple(map(float, _move_flags(move_facts(gen, name))))


def switch_row(pokemon: UniversalPokemon, numbers: SwitchNumbers, gen: int) -> tuple[float, ...]:
    """The columns of SWITCH_FEATURES."""
    return (
        1.0,
        pokemon.hp_pct,
        *_one_hot(STATUSES[:-1], pokemon.status, "nostatus")[:-1],
        *numbers,
        *_scaled(_base_stats(pokemon), 100),
        *_capabilities(gen, tuple(move.name for move in pokemon.moves)),
    )


def pokemon_row(pokemon: UniversalPokemon) -> tuple[float, ...]:
    """The columns of an active Pokémon: level / 100, known moves / 4."""
    return (
        pokemon.hp_pct,
        pokemon.lvl / 100,
        *_one_hot(STATUSES, pokemon.status, "nostatus")[:-1],
        *_scaled(_boosts(pokemon), 3),
        *_scaled(_base_stats(pokemon), 100),
        *_one_hot(EFFECTS, pokemon.effect, "noeffect"),
        len(pokemon.moves) / 4,
        *_type_row(pokemon.types),
    )


@cache
def condition_row(name: str) -> tuple[float, ...]:
    """The columns of a side's condition."""
    return _one_hot(CONDITIONS, name, "noconditions")


@cache
def weather_row(weather: str) -> tuple[float, ...]:
    """The columns of WEATHER_KINDS."""
    kind = None if weather == "noweather" else WEATHERS.get(weather, len(WEATHER_KINDS) - 1)
    return tuple(float(i == kind) for i in range(len(WEATHER_KINDS)))


def previous_move(gen: int, move: UniversalMove) -> PreviousMove:
    """What the opponents see of a move that was used."""
    facts = move_facts(gen, move.name)
    return PreviousMove(
        power=move.base_power / 100,
        is_status=float(move.category == "status"),
        recharge=float(facts.recharge),
        charge=float(facts.charge),
        self_destruct=float(facts.self_destruct),
    )


@cache
def worst_effectiveness(gen: int, attacker_types: str, defender_types: str) -> float:
    """The highest damage multiplier among the attacker's own types."""
    return max(effectiveness(gen, one, defender_types) for one in attacker_types.split())


@cache
def _one_hot(names: tuple[str, ...], name: str, nothing: str) -> tuple[float, ...]:
    """One column for each name, and a last one for any other name that is not `nothing`."""
    return (*(float(name == one) for one in names), float(name != nothing and name not in names))


@cache
def _type_row(types: str) -> tuple[float, ...]:
    return tuple(float(one in types.split()) for one in TYPES)


@lru_cache(maxsize=65536)
def _scaled(values: tuple[int, ...], scale: int) -> tuple[float, ...]:
    return tuple(value / scale for value in values)


@lru_cache(maxsize=65536)
def _capabilities(gen: int, names: tuple[str, ...]) -> Capabilities:
    facts = [move_facts(gen, name) for name in names]
    return Capabilities(
        can_sleep=float(any(f.sleep for f in facts)),
        can_paralyze=float(any(f.paralysis for f in facts)),
        can_heal=float(any(f.heal for f in facts)),
        can_self_destruct=float(any(f.self_destruct for f in facts)),
        can_boost=float(any(f.boost_offense + f.boost_defense + f.boost_speed > 1 for f in facts)),
    )
