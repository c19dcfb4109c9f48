"""Two policies against each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.conditions import BattleConfig
from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.play import play_all, prepare, summarize, team_set_id
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import matchup
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PlayConfig(BattleConfig):
    """Settings of `play`, beside those of every workflow that plays battles.

    Attributes:
        p1: a policy, e.g. `simple_heuristics?epsilon=0.1`, a run's path, or `module:Class`.
        p2: the other policy.
        battles: how many.
        teams: a folder of Showdown exports, a team set, or `sample` (ours).
        pairs: play in mirrored pairs: same teams and seeds, seats swapped.
        turn_limit: a longer battle ends as unfinished.
        save_trajectories_to: a folder for both points of view of each finished battle.
        output_dir: keeps every result in `results.sqlite` there.
        resume: play only what `output_dir` lacks.
    """

    p1: str
    p2: str
    battles: int = 100
    teams: str = "sample"
    pairs: bool = False
    turn_limit: int = 1000
    save_trajectories_to: Path | None = None
    output_dir: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and not self.output_dir:
            raise UserError("--resume needs the --output_dir of the run that is to go on")


@dataclass(frozen=True)
class PlayResult:
    """`results`: one a battle, in the order of the schedule. `played`: how many of them now.
    `summary`: counts of wins, ties, unfinished battles, turns and decisions, speed, and a digest of
    all choices."""

    results: list[BattleResult]
    played: int
    summary: dict[str, Any]


def play(config: PlayConfig) -> PlayResult:
    """Play battles between two policies.

    Raises UserError for what is wrong with the config, RunStopped where the run cannot go on.
    """
    weights = [PolicyRef.resolve(name).describe().get("sha256") for name in (config.p1, config.p2)]
    battle_format, teams, _ = prepare(config.battle_format, config.teams)
    specs = matchup(
        config.p1, config.p2, config.battles, battle_format, teams, config.seed, config.pairs
    )
    store = None
    if config.output_dir:
        names = ("p1", "p2", "battle_format", "seed", "pairs", "turn_limit")
        settings = {name: getattr(config, name) for name in names}
        settings |= {"teams": team_set_id(teams), "weights": weights}
        store = ResultStore(config.output_dir / RESULTS, settings, config.resume)
    date = store.created if store else datetime.now(timezone.utc).replace(tzinfo=None)
    worker_settings = WorkerSettings(
        config.turn_limit, trajectories=config.save_trajectories_to, date=date
    )
    started = time.perf_counter()
    results, played = play_all(
        specs, worker_settings, config.workers, store, f"{config.p1} - {config.p2}"
    )
    seconds = time.perf_counter() - started
    summary = summarize(specs, results)
    rate = played / len(specs) / seconds  # of what was played now
    summary |= {
        "seconds": round(seconds, 3),
        "decisions_per_second": round(summary["decisions"] * rate, 1),
        "battles_per_second": round(len(specs) * rate, 2),
    }
    if store:
        store.close()
    return PlayResult([results[spec.key] for spec in specs], played, summary)
