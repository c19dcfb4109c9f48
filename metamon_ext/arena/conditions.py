"""What all battles of a run have in common: the flags of the commands that keep results, read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.play import add_seat_arguments, prepare, team_set_id
from metamon_ext.arena.policy import identify, with_options
from metamon_ext.arena.teams import BattleFormat, Team
from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.arguments import positive


def add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that `Conditions.of` reads, and --workers."""
    add_seat_arguments(parser)
    parser.add_argument(
        "--team_set",
        help="a team set of Metamon's, a folder of Showdown exports, or sample (ours); default: "
        "competitive, or sample where that cannot be had",
    )
    parser.add_argument(
        "--battle_backend",
        choices=["metamon", "pokeagent", "poke-env"],
        help="of Metamon's models; default: each model's own",
    )
    parser.add_argument(
        "--turn_limit", type=positive, default=1000, help="a longer battle ends as unfinished"
    )


@dataclass(frozen=True)
class Conditions:
    """Under which conditions a run is played.

    `policies`: player -> policy, the player's name with the options that the flags add. `players`:
    player -> what it is (`identify`). `settings`: what must be the same for the run to go on.
    """

    battle_format: BattleFormat
    teams: Sequence[Team]
    team_set: str
    turn_limit: int
    policies: Mapping[str, str]
    players: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls, args: argparse.Namespace, players: Iterable[str], temperature: float | None = None
    ) -> Conditions:
        """Look everything up that the flags name. Raises UserError for what is not there."""
        if args.battle_backend and not has_metamon():
            print("--battle_backend is for Metamon's models: none can be here", file=sys.stderr)
        options = {"temperature": temperature, "battle_backend": args.battle_backend}
        policies = {name: with_options(name, **options) for name in players}
        known = {name: identify(policy) for name, policy in policies.items()}
        battle_format, teams, team_set = prepare(args.battle_format, args.team_set)
        settings = {name: getattr(args, name) for name in ("battle_format", "seed", "turn_limit")}
        settings["teams"] = team_set_id(teams)
        settings["policies"] = {name: [k["policy"], k.get("sha256")] for name, k in known.items()}
        return cls(battle_format, teams, team_set, args.turn_limit, policies, known, settings)

    def for_workers(self, date: datetime, trajectories: Path | None) -> WorkerSettings:
        """What the workers have to know."""
        return WorkerSettings(
            self.turn_limit, trajectories=trajectories, date=date, aliases=self.policies
        )
