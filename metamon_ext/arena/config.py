"""Settings that the workflows share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Literal

from metamon_ext.arena.conditions import TURN_LIMIT, Conditions
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import Player
from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.settings import check_at_least, check_seed, default_workers

BattleBackend = Literal["metamon", "pokeagent", "poke-env"]


@dataclass(frozen=True, kw_only=True)
class BattleConfig:
    """Settings of every workflow that plays battles.

    Attributes:
        battle_format: a singles format of the simulator.
        seed: of teams, seats and battles; any integer of at least 0.
        workers: processes.
    """

    battle_format: str = "gen1ou"
    seed: int = 0
    workers: int = field(default_factory=default_workers)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        counts = [f.name for f in fields(self) if f.type in ("int", "int | None")]
        check_at_least(1, **{name: getattr(self, name) for name in counts if name != "seed"})


@dataclass(frozen=True, kw_only=True)
class RunConfig(BattleConfig):
    """Settings of every workflow that keeps battles, beside those of all that play any.

    Attributes:
        team_set: a team set of Metamon's, a folder of Showdown exports, or `sample` (ours). None:
            `competitive`, or `sample` where that cannot be had.
        turn_limit: a longer battle ends as unfinished.
        battle_backend: of Metamon's models; None: each model's own.
        executor: where battles are played: `local`, or an entry point of `metamon_ext.executors`.
    """

    team_set: str | None = None
    turn_limit: int = TURN_LIMIT
    battle_backend: BattleBackend | None = None
    executor: str = "local"

    def conditions(self) -> Conditions:
        """Load the format and the teams. Raises UserError for what is not there."""
        return Conditions.load(self.battle_format, self.team_set, self.turn_limit)

    def players(self, names: Iterable[str], temperature: float | None = None) -> dict[str, Player]:
        """The players of these names, with the options that the config adds to their policies.

        Raises UserError for an unknown policy.
        """
        if self.battle_backend and not has_metamon():
            print("--battle_backend is for Metamon's models: none can be here", file=sys.stderr)
        options = {"temperature": temperature, "battle_backend": self.battle_backend}
        return {
            name: Player(name, PolicyRef.resolve(name).with_options(**options)) for name in names
        }
