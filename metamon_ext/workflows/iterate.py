"""The loop of generation, training and measurement as one resumable run.

    iteration_K/        see `metamon_ext.workflows.iteration`
    results.sqlite      every battle of the run: generation, races, gates and tables
    iterations.jsonl    the settings, then a line for each finished iteration
    report.html         ratings of the champions, decisions and tables

With `keep_iterations` = N, iteration K trains on data of the N iterations before it and of
`data_dir`, and everything that no later iteration can need is deleted. After iteration K that is
`selfplay/`, `data/`, `training/` and AMAGO's training states of iterations up to K - N, and the
files of their checkpoints that have not become champions. Champions, logs, plans and results are
always kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import find_executor
from metamon_ext.arena.mixture import read_population
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.workflows.iterate_config import AUTO, IterateConfig
from metamon_ext.workflows.iterate_report import write_iterate_report
from metamon_ext.workflows.iteration import IterateRun, Iteration

JOURNAL = "iterations.jsonl"


@dataclass(frozen=True)
class IterateResult:
    """What came of a run.

    Attributes:
        champion: its name: a policy's, or the path of a checkpoint in the run's folder.
        lines: of all iterations, as in `iterations.jsonl`.
        finished_now: how many of them this call has finished.
        rows: all battles of the run.
        report: the path of the report.
    """

    champion: str
    lines: list[dict[str, Any]]
    finished_now: int
    rows: list[BattleRow]
    report: Path


def iterate(config: IterateConfig) -> IterateResult:
    """Generate, train and measure again and again; finished iterations are not repeated.

    Raises UserError for bad input, RunStopped where the run cannot go further.
    """
    config.check_training(config.base)
    find_executor(config.executor)
    population = None if config.population == AUTO else read_population(Path(config.population))
    training, held_out = (
        [Conditions.load(config.battle_format, name, config.turn_limit) for name in sets]
        for sets in (config.team_set, config.held_out_team_set)
    )
    report = config.output_dir / "report.html"
    lines: list[dict[str, Any]] = []
    with ResultStore(config.output_dir / RESULTS) as store:
        run = IterateRun(config, store, training, held_out, population)
        new = run.iterate(JOURNAL, lines, lambda: Iteration(run, lines).play())
        run.clean(lines, {line["champion"] for line in lines})
        rows = store.rows()
        if new or not report.exists():
            write_iterate_report(config, lines, rows)
    champion = lines[-1]["champion"]
    return IterateResult(champion, lines, new, rows, report)
