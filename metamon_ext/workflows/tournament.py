"""A tournament in mirrored pairs: round robin, gauntlet, sequential tests, or adaptive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions, RunConfig
from metamon_ext.arena.executors.pool import Pool
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import BattleRow, ResultStore
from metamon_ext.data.trajectory import RESULTS, TOURNAMENT_RESULTS
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.evaluation.exports import results_of, write_battle_logs
from metamon_ext.evaluation.schedules import (
    Adaptive,
    Arrangement,
    Pairing,
    Plan,
    Sequential,
    fixed,
    outcomes_of,
    play_rounds,
)
from metamon_ext.evaluation.sprt import Sprt, pentanomial
from metamon_ext.files import write_json

LOOK = 8
"""Mirrored pairs between two looks at a matchup."""


@dataclass(frozen=True, kw_only=True)
class TournamentConfig(RunConfig):
    """Settings of `tournament`, beside those of every workflow that keeps battles.

    Attributes:
        models: the players, each a policy's name.
        output_dir: gets the results, trajectories, battle logs and `tournament_results.json`.
        battles_per_matchup: of each pairing; the most it may take where `sprt` is given, the most
            on average where `adaptive`.
        gauntlet: one of the models, which alone plays the others.
        sprt: (elo0, elo1). A pairing ends when it is decided whether the player named first is
            `elo1` stronger rather than `elo0`, at error rates of 5 %.
        adaptive: battles go where the order of the players is least certain.
    """

    models: Sequence[str]
    output_dir: Path
    battles_per_matchup: int = 200
    gauntlet: str | None = None
    sprt: tuple[float, float] | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sprt and self.adaptive:
            raise UserError("--sprt and --adaptive exclude each other: leave one out")

    @property
    def plan(self) -> Plan:
        """Who plays whom, and how often."""
        pairings = pairings_of(self.models, self.gauntlet)
        if self.sprt:
            return Sequential(pairings, Sprt(*self.sprt), self.battles_per_matchup, LOOK)
        if self.adaptive:
            return Adaptive(pairings, self.battles_per_matchup * len(pairings))
        return fixed(pairings, self.battles_per_matchup)


@dataclass(frozen=True)
class TournamentResult:
    """`rows`: all battles. `content`: that of `tournament_results.json`."""

    rows: list[BattleRow]
    content: dict[str, Any]


def tournament(config: TournamentConfig) -> TournamentResult:
    """Play a tournament in mirrored pairs; battles that `output_dir` holds are not played again.

    Raises UserError for bad input, RunStopped where the run cannot go on.
    """
    names = "battles_per_matchup models gauntlet sprt adaptive"
    settings = {name: getattr(config, name) for name in names.split()}
    return play_tournament(
        config,
        config.models,
        config.output_dir,
        config.plan,
        settings,
        config.output_dir / "trajectories",
    )


def play_tournament(
    config: RunConfig,
    models: Sequence[str],
    output_dir: Path,
    plan: Plan,
    settings: dict[str, Any],
    trajectories: Path | None = None,
) -> TournamentResult:
    """Play what the plan asks for, and write what there is, also where the run is stopped.

    `settings`: what must be the same for a run to be resumed, beside what `config` holds. Raises
    UserError for bad input, RunStopped where the run cannot go on.
    """
    conditions = Conditions.of(config, models)
    settings = {**settings, "team_set": conditions.team_set, **conditions.settings}
    with closing(ResultStore(output_dir / RESULTS, settings, resume=True)) as store:
        store.forget_trouble()
        worker_settings = conditions.for_workers(store.created, trajectories)
        arrangement = Arrangement(conditions.battle_format, conditions.teams, config.seed)
        specs: list[BattleSpec] = []
        stopped: UserError | None = None
        try:
            with Pool(worker_settings, config.workers) as pool:
                specs = play_rounds(plan, arrangement, pool, store)
        except RunStopped as error:
            stopped = error
        rows = in_order(specs, list(store.rows()))
        content = results_of(rows, settings, conditions.players, verdicts_of(plan, rows))
        try:
            write_battle_logs(output_dir / "team_results", rows)
            write_json(output_dir / TOURNAMENT_RESULTS, content)
        except OSError as error:
            stopped = stopped or cannot_write(output_dir, error)
    if stopped:
        raise stopped
    return TournamentResult(rows, content)


def pairings_of(models: Sequence[str], gauntlet: str | None) -> list[Pairing]:
    """Who meets whom, the one listed first as the first player; in a gauntlet the candidate."""
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


def in_order(specs: Sequence[BattleSpec], rows: Sequence[BattleRow]) -> list[BattleRow]:
    """Results in the order of the schedule; the rest, where a run was stopped, after them."""
    place = {spec.key: i for i, spec in enumerate(specs)}
    return sorted(rows, key=lambda row: (place.get(row.key, len(place)), row.key))


def verdicts_of(plan: Plan, rows: Sequence[BattleRow]) -> dict[Pairing, dict[str, Any]]:
    """How the sequential tests ended, and the Elo differences that they estimate."""
    if not isinstance(plan, Sequential):
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
