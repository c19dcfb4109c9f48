"""Metamon's battle objects, saying the same at less cost.

Two thirds of the time of `MetamonBackendBattle` go into `copy.deepcopy` of the turn, at every
turn, and most of the rest into converting the same Pokémon again for each attribute that is read.
Neither needs a change in Metamon: a turn may bring its own `__deepcopy__`, and what is read
between two updates can be kept.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from metamon.backend.replay_parser.pe_datatypes import (
    PEEffect,
    PEField,
    PESideCondition,
    PEStatus,
    PEWeather,
)
from metamon.backend.replay_parser.replay_state import (
    Action,
    BackwardMarkers,
    Boosts,
    Move,
    Nothing,
    Pokemon,
    Replacement,
    Subturn,
    TargetedBy,
    Targeting,
    Turn,
)
from metamon.env.metamon_battle import MetamonBackendBattle
from metamon.interface import UniversalMove, UniversalPokemon, UniversalState


class Glance:
    """A battle at one moment: each attribute is worked out once, when it is first read."""

    def __init__(self, battle: Any) -> None:
        self.__dict__["_battle"] = battle

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self._battle, name)
        return value


class QuickTurn(Turn):
    """A turn of Metamon's replay parser that is copied three times as fast."""

    def __deepcopy__(self, memo: dict[int, Any]) -> QuickTurn:
        return duplicate(self, memo)


class LastingTurn(Turn):
    """A turn that becomes the next one itself, for battles that are never looked back on.

    The parser reads an older turn when an Illusion ends, which there is since Gen 5, and what
    `create_subturn` returns only when it parses a replay. In battle a copy has one more effect:
    each move's PP, as it was counted down, becomes what poke-env's side of the move says.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> LastingTurn:
        for pokemon in filter(None, self.all_pokemon):
            for move in (*pokemon.moves.values(), *pokemon.had_moves.values()):
                _renew(move)
            if pokemon.last_used_move is not None:
                _renew(pokemon.last_used_move)
        return self

    def create_subturn(self, force_switch: bool) -> Turn:
        """A turn with this number, as Metamon makes it after a faint."""
        return Turn(turn_number=self.turn_number, is_force_switch=force_switch)


def _renew(move: Move) -> None:
    move._current_pp = move.pp
    move.maximum_pp = _new_move(move.name, move.gen_)[1]["maximum_pp"]


@dataclass(eq=False, repr=False)  # its own, for orjson looks for the fields in the class itself
class QuickState(UniversalState):
    """A state that is copied five times as fast: observation spaces named PAC- copy each."""

    def __deepcopy__(self, memo: dict[int, Any]) -> QuickState:
        return duplicate(self, memo)


def quicken(battle: MetamonBackendBattle) -> None:
    """Give a battle that has not begun a first turn that is cheap to copy; so are its copies."""
    kind = QuickTurn if battle.gen >= 5 else LastingTurn
    turns = battle._mm_battle.turnlist
    turns[:] = [kind(**vars(turn)) for turn in turns]


def duplicate(value: Any, memo: dict[int, Any]) -> Any:
    """`copy.deepcopy(value, memo)`, with a shorter way for the types that a turn is made of."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    way = _WAYS.get(kind)
    return way(value, memo) if way else copy.deepcopy(value, memo)


def _list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    new = memo[id(value)] = value.copy()
    for i, item in enumerate(value):
        if type(item) not in _ATOMS:
            new[i] = duplicate(item, memo)
    return new


def _dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    """The keys of Metamon's dicts are strings and members of enumerations."""
    new = memo[id(value)] = value.copy()
    for key, item in value.items():
        if type(item) not in _ATOMS:
            new[key] = duplicate(item, memo)
    return new


def _record(value: Any, memo: dict[int, Any]) -> Any:
    new = memo[id(value)] = object.__new__(type(value))
    fields = new.__dict__ = value.__dict__.copy()
    for name, item in fields.items():
        if type(item) not in _ATOMS:
            fields[name] = duplicate(item, memo)
    return new


def _named_tuple(value: Any, memo: dict[int, Any]) -> Any:
    new = type(value)(*[duplicate(item, memo) for item in value])
    return memo.setdefault(id(value), new)  # it may have been reached from within itself


def _move(value: Move, memo: dict[int, Any]) -> Move:
    """As `Move.__deepcopy__`: a new move of the same name, with what was left of its PP."""
    new = memo[id(value)] = object.__new__(Move)
    slots, fields = _new_move(value.name, value.gen_)
    for put, item in slots:
        put(new, item)
    new.__dict__ = fields.copy()
    new.pp = new._current_pp = value.pp
    return new


@cache
def _new_move(name: str, gen: int) -> tuple[list[tuple[Callable[..., None], Any]], dict[str, Any]]:
    """What the slots and the `__dict__` of a move hold when it is made."""
    move = Move(name=name, gen=gen)
    names = [name for kind in Move.__mro__ for name in getattr(kind, "__slots__", ())]
    slots = [
        (getattr(Move, name).__set__, getattr(move, name)) for name in names if hasattr(move, name)
    ]
    return slots, dict(vars(move))


_ENUMERATIONS = (PEEffect, PEField, PESideCondition, PEStatus, PEWeather, Nothing, BackwardMarkers)
_ATOMS = {str, int, float, bool, type(None), *_ENUMERATIONS}
_WAYS: dict[type, Callable[[Any, dict[int, Any]], Any]] = {
    list: _list,
    dict: _dict,
    Move: _move,
    **dict.fromkeys((Turn, QuickTurn, Subturn, Action, Pokemon, Boosts), _record),
    **dict.fromkeys((UniversalState, QuickState, UniversalPokemon, UniversalMove), _record),
    **dict.fromkeys((Targeting, TargetedBy, Replacement), _named_tuple),
}
