"""What a seat knows of its battle, through poke-env's eyes or through Metamon's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from metamon_ext.spaces.universal import UniversalState


class Tracker(Protocol):
    """Fed by a seat, in this order at every step: the update, then the request."""

    battle: Any
    """The battle object that players written against poke-env are given."""

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

    def action_of(self, order: Any) -> int:
        """The action index of a `poke_env` order, -1 for none (dynamax counts as the move)."""


def make_tracker(battle_format: str, gen: int, seat: str) -> Tracker:
    """A tracker for one seat ("p1" or "p2") of a battle that is about to start."""
    from metamon_ext.arena.poke_env_tracker import PokeEnvTracker

    return PokeEnvTracker(battle_format, gen, seat)
