"""Metamon's 13 actions, as what the simulator offers in a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poke_env.battle.move import Move
from poke_env.battle.pokemon import Pokemon

from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle
from metamon_ext.arena.tracking.state import bench, known_moves, move_name
from metamon_ext.spaces.actions import FIRST_SWITCH, FIRST_TERA, letters_and_digits


def _in_order(pokemon: Iterable[Pokemon]) -> list[Pokemon]:
    """The Pokémon as actions 4-8 number them. Two of one species keep their order in the team."""
    return sorted(pokemon, key=lambda one: letters_and_digits(one.species))


def legal_choices(battle: TrackedBattle) -> dict[int, str]:
    """See `metamon_ext.arena.tracking.tracker.Tracker`."""
    request = battle.last_request
    choices: dict[int, str] = {}
    if not battle.force_switch and battle.active_pokemon is not None:
        offered = request["active"][0]
        names = sorted(move_name(move.id) for move in known_moves(battle, battle.active_pokemon))
        for slot, move in enumerate(offered["moves"], start=1):
            if not move.get("disabled"):
                name = move_name(move["id"])
                choices[names.index(name) if name in names else 0] = f"move {slot}"
        if offered.get("canTerastallize"):
            choices |= {FIRST_TERA + i: f"{choice} terastallize" for i, choice in choices.items()}
    if not battle.trapped:
        slots = {entry["ident"]: i for i, entry in enumerate(request["side"]["pokemon"], start=1)}
        idents = {id(pokemon): ident for ident, pokemon in battle.team.items()}
        for i, pokemon in enumerate(_in_order(bench(battle))):
            choices[FIRST_SWITCH + i] = f"switch {slots[idents[id(pokemon)]]}"
    return dict(sorted(choices.items()))


def action_of(battle: TrackedBattle, order: Any) -> int:
    """See `metamon_ext.arena.tracking.tracker.Tracker`."""
    wanted = getattr(order, "order", None)
    if isinstance(wanted, Pokemon):
        switches = [id(pokemon) for pokemon in _in_order(bench(battle))]
        return FIRST_SWITCH + switches.index(id(wanted)) if id(wanted) in switches else -1
    if isinstance(wanted, Move) and battle.active_pokemon is not None:
        names = sorted(move_name(move.id) for move in known_moves(battle, battle.active_pokemon))
        name = move_name(wanted.id)
        index = names.index(name) if name in names else 0
        return index + FIRST_TERA if order.terastallize else index
    return -1
