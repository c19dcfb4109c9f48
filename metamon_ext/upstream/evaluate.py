"""A model's win rates against Metamon's baselines, with intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import BattleBackend
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.play import play_battles
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec, matchup
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import games_of, head_to_head
from metamon_ext.settings import check_at_least, check_seed, default_workers
from metamon_ext.upstream.catalog import require_metamon

AT_ONCE = 32
"""Battles that one worker holds: half of them are in the simulator while it asks the model."""
EVAL_TYPES = {
    "heuristic": (
        "PokeEnvHeuristic",
        "Gen1BossAI",
        "Grunt",
        "GymLeader",
        "EmeraldKaizo",
        "RandomBaseline",
    ),
    "il": ("BaseRNN",),
}
"""Metamon's `--eval_type` -> baselines; the first is the paper's Heuristic Composite Score."""


@dataclass(frozen=True)
class Score:
    """A model against one baseline. [low, high] is the 95 % interval of the win rate."""

    battle_format: str
    agent: str
    baseline: str
    win_rate: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    unfinished: int
    invalid_actions: int


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Settings of `evaluate`.

    Attributes:
        agent: a model: see `metamon-ext models`.
        eval_type: which of Metamon's baselines to play.
        baselines: instead of those of eval_type.
        gens: generations.
        formats: tiers of each generation.
        num_battles: of each agent in each format, shared among the baselines.
        checkpoints: epochs, each an agent; default: the model's own choice.
        temperature: 0 takes the likeliest action.
        battle_backend: default: the model's own.
        team_set: a folder of Showdown exports, or a set.
        turn_limit: a longer battle ends as unfinished.
        save_trajectories_to: a folder for both points of view of each finished battle.
        workers: processes.
        seed: of teams, seats and battles.
    """

    agent: str
    eval_type: Literal["heuristic", "il"] = "heuristic"
    baselines: Sequence[str] = ()
    gens: Sequence[int] = (1,)
    formats: Sequence[str] = ("ou",)
    num_battles: int = 120
    checkpoints: Sequence[int] = ()
    temperature: float = 1.0
    battle_backend: BattleBackend | None = None
    team_set: str = "sample"
    turn_limit: int = 1000
    save_trajectories_to: Path | None = None
    workers: int = field(default_factory=default_workers)
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_at_least(
            1, num_battles=self.num_battles, turn_limit=self.turn_limit, workers=self.workers
        )

    @property
    def agents(self) -> list[str]:
        """The arena's names for the model at each checkpoint."""
        checkpoints: Sequence[int | None] = self.checkpoints or [None]
        return [
            policy_name(self.agent, checkpoint, self.temperature, self.battle_backend)
            for checkpoint in checkpoints
        ]


@dataclass(frozen=True)
class EvaluateResult:
    """`scores`: one for each format, agent and baseline. `rows`: one for each battle."""

    scores: list[Score]
    rows: list[BattleRow]
    seconds: float


def policy_name(
    agent: str, checkpoint: int | None, temperature: float, battle_backend: str | None = None
) -> str:
    """The arena's name for a model with these options."""
    options: dict[str, object] = {"checkpoint": checkpoint, "battle_backend": battle_backend}
    options |= {} if temperature == 1.0 else {"temperature": temperature}
    query = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{agent}?{query}" if query else agent


def evaluate(config: EvaluateConfig) -> EvaluateResult:
    """Play a model against baselines. Raises UserError for bad input."""
    require_metamon()
    baselines = list(dict.fromkeys(config.baselines or EVAL_TYPES[config.eval_type]))
    for name in [*config.agents, *baselines]:
        PolicyRef.resolve(name)
    shares = share(config.num_battles, len(baselines))
    schedule: dict[tuple[str, str, str], list[BattleSpec]] = {}
    for battle_format in [f"gen{gen}{t.lower()}" for gen in config.gens for t in config.formats]:
        conditions = Conditions.load(battle_format, config.team_set, config.turn_limit)
        for agent in config.agents:
            for baseline, battles in zip(baselines, shares, strict=True):
                schedule[battle_format, agent, baseline] = matchup(
                    agent, baseline, battles, conditions, config.seed, pairs=True
                )
    folder = config.save_trajectories_to
    recording = Recording(folder) if folder else None
    started = time.perf_counter()
    with LocalExecutor(config.workers, recording, AT_ONCE) as executor:
        rows = play_battles([*chain(*schedule.values())], executor, label=config.agent)
    return EvaluateResult(tabulate(schedule, rows), rows, time.perf_counter() - started)


def share(battles: int, baselines: int) -> list[int]:
    """How many of the battles each baseline plays. Raises UserError where there are too few."""
    if battles < baselines:
        raise UserError(
            f"--num_battles {battles} is fewer than the {baselines} baselines. "
            f"Give at least {baselines}, or fewer --baselines."
        )
    each, rest = divmod(battles, baselines)
    return [each + (i < rest) for i in range(baselines)]


def tabulate(
    schedule: Mapping[tuple[str, str, str], Sequence[BattleSpec]], rows: Sequence[BattleRow]
) -> list[Score]:
    """A score for each format, agent and baseline of the schedule."""
    by_key = {row.key: row for row in rows}
    scores = []
    for (battle_format, agent, baseline), specs in schedule.items():
        own = [by_key[spec.key] for spec in specs]
        games, unfinished = games_of(own)
        result = head_to_head(games, agent, baseline)
        invalid = sum(row.a_invalid if row.player_a == agent else row.b_invalid for row in own)
        scores.append(
            Score(
                battle_format,
                agent,
                baseline,
                result.win_rate,
                result.low,
                result.high,
                result.wins,
                result.losses,
                result.ties,
                sum(unfinished.values()),
                invalid,
            )
        )
    return scores
