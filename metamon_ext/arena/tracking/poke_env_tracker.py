"""The tracker on the stock poke-env."""

from __future__ import annotations

from typing import Any

from metamon_ext.arena.tracking.actions import action_of, legal_choices
from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle
from metamon_ext.arena.tracking.state import universal_state
from metamon_ext.spaces.universal import UniversalState


class PokeEnvTracker:
    """See `metamon_ext.arena.tracking.tracker.Tracker`."""

    backend = "poke-env"

    def __init__(self, battle_format: str, gen: int, seat: str) -> None:
        self.battle = TrackedBattle(battle_format, gen, seat)
        self.feed = self.battle.feed
        self.take_request = self.battle.parse_request

    @property
    def turn(self) -> int:
        """See `Tracker`."""
        return self.battle.turn

    def state(self) -> UniversalState:
        """See `Tracker`."""
        return universal_state(self.battle)

    def legal_choices(self) -> dict[int, str]:
        """See `Tracker`."""
        return legal_choices(self.battle)

    def recorded_action(self, choice: str, legal: dict[int, str]) -> int:
        """See `Tracker`."""
        return next((action for action, other in legal.items() if other == choice), -1)

    def action_of(self, order: Any) -> int:
        """See `Tracker`."""
        return action_of(self.battle, order)
