"""A tournament in mirrored pairs: round robin, gauntlet, sequential tests, or adaptive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import RunConfig
from metamon_ext.arena.executors.protocol import Executor, Recording, find_executor
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import Player
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS, TOURNAMENT_RESULTS
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.evaluation.exports import results_of, write_battle_logs
from metamon_ext.evaluation.results import collect
from metamon_ext.evaluation.schedules import (
    Adaptive,
    Pairing,
    Plan,
    Schedule,
    SprtSchedule,
    fixed,
    outcomes_of,
    play_rounds,
)
from metamon_ext.evaluation.sprt import Sprt, pentanomial
from metamon_ext.evaluation.standings import Rated, rate_results
from metamon_ext.files import write_json

LOOK = 8
"""Mirrored pairs between two looks at a pairing."""


@dataclass(frozen=True, kw_only=True)
class TournamentConfig(RunConfig):
    """Settings of `tournament`, beside those of every workflow that keeps battles.

    Attributes:
        models: the players, each a policy's name.
        output_dir: gets the results, trajectories, battle logs and `tournament_results.json`.
        num_battles: of each pairing; the most it may take where `sprt` is given, the most
            on average where `adaptive`.
        gauntlet: one of the models, which alone plays the others.
        sprt: (elo0, elo1). A pairing ends when it is decided whether the player named first is
            `elo1` stronger rather than `elo0`, at error rates of 5 %.
        adaptive: battles go where the order of the players is least certain.
    """

    models: Sequence[str]
    output_dir: Path
    num_battles: int = 200
    gauntlet: str | None = None
    sprt: tuple[float, float] | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sprt and self.adaptive:
            raise UserError("--sprt and --adaptive exclude each other: leave one out")

    @property
    def plan(self) -> Plan:
        """Which pairings are played, and how often."""
        pairings = pairings_of(self.models, self.gauntlet)
        if self.sprt:
            return SprtSchedule(pairings, Sprt(*self.sprt), self.num_battles, LOOK)
        if self.adaptive:
            return Adaptive(pairings, self.num_battles * len(pairings))
        return fixed(pairings, self.num_battles)


@dataclass(frozen=True)
class TournamentResult:
    """What came of a tournament.

    Attributes:
        rows: the battles that it asked for, in the order of its schedule.
        all_rows: all battles of its folder under the same conditions, those first.
        rated: `all_rows` and the ratings of their players.
        content: that of `tournament_results.json`, made from `all_rows`.
    """

    rows: list[BattleRow]
    all_rows: list[BattleRow]
    rated: Rated
    content: dict[str, Any]


def tournament(config: TournamentConfig, executor: Executor | None = None) -> TournamentResult:
    """Play a tournament in mirrored pairs.

    Battles that `output_dir` holds are not played again, so that a tournament can be extended at
    any time: by players, pairings or battles. Its ratings are those of all comparable battles in
    the folder.

    Raises UserError for bad input, RunStopped where the run cannot go further.
    """
    names = "num_battles models gauntlet sprt adaptive"
    settings = {name: getattr(config, name) for name in names.split()}
    trajectories = config.output_dir / "trajectories"
    return play_tournament(
        config, config.models, config.output_dir, config.plan, settings, trajectories, executor
    )


def play_tournament(
    config: RunConfig,
    models: Sequence[str],
    output_dir: Path,
    plan: Plan,
    settings: Mapping[str, Any],
    trajectories: Path | None = None,
    executor: Executor | None = None,
) -> TournamentResult:
    """Play what the plan asks for, and write what there is, also where the run is stopped.

    Args:
        settings: what `tournament_results.json` says was asked for, beside what `config` holds.
        trajectories: gets both points of view of each battle; None: they are not kept.
        executor: where battles are played; None: the one that `config` names.

    Raises UserError for bad input, RunStopped where the run cannot go further.
    """
    make_executor = find_executor(config.executor)
    players = config.players(models)
    require_different(players.values())
    conditions = config.conditions()
    stopped: UserError | None = None
    rows: list[BattleRow] = []
    with ResultStore(output_dir / RESULTS) as store:
        store.register(players.values())
        recording = Recording(trajectories, store.created) if trajectories else None
        schedule = Schedule(players, conditions, config.seed)
        try:
            with ExitStack() as stack:
                used = executor or stack.enter_context(
                    make_executor(workers=config.workers, recording=recording)
                )
                rows = play_rounds(plan, schedule, used, store)
        except RunStopped as error:
            stopped = error
        all_rows = _comparable(rows, store.rows(), conditions)
        rated = rate_results(collect(all_rows))
        content = results_of(
            all_rows,
            rated,
            {**settings, **_settings_of(config, conditions)},
            store.players(),
            verdicts_of(plan, rows),
        )
        try:
            write_battle_logs(output_dir / "team_results", all_rows)
            write_json(output_dir / TOURNAMENT_RESULTS, content)
        except OSError as error:
            stopped = stopped or cannot_write(output_dir, error)
    if stopped:
        raise stopped
    return TournamentResult(rows, all_rows, rated, content)


def require_different(players: Iterable[Player]) -> None:
    """Raise UserError for two players that are the same policy: their results would be mixed."""
    known: dict[str, str] = {}
    for player in players:
        other = known.setdefault(player.fingerprint, player.name)
        if other != player.name:
            raise UserError(f"{other} and {player.name} are the same policy: name one of them")


def pairings_of(models: Sequence[str], gauntlet: str | None) -> list[Pairing]:
    """All pairings, each with the player listed first in front; in a gauntlet the candidate."""
    if twice := [name for name in dict.fromkeys(models) if models.count(name) > 1]:
        raise UserError(f"{twice[0]} is listed twice in --models: name every player once")
    if gauntlet is None:
        if len(models) < 2:
            raise UserError("a tournament needs at least two --models")
        return list(combinations(models, 2))
    others = [name for name in models if name != gauntlet]
    if len(others) == len(models) or not others:
        raise UserError(f"--gauntlet {gauntlet} must be one of at least two --models")
    return [(gauntlet, name) for name in others]


def verdicts_of(plan: Plan, rows: Sequence[BattleRow]) -> dict[Pairing, dict[str, Any]]:
    """How the sequential tests ended, and the Elo differences that they estimate."""
    if not isinstance(plan, SprtSchedule):
        return {}
    verdicts = {}
    for pairing, outcomes in outcomes_of(rows, dict.fromkeys(plan.pairings, 0)).items():
        counts = pentanomial(outcomes)
        state = plan.test.state(counts)
        verdicts[pairing] = asdict(state)
        verdicts[pairing]["decided"] = plan.test.sentence(state.verdict, *pairing)
        if state.pairs:
            verdicts[pairing] |= asdict(plan.test.estimate(counts, plan.look))
    return verdicts


def _settings_of(config: RunConfig, conditions: Conditions) -> dict[str, Any]:
    settings = {name: getattr(config, name) for name in ("battle_format", "seed", "turn_limit")}
    return settings | {"team_set": conditions.team_set, "teams": conditions.teams_id}


def _comparable(
    first: Sequence[BattleRow], rows: Sequence[BattleRow], conditions: Conditions
) -> list[BattleRow]:
    """The rows under these conditions: the schedule's in its order, then the rest."""
    place = {row.key: i for i, row in enumerate(first)}
    found = [
        row
        for row in rows
        if (row.battle_format, row.teams_id, row.turn_limit, row.simulator) == conditions.key
    ]
    return sorted(found, key=lambda row: (place.get(row.key, len(place)), row.key))
