"""What a training run reports while it runs: a CSV file, a progress bar and, if asked, wandb."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import gin
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write
from metamon_ext.terminal import plain, progress_bar

LOG = "training_log.csv"


class TrainingLog:
    """A context manager; `record` adds a step's metrics.

    Args:
        run_dir: gets `training_log.csv`. Rows after `first`, of steps that an interruption has
            undone, are dropped.
        first: steps already made.
        steps: steps that will have been made in the end.
        use_wandb: log to Weights & Biases as well.
    """

    def __init__(self, run_dir: Path, first: int, steps: int, use_wandb: bool) -> None:
        path = run_dir / LOG
        lines = path.read_text().splitlines(keepends=True) if first and path.exists() else []
        with atomic_write(path) as temporary:
            temporary.write_text("".join(lines[: first + 1]))
        self._file = path.open("a", newline="", buffering=1)
        self._writer: csv.DictWriter[str] | None = None
        self._write_header = not lines
        self._progress = progress_bar(
            MofNCompleteColumn(), plain("{task.fields[metrics]}"), TimeRemainingColumn()
        )
        self._task = self._progress.add_task(run_dir.name, total=steps, completed=first, metrics="")
        self._wandb = _start_wandb(run_dir) if use_wandb else None

    def __enter__(self) -> TrainingLog:
        self._progress.start()
        return self

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Add the row of a step."""
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, ["step", *metrics], lineterminator="\n")
            if self._write_header:
                self._writer.writeheader()
        self._writer.writerow({"step": step} | {k: f"{v:.6g}" for k, v in metrics.items()})
        losses = "".join(
            f"{name} {metrics[f'{name}_loss']:.3f}  "
            for name in ("actor", "critic")
            if f"{name}_loss" in metrics
        )
        text = f"{losses}{metrics['samples_per_second']:,.0f} samples/s"
        self._progress.update(self._task, completed=step, metrics=text)
        if self._wandb is not None:
            self._wandb.log(metrics, step=step)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._file.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(error is not None))


def _start_wandb(run_dir: Path) -> Any:
    try:
        import wandb
    except ImportError:
        raise UserError("--log needs wandb: pip install 'metamon_ext[log]'") from None
    if os.path.expanduser("~") == "~":  # a container's numeric user; wandb looks for settings there
        os.environ["HOME"] = str(run_dir.resolve())
    return wandb.init(
        project="metamon_ext",
        name=run_dir.name,
        dir=run_dir,
        id=run_dir.name,
        resume="allow",
        config={"gin": gin.config_str()},
    )
