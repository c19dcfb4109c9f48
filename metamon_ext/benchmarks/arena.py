"""The complete arena against the simulator alone, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import BattleConfig
from metamon_ext.arena.executors.local import BATTLES_AT_ONCE, LocalExecutor
from metamon_ext.arena.schedule import matchup
from metamon_ext.arena.simulator.process import BRIDGE, find_simulator, node_command
from metamon_ext.arena.teams import Team
from metamon_ext.errors import UserError

_ALONE = BRIDGE.with_name("alone.js")


@dataclass(frozen=True, kw_only=True)
class ArenaBenchmarkConfig(BattleConfig):
    """Settings of `benchmark_arena`; both sides use `workers` cores.

    Attributes:
        num_battles: for each core and round.
        battles_at_once: for each core.
        rounds: the two are measured in turn.
    """

    num_battles: int = 200
    battles_at_once: int = BATTLES_AT_ONCE
    rounds: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_battles * self.workers == 1:
            raise UserError("one battle is too few to measure: raise --num_battles")


def benchmark_arena(config: ArenaBenchmarkConfig) -> dict[str, Any]:
    """Random against random: decisions a second with and without everything around the simulator.

    The median round by ratio is reported. Time to start workers is left out: the clock runs from
    the end of the first battle to that of the last.
    """
    conditions = Conditions.load(config.battle_format)
    rounds = []
    with PeakMemory() as memory:
        for seed in range(config.seed, config.seed + config.rounds):
            battles = config.num_battles * config.workers
            specs = matchup("random", "random", battles, conditions, seed)
            decisions = 0
            started = ended = 0.0
            with LocalExecutor(config.workers, battles_at_once=config.battles_at_once) as executor:
                for _, result in executor.play(specs):
                    ended = time.perf_counter()
                    if started:
                        decisions += result.a_decisions + result.b_decisions
                    else:
                        started = ended
            alone = simulator_alone(
                config.battle_format, conditions.teams, config.workers, config.num_battles, seed
            )
            rounds.append((decisions / (ended - started), alone))
    rate, alone = sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
    return {
        "battle_format": config.battle_format,
        "workers": config.workers,
        "battles_at_once": config.battles_at_once * config.workers,
        "decisions_per_second": round(rate, 1),
        "simulator_decisions_per_second": round(alone, 1),
        "ratio_to_simulator": round(rate / alone, 3),
        "ratios": [round(rate / alone, 3) for rate, alone in rounds],
        "peak_memory_mb": round(memory.peak / 2**20),
    }


def simulator_alone(
    battle_format: str, teams: Sequence[Team], cores: int, battles: int, seed: int
) -> float:
    """Decisions a second of `cores` Node processes that play `battles` battles each."""
    packed = json.dumps([team.packed for team in teams])
    command = [*node_command(), str(_ALONE), str(find_simulator()), battle_format, str(battles)]
    processes = [
        subprocess.Popen(
            [*command, str(seed * cores + core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in range(cores)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write(packed)
        process.stdin.close()
    answers = []
    for process in processes:
        assert process.stdout
        answers.append(json.loads(process.stdout.read()))
        process.wait()
    return sum(answer["decisions"] / answer["seconds"] for answer in answers)


class PeakMemory:
    """The largest sum of resident memory, in bytes, of this process and all below it (Linux)."""

    def __init__(self, every: float = 0.2) -> None:
        self.peak = 0
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self.peak = max(self.peak, tree_memory(os.getpid()))

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def tree_memory(pid: int) -> int:
    """Resident memory of a process and its descendants, in bytes; pages they share count twice."""
    total, pids = 0, [pid]
    page = os.sysconf("SC_PAGE_SIZE")
    while pids:
        process = Path("/proc") / str(pids.pop())
        try:
            total += int((process / "statm").read_text().split()[1]) * page
            for task in (process / "task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        except (OSError, IndexError):
            pass  # it has just ended
    return total
