"""What a seat knows of its battle, through poke-env's eyes or through Metamon's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from metamon_ext.errors import UserError

if TYPE_CHECKING:
    from metamon_ext.spaces.universal import UniversalState


class Tracker(Protocol):
    """Fed by a seat, in this order at every step: the update, then the request."""

    battle: Any
    """The battle object that players written against poke-env are given."""

    backend: str
    """Metamon's `battle_backend`: whose view of the battle `state` is, where there are several."""

    def feed(self, lines: str) -> None:
        """Take in protocol lines, in the simulator's own order."""

    def take_request(self, request: dict[str, Any]) -> None:
        """Take in what the seat is asked, or shown while it waits."""

    @property
    def turn(self) -> int:
        """The simulator's turn."""

    def state(self) -> UniversalState:
        """What the seat knows now. Both sides must have a Pokémon on the field."""

    def legal_choices(self) -> dict[int, str]:
        """Action index -> the simulator's choice, for what the last request offers; ascending.

        0-3 are the active Pokémon's moves and 4-8 the switches, each in alphabetical order, 9-12
        the moves with terastallization. A move that is not among the known ones (Struggle,
        recharging) is action 0. Mega evolution, Z-moves and dynamax have no action.
        """

    def recorded_action(self, choice: str, legal: dict[int, str]) -> int:
        """The action that one of the `legal` choices is in `state()`, the lowest where there are
        several; -1 for one that the state does not offer."""

    def action_of(self, order: Any) -> int:
        """The action index of a `poke_env` order, -1 for none (dynamax counts as the move)."""


def make_tracker(battle_format: str, gen: int, seat: str) -> Tracker:
    """A tracker for one seat ("p1" or "p2") of a battle that is about to start."""
    return _tracker_class()(battle_format, gen, seat)


@cache
def has_metamon() -> bool:
    """Is UT-Austin's Metamon installed? PyPI has an unrelated package of that name."""
    spec = importlib.util.find_spec("metamon")
    folders = (spec and spec.submodule_search_locations) or []
    return any((Path(folder) / "env" / "metamon_battle.py").is_file() for folder in folders)


TrackerClass = Callable[[str, int, str], Tracker]
TrackerLoader = Callable[[], TrackerClass]


def _load_poke_env_tracker() -> TrackerClass:
    from metamon_ext.arena.tracking.poke_env_tracker import PokeEnvTracker

    return PokeEnvTracker


_load: TrackerLoader = _load_poke_env_tracker


def use_tracker(load: TrackerLoader) -> None:
    """Follow battles with the class that `load` imports, in this process and in the workers that
    it starts."""
    global _load
    _load = load
    _tracker_class.cache_clear()


def tracker_loader() -> TrackerLoader:
    """What `use_tracker` was given; without it, the loader of the tracker on the stock poke-env."""
    return _load


@cache
def _tracker_class() -> TrackerClass:
    try:
        return _load()
    except ImportError as error:
        what = "Metamon is installed but" if has_metamon() else "poke-env, the lite extra,"
        raise UserError(f"{what} cannot be imported ({error}): see metamon-ext doctor") from None
