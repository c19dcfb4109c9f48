"""From poke-env's battle to Metamon's universal state, where Metamon is not installed.

Follows what `UniversalState.from_Battle` of Metamon 1.5.1 says of its own battle object
(`battle_backend="metamon"`). `tests/arena/tracking/test_state.py` compares the two on recorded
battles and lists the fields that cannot agree, each with its reason.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from poke_env.battle.move import Move
from poke_env.battle.pokemon import Pokemon
from poke_env.battle.pokemon_type import PokemonType
from poke_env.battle.status import Status

from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle, belongs_to_a_pokemon
from metamon_ext.spaces.actions import letters_and_digits
from metamon_ext.spaces.universal import UniversalMove, UniversalPokemon, UniversalState


@lru_cache(1 << 13)
def letters(name: str) -> str:
    """Lowercase letters only."""
    return "".join(filter(str.isalpha, name)).lower()


@lru_cache(1 << 13)
def move_name(move_id: str) -> str:
    """Metamon's name of a move: letters only, one for all types of Hidden Power."""
    name = letters(move_id)
    for family in ("hiddenpower", "return", "frustration"):
        if name.startswith(family):
            return family
    return "visegrip" if name == "vicegrip" else name


@lru_cache(1 << 13)
def _full_move(move_id: str, gen: int) -> UniversalMove:
    """A move with full PP. Shared: never change it."""
    if move_id.startswith("hiddenpower"):
        move_id = "hiddenpower"  # the files have neither its type nor its power
    move = Move(move_id, gen)
    pp = 64 if move.max_pp == 61 else move.max_pp  # the cartridge's six bits; the files say 64
    return UniversalMove(
        name=move_name(move_id),
        move_type=letters_and_digits(move.type.name),
        category=letters_and_digits(move.category.name),
        base_power=move.base_power,
        accuracy=move.accuracy,
        priority=move.priority,
        current_pp=pp,
        max_pp=pp,
    )


def universal_move(move: Move) -> UniversalMove:
    """A move as the files have it."""
    full = _full_move(move.id, move.gen)
    missing = move.max_pp - move.current_pp
    return replace(full, current_pp=full.max_pp - missing) if missing else full


def previous_move(battle: TrackedBattle, pokemon: Pokemon) -> UniversalMove:
    """The move that a Pokémon has last used in this battle, with full PP as in the files."""
    move_id = battle.previous_moves.get(id(pokemon))
    if move_id is None or not (move_id == "struggle" or belongs_to_a_pokemon(move_id, battle.gen)):
        return UniversalMove.blank()
    return _full_move(move_id, battle.gen)


@lru_cache(1 << 10)
def _type_names(types: tuple[PokemonType | None, ...]) -> str:
    return " ".join(sorted("notype" if t is None else letters_and_digits(t.name) for t in types))


def _latest(named: dict[Any, int] | None, none: str, first: bool = False) -> str:
    """The name of what began last; of effects, whose numbers are ages, the youngest."""
    if not named:
        return none
    choose = min if first else max
    return letters(choose(named, key=named.__getitem__).name)


def known_moves(battle: TrackedBattle, pokemon: Pokemon) -> list[Move]:
    """Up to four moves that the seat knows a Pokémon to have, in no particular order.

    While the own active Pokémon is locked into a move (Outrage, Sky Attack) the request names no
    other, and then neither does Metamon.
    """
    moves = pokemon.moves
    if pokemon.active and len(battle.available_moves) == 1 and pokemon is battle.active_pokemon:
        offered = battle.last_request.get("active", [{}])[0].get("moves", [])
        if len(offered) == 1 and offered[0]["id"] in moves:
            return [moves[offered[0]["id"]]]
    if len(moves) > 4 and pokemon._last_request:  # one has become another, as Zacian's Iron Head
        has = {Move.retrieve_id(move_id) for move_id in pokemon._last_request["moves"]}
        return [move for move_id, move in moves.items() if move_id in has]
    return list(moves.values())[:4]


