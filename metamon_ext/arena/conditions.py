"""What makes battles comparable: format, teams, turn limit and simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from metamon_ext.arena.simulator.process import (
    Simulator,
    SimulatorError,
    find_simulator,
    simulator_version,
)
from metamon_ext.arena.teams import BattleFormat, Team, find_team_set, load_format, load_teams
from metamon_ext.errors import RunStopped

TURN_LIMIT = 1000
"""The simulator ends every battle here."""


@dataclass(frozen=True)
class Conditions:
    """Battles are comparable if they were played under the same conditions.

    Attributes:
        battle_format: a singles format.
        teams: each seat of a battle gets one of them.
        team_set: the folder that they were loaded from, or `sample`.
        turn_limit: a longer battle ends as unfinished.
        simulator: the version of pokemon-showdown.
    """

    battle_format: BattleFormat
    teams: Sequence[Team]
    team_set: str = "sample"
    turn_limit: int = TURN_LIMIT
    simulator: str = ""

    @classmethod
    def load(
        cls, battle_format: str, team_set: str | None = "sample", turn_limit: int = TURN_LIMIT
    ) -> Conditions:
        """Look up a format, and load a team set: a folder, one of Metamon's sets, or `sample`.

        Without a team set it is Metamon's `competitive`, or `sample` if that is not available.

        Raises:
            UserError: the format or the team set is unknown, or a team is illegal.
            RunStopped: the simulator does not start.
        """
        try:
            with Simulator() as simulator:
                found = load_format(battle_format, simulator)
                folder = None if found.random_teams else find_team_set(team_set, battle_format)
                teams = load_teams(found, folder, simulator)
        except SimulatorError as error:
            raise RunStopped(
                f"{error}: {find_simulator()} may be damaged: run metamon-ext doctor"
            ) from None
        return cls(found, teams, str(folder or "sample"), turn_limit, simulator_version())

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What results record of the conditions: comparable battles have the same key."""
        return self.battle_format.name, self.teams_id, self.turn_limit, self.simulator

    @cached_property
    def teams_id(self) -> str:
        """A hash of the teams' content, 16 hexadecimal digits."""
        lines = sorted(f"{team.name}:{team.packed}" for team in self.teams)
        return hashlib.blake2b("\x1f".join(lines).encode(), digest_size=8).hexdigest()
