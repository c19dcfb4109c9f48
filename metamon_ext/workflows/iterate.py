"""The loop of generation, training and measurement as one resumable run.

    iteration_K/        see `metamon_ext.workflows.iteration`
    results.sqlite      every battle of the run: generation, races, gates and tables
    iterations.jsonl    the settings, then a line for each finished iteration
    report.html         ratings of the champions, decisions and tables

With `keep_iterations` = N, iteration K trains on data of the N iterations before it and of
`data_dir`, and everything that no later iteration can need is deleted: `selfplay/`, `data/` and
`training/` of iterations up to K - N after iteration K, and the files of their checkpoints that
have not become champions. Champions, logs, plans and results are always kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.text import Text

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import find_executor
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import cannot_write
from metamon_ext.files import StageJournal
from metamon_ext.terminal import console
from metamon_ext.workflows.generate import read_population
from metamon_ext.workflows.iterate_config import AUTO, IterateConfig
from metamon_ext.workflows.iterate_report import write_iterate_report
from metamon_ext.workflows.iteration import Iteration, Line, Run

JOURNAL = "iterations.jsonl"
FREE = {"output_dir", "workers", "executor", "iterations", "keep_iterations", "data_dir"}
"""Settings that a resumed run may change, or that are recorded in another form."""


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
    config.check_training()
    find_executor(config.executor)
    population = None if config.population == AUTO else read_population(Path(config.population))
    loaded = {
        name: Conditions.load(config.battle_format, name, config.turn_limit)
        for name in [*config.team_set, *config.held_out_team_set]
    }
    training = [loaded[name] for name in config.team_set]
    held_out = [loaded[name] for name in config.held_out_team_set]
    report = config.output_dir / "report.html"
    lines: list[dict[str, Any]] = []
    with ResultStore(config.output_dir / RESULTS) as store:
        run = Run(config, store, training, held_out, population)
        with StageJournal(config.output_dir / JOURNAL, settings_of(run), lines.append) as journal:
            before = len(lines)
            while len(lines) < config.iterations:
                iteration = Iteration(run, lines)
                title = f"Iteration {iteration.number} of {config.iterations}"
                console(stderr=True).print(Text(title, "bold"))
                line = iteration.play()
                try:
                    journal.add(line)
                except OSError as error:
                    raise cannot_write(config.output_dir, error) from None
                lines.append(line)
                console(stderr=True).print(line["reason"])
            clean(run, lines)
        rows = store.rows()
        if len(lines) > before or not report.exists():
            write_iterate_report(config, lines, rows)
    champion = lines[-1]["champion"]
    return IterateResult(champion, lines, len(lines) - before, rows, report)


def settings_of(run: Run) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    config = run.config
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in FREE}
    settings = {n: list(v) if isinstance(v, tuple | list) else v for n, v in settings.items()}
    return settings | {
        "population": run.population or AUTO,
        "data_dir": [str(folder) for folder in config.data_dir],
        "teams": [conditions.teams_id for conditions in [*run.training, *run.held_out]],
        "fingerprint of the base": run.player(config.base).fingerprint,
    }


def clean(run: Run, lines: Sequence[Line]) -> None:
    """Delete what no later iteration needs (see the module's docstring)."""
    champions = {line["checkpoints"].get(line["champion"]) for line in lines}
    for number in range(1, run.kept_from(len(lines) + 1)):
        for name in ("selfplay", "data", "training"):
            shutil.rmtree(run.folder(number) / name, ignore_errors=True)
        for weights in set(lines[number - 1]["checkpoints"].values()) - champions:
            (run.config.output_dir / weights).unlink(missing_ok=True)