def universal_pokemon(battle: TrackedBattle, pokemon: Pokemon) -> UniversalPokemon:
    """A Pokémon as the seat that the battle belongs to knows it.

    As in the files, the tera type replaces its types until it switches out, and transforming
    changes neither its types nor its base stats.
    """
    own = pokemon._last_request  # only own Pokémon occur in requests
    boosts, stats = pokemon.boosts, pokemon._base_stats
    first: PokemonType | None = pokemon._type_1
    second = pokemon._type_2
    if pokemon._temporary_types and not pokemon.transformed:
        first, second = (*pokemon._temporary_types, None)[:2]
    if id(pokemon) in battle.showing_tera:
        first, second = pokemon.tera_type, None
    tera_type = pokemon.tera_type
    if tera_type is None and own and own.get("teraType"):
        tera_type = PokemonType.from_name(own["teraType"])
    item = pokemon.item
    ability = pokemon.base_ability if own else pokemon.ability
    if ability is None:
        ability = "noability" if pokemon.gen <= 2 else "unknownability"
    return UniversalPokemon(
        name=letters_and_digits(pokemon.species),
        hp_pct=float(pokemon.current_hp_fraction),
        types=_type_names((first, second)),
        item="unknownitem" if item == "unknown_item" else letters(item or "noitem"),
        ability=letters(ability),
        lvl=pokemon.level,
        status="nostatus" if pokemon.status is None else letters(pokemon.status.name),
        effect=_latest(battle.announced_effects.get(id(pokemon)), "noeffect", first=True),
        moves=[universal_move(move) for move in known_moves(battle, pokemon)],
        atk_boost=boosts["atk"],
        spa_boost=boosts["spa"],
        def_boost=boosts["def"],
        spd_boost=boosts["spd"],
        spe_boost=boosts["spe"],
        accuracy_boost=boosts["accuracy"],
        evasion_boost=boosts["evasion"],
        base_atk=stats["atk"],
        base_spa=stats["spa"],
        base_def=stats["def"],
        base_spd=stats["spd"],
        base_spe=stats["spe"],
        base_hp=stats["hp"],
        tera_type=_type_names((tera_type,)),
        base_species=letters_and_digits(pokemon.base_species),
    )


def bench(battle: TrackedBattle) -> list[Pokemon]:
    """The Pokémon that Metamon offers as switches: inactive and alive (to revive: fainted)."""
    return [
        pokemon
        for pokemon in battle.team.values()
        if pokemon.fainted == battle.reviving and not pokemon.active
    ]


def universal_state(battle: TrackedBattle) -> UniversalState:
    """What the seat knows now. Both sides must have a Pokémon on the field."""
    active, opponent = battle.active_pokemon, battle.opponent_active_pokemon
    assert active is not None and opponent is not None, "no state before both sides have sent out"
    fainted = sum(pokemon.status is Status.FNT for pokemon in battle.opponent_team.values())
    return UniversalState(
        format=battle.battle_tag.split("-")[1],
        player_active_pokemon=universal_pokemon(battle, active),
        opponent_active_pokemon=universal_pokemon(battle, opponent),
        available_switches=[universal_pokemon(battle, pokemon) for pokemon in bench(battle)],
        player_prev_move=previous_move(battle, active),
        opponent_prev_move=previous_move(battle, opponent),
        opponents_remaining=6 - fainted,
        player_conditions=_latest(battle.side_conditions, "noconditions"),
        opponent_conditions=_latest(battle.opponent_side_conditions, "noconditions"),
        weather=letters(next(iter(battle.weather)).name) if battle.weather else "noweather",
        battle_field=_latest(battle.fields, "nofield"),
        forced_switch=battle.force_switch,
        battle_won=bool(battle.won),
        battle_lost=bool(battle.lost),
        can_tera=battle.can_tera,
        opponent_teampreview=[
            letters_and_digits(pokemon.base_species) for pokemon in battle.teampreview_opponent_team
        ],
    )
