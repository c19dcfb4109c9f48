"""The arena against Metamon's own evaluation, side by side."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import BattleConfig
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.schedule import matchup
from metamon_ext.arena.teams import SAMPLE_TEAMS
from metamon_ext.errors import UserError
from metamon_ext.upstream.catalog import require_metamon
from metamon_ext.upstream.evaluate import AT_ONCE

if TYPE_CHECKING:
    from metamon_ext.arena.policy import Decision, Policy

OPPONENT = "RandomBaseline"
SERVER = ("localhost", 8000)
"""Where poke-env looks for a Showdown server."""


@dataclass(frozen=True, kw_only=True)
class ModelBenchmarkConfig(BattleConfig):
    """Settings of `benchmark_model`.

    Attributes:
        agent: a model: see `metamon-ext models`.
        num_battles: that each side finishes in a round.
        parallel_actors: of Metamon's evaluation.
        rounds: the two are measured in turn.
    """

    agent: str
    num_battles: int = 100
    parallel_actors: int = 5
    rounds: int = 1


def benchmark_model(config: ModelBenchmarkConfig) -> dict[str, Any]:
    """Decisions a second of a model against RandomBaseline, here and in Metamon's evaluation.

    Either clock runs from the end of the first forward pass (it compiles, with Metamon; all workers
    have begun, with us) until so many battles have finished. The median round by ratio is reported.
    """
    require_metamon()
    need_server()
    rounds = [(arena_rate(config, n), metamons_rate(config)) for n in range(config.rounds)]
    ours, theirs = sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
    return {
        "agent": config.agent,
        "battle_format": config.battle_format,
        "num_battles": config.num_battles,
        "workers": config.workers,
        "parallel_actors": config.parallel_actors,
        "decisions_per_second": round(ours, 1),
        "metamon_decisions_per_second": round(theirs, 1),
        "ratio_to_metamon": round(ours / theirs, 2),
        "ratios": [round(ours / theirs, 2) for ours, theirs in rounds],
    }


def need_server() -> None:
    """Raise UserError unless something listens where Metamon looks for its server."""
    try:
        socket.create_connection(SERVER, timeout=5).close()
    except OSError:
        raise UserError(
            "no Showdown server at localhost:8000: in Metamon's server/pokemon-showdown set "
            'exports.bindaddress = "127.0.0.1" in config/config.js, then run '
            "node pokemon-showdown start 8000 --no-security (without the port it may listen on "
            "every interface all the same)"
        ) from None


def arena_rate(config: ModelBenchmarkConfig, n: int) -> float:
    """Decisions of the model a second in the arena, over all workers."""
    conditions = Conditions.load(config.battle_format)
    running = config.workers * AT_ONCE
    battles = config.num_battles + running  # as with Metamon, none runs dry before the end
    finished = 0
    with tempfile.TemporaryDirectory() as folder:
        agent = f"{__name__}:WatchedPolicy?model={config.agent}&folder={folder}"
        specs = matchup(agent, OPPONENT, battles, conditions, config.seed + n)
        with LocalExecutor(config.workers, battles_at_once=AT_ONCE) as executor:
            for _, result in executor.play(specs):
                if result.score is None:
                    raise UserError(f"a battle could not be finished: {result.reason}")
                finished += 1
                if finished == config.num_battles:
                    break
        passes = [
            [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
            for file in Path(folder).iterdir()
        ]
    started = max(min(times)[0] for times in passes)  # when the last worker has begun
    ended = max(max(times)[0] for times in passes)
    decisions = sum(count for times in passes for moment, count in times if moment > started)
    return decisions / (ended - started)


def WatchedPolicy(folder: str, **options: str) -> Policy:
    """A model whose forward passes are noted in a file: when it was done, for how many."""
    from metamon_ext.upstream.policy import MetamonPolicy

    class Watched(MetamonPolicy):
        def act(self, decisions: Sequence[Decision]) -> list[int]:
            actions = super().act(decisions)
            with log.open("a") as file:
                file.write(f"{time.monotonic()} {len(decisions)}\n")
            return actions

    log = Path(folder) / f"{os.getpid()}"
    return Watched(**options)


def metamons_rate(config: ModelBenchmarkConfig) -> float:
    """Decisions of the model a second in `metamon.rl.evaluate.pretrained_vs_baselines`."""
    from metamon.env import TeamSet
    from metamon.rl.evaluate import pretrained_vs_baselines

    from metamon_ext.upstream.models import find_model

    model = find_model(config.agent)
    clock = Clock()
    initialize = model.initialize_agent

    def initialize_and_watch(*arguments: Any, **options: Any) -> Any:
        experiment = initialize(*arguments, **options)
        clock.watch(experiment.policy)
        return experiment

    model.initialize_agent = initialize_and_watch
    with output_to_stderr():  # of its environments' processes too
        pretrained_vs_baselines(
            model,
            battle_format=config.battle_format,
            team_set=TeamSet(str(SAMPLE_TEAMS / config.battle_format), config.battle_format),
            total_battles=config.num_battles,
            parallel_actors_per_baseline=config.parallel_actors,
            battle_backend=model.battle_backend,
            baselines=[OPPONENT],
        )
    return clock.rate


class Clock:
    """Counts and times the decisions of an AMAGO agent."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._batch = 0

    def watch(self, agent: Any) -> None:
        """Note each of the agent's forward passes, when it is done."""
        get_actions = agent.get_actions

        def noted(*arguments: Any, **options: Any) -> Any:
            actions, hidden = get_actions(*arguments, **options)
            self._times.append(time.perf_counter())
            self._batch = len(actions)
            return actions, hidden

        agent.get_actions = noted

    @property
    def rate(self) -> float:
        """Decisions a second, without the first pass."""
        return (len(self._times) - 1) * self._batch / (self._times[-1] - self._times[0])


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """What this process and its children print goes to standard error."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)
