"""`metamon-ext train`: the small built-in learner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from metamon_ext.cli.flags import WORKERS, Functions
from metamon_ext.errors import UserError
from metamon_ext.settings import check_run_name
from metamon_ext.training.lite.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Flags(TrainConfig):
    """A run of the built-in learner.

    Attributes:
        run_name: a folder of this name is made.
        save_dir: runs are in {save_dir}/{run_name}.
        resume: accepted and ignored; a run is always resumed.
        workers: processes that read `data_dir`; training itself takes one.
    """

    run_name: str
    save_dir: Path = Path("runs")
    resume: bool = False
    workers: int = WORKERS
    output_dir: tyro.conf.Suppress[Path] = Path()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_run_name(self.run_name)
        if (self.data_dir is None) == (not self.cached):
            raise UserError("Pass either --data_dir or --cached.")
        object.__setattr__(self, "output_dir", self.save_dir / self.run_name)


def train_command(config: Flags) -> int:
    """Exit code 0 when the last step is made and saved."""
    from metamon_ext.training.lite.train import train

    train(config)
    return 0


FUNCTIONS: Functions = {"train": train_command}
