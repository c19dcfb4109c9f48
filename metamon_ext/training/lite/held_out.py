"""Figures on held-out battles while a run trains: they show overfitting where the loss does not."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from metamon_ext.data.featurized import Featurized
from metamon_ext.data.split import Split
from metamon_ext.evaluation.offline import predict
from metamon_ext.evaluation.offline_figures import mean_figures
from metamon_ext.files import atomic_write
from metamon_ext.training.lite.config import TrainConfig
from metamon_ext.training.lite.featurizer import LiteFeaturizer
from metamon_ext.training.lite.model import LiteModel
from metamon_ext.training.lite.predictor import LitePredictor

TEST_LOG = "test_log.csv"
COLUMNS = ("step", "accuracy", "cross_entropy", "brier", "critic_loss")
"""See `metamon_ext.evaluation.offline_figures`. Without critics the last two are empty."""


class HeldOut:
    """The held-out battles of a run, of all its sources alike, and their log `test_log.csv`.

    Rows from files stay in memory, those of caches on disk.

    Args:
        config: the run.
        featurizer: the learner's.
        split: the side of the data that is held out.
    """

    def __init__(self, config: TrainConfig, featurizer: LiteFeaturizer, split: Split) -> None:
        self._path = config.output_dir / TEST_LOG
        self._battles = list(Featurized(featurizer, config.data_dir, config.cached, split))
        self._featurizer = featurizer

    def record(self, step: int, model: LiteModel, gammas: Sequence[float]) -> None:
        """Write the row of a step. Rows of this and later steps, which an interruption has undone,
        are replaced."""
        decisions = predict(LitePredictor(model, gammas, self._featurizer), self._battles)
        figures = {k: f"{v:.6g}" for k, v in mean_figures(decisions).items() if k in COLUMNS}
        rows = []
        if self._path.exists():
            with self._path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
        with atomic_write(self._path) as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, {"step": step, **figures}])
