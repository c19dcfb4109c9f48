"""Two policies against each other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.config import RunConfig
from metamon_ext.arena.executors.protocol import Recording, find_executor
from metamon_ext.arena.play import play_missing, summarize
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import matchup
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS


@dataclass(frozen=True, kw_only=True)
class PlayConfig(RunConfig):
    """Settings of `play`, beside those of every workflow that keeps battles.

    Attributes:
        p1: a policy, e.g. `simple_heuristics?epsilon=0.1`, a run's path, or `module:Class`.
        p2: the other policy.
        num_battles: how many.
        pairs: play in mirrored pairs: same teams and seeds, seats swapped.
        save_trajectories_to: a folder for both points of view of each finished battle.
        output_dir: keeps every result in `results.sqlite` there, and resumes with them.
    """

    p1: str
    p2: str
    num_battles: int = 100
    team_set: str | None = "sample"
    pairs: bool = False
    save_trajectories_to: Path | None = None
    output_dir: Path | None = None


@dataclass(frozen=True)
class PlayResult:
    """What came of the battles.

    Attributes:
        rows: the battles, in the order of the schedule.
        played: how many of them were played now.
        summary: counts of wins, ties, unfinished battles, turns and decisions, speed, and a digest
            of all choices.
    """

    rows: list[BattleRow]
    played: int
    summary: dict[str, Any]


def play(config: PlayConfig) -> PlayResult:
    """Play battles between two policies; those that `output_dir` holds are not played again.

    Raises UserError for what is wrong with the config, RunStopped where the run cannot go further.
    """
    make_executor = find_executor(config.executor)
    players = config.players(dict.fromkeys([config.p1, config.p2]))
    specs = matchup(
        players[config.p1],
        players[config.p2],
        config.num_battles,
        config.conditions(),
        config.seed,
        config.pairs,
    )
    with ExitStack() as stack:
        store = recording = None
        if config.output_dir:
            store = stack.enter_context(ResultStore(config.output_dir / RESULTS))
            store.register(players.values())
        known = store.resume() if store else {}
        played = sum(spec.key not in known for spec in specs)
        if config.save_trajectories_to:
            recording = Recording(config.save_trajectories_to)
            if store:
                recording = Recording(config.save_trajectories_to, store.created)
        executor = stack.enter_context(make_executor(workers=config.workers, recording=recording))
        started = time.perf_counter()
        rows = play_missing(specs, executor, store, known, f"{config.p1} - {config.p2}")
        seconds = time.perf_counter() - started
    summary = summarize(rows, config.p1)
    rate = played / len(specs) / seconds  # of what was played now
    summary |= {
        "seconds": round(seconds, 3),
        "decisions_per_second": round(summary["decisions"] * rate, 1),
        "battles_per_second": round(len(specs) * rate, 2),
    }
    return PlayResult(rows, played, summary)
