"""What all battles of a run have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.play import prepare, team_set_id
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.teams import BattleFormat, Team
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
        numbers = {name: value for name, value in vars(self).items() if type(value) is int}
        check_at_least(1, **{name: numbers[name] for name in numbers if name != "seed"})


@dataclass(frozen=True, kw_only=True)
class RunConfig(BattleConfig):
    """Settings of every workflow that keeps battles, beside those of all that play any.

    Attributes:
        team_set: a team set of Metamon's, a folder of Showdown exports, or `sample` (ours). None:
            `competitive`, or `sample` where that cannot be had.
        turn_limit: a longer battle ends as unfinished.
        battle_backend: of Metamon's models; None: each model's own.
    """

    team_set: str | None = None
    turn_limit: int = 1000
    battle_backend: BattleBackend | None = None


@dataclass(frozen=True)
class Conditions:
    """Under which conditions a run is played.

    `policies`: player -> policy, with the options that the config adds. `players`: player -> what
    it is (`PolicyRef.describe`). `settings`: what must be the same for the run to be resumed.
    """

    battle_format: BattleFormat
    teams: Sequence[Team]
    team_set: str
    turn_limit: int
    policies: Mapping[str, PolicyRef]
    players: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls, config: RunConfig, players: Iterable[str], temperature: float | None = None
    ) -> Conditions:
        """Look up everything that the config names. Raises UserError for what is not there."""
        if config.battle_backend and not has_metamon():
            print("--battle_backend is for Metamon's models: none can be here", file=sys.stderr)
        options = {"temperature": temperature, "battle_backend": config.battle_backend}
        policies = {name: PolicyRef.resolve(name).with_options(**options) for name in players}
        known = {name: policy.describe() for name, policy in policies.items()}
        battle_format, teams, team_set = prepare(config.battle_format, config.team_set)
        settings = {name: getattr(config, name) for name in ("battle_format", "seed", "turn_limit")}
        settings["teams"] = team_set_id(teams)
        settings["policies"] = {name: [k["policy"], k.get("sha256")] for name, k in known.items()}
        return cls(battle_format, teams, team_set, config.turn_limit, policies, known, settings)

    def for_workers(self, date: datetime, trajectories: Path | None) -> WorkerSettings:
        """What the workers have to know."""
        return WorkerSettings(
            self.turn_limit, trajectories=trajectories, date=date, players=self.policies
        )
