"""A run that holds out battles: what it trains on, and its log."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gin
import pytest

from metamon_ext.data.featurized import Featurized
from metamon_ext.data.split import Split
from metamon_ext.errors import UserError
from metamon_ext.evaluation.offline import predict
from metamon_ext.evaluation.offline_figures import mean_figures
from metamon_ext.training.lite.dataset import load_folder
from metamon_ext.training.lite.held_out import COLUMNS, TEST_LOG
from metamon_ext.training.lite.learner import Learner
from metamon_ext.training.lite.predictor import LitePredictor
from metamon_ext.training.lite.train import TrainConfig, train
from tests.conftest import ROOT
from tests.training.lite.test_train import SMALL

DATA = ROOT / "tests" / "data" / "arena"
FRACTION = 0.3


@pytest.fixture(autouse=True)
def _no_settings_left() -> Any:
    yield
    gin.clear_config()


def run(folder: Path, steps: int, fraction: float | None = FRACTION, **options: Any) -> Path:
    train(
        TrainConfig(
            data_dir=DATA, output_dir=folder, steps=steps, gin=SMALL, test_fraction=fraction,
            **options,
        )
    )  # fmt: skip
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / TEST_LOG).open() as file:
        return list(csv.DictReader(file))


def test_held_out_battles_are_not_trained_on(tmp_path: Path) -> None:
    train_side = load_folder(DATA, split=Split("train", FRACTION))
    everything = load_folder(DATA)
    predictor = LitePredictor.load(run(tmp_path / "run", 10))
    test_side = Featurized(predictor.featurizer, DATA, split=Split("test", FRACTION))
    assert len(train_side) + sum(len(one.rows) for one in test_side) == len(everything)
    last = mean_figures(predict(predictor, test_side))
    rows = rows_of(tmp_path / "run")
    assert list(rows[0]) == list(COLUMNS)
    assert [row["step"] for row in rows] == ["5", "10"]
    for name in COLUMNS[1:]:
        assert float(rows[-1][name]) == pytest.approx(last[name], rel=1e-4)


def test_a_killed_run_logs_no_row_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the row of a step and its checkpoint too."""
    from metamon_ext.training.lite import train as training

    complete = rows_of(run(tmp_path / "complete", 12))
    assert [row["step"] for row in complete] == ["5", "10", "12"]
    update, save, calls = Learner.update, training._Run._save, iter(range(100))

    def killed_update(self: Learner, *args: Any) -> Any:
        if next(calls) == 8:
            raise KeyboardInterrupt
        return update(self, *args)

    def killed_save(self: Any) -> None:
        if self.step == 10:
            raise KeyboardInterrupt
        save(self)

    for owner, name, killed in (
        (Learner, "update", killed_update),
        (training._Run, "_save", killed_save),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, killed)
            run(tmp_path / "killed", 12)
    assert [row["step"] for row in rows_of(tmp_path / "killed")] == ["5", "10"]
    assert rows_of(run(tmp_path / "killed", 12)) == complete


def test_by_default_nothing_is_held_out(tmp_path: Path) -> None:
    assert not (run(tmp_path / "run", 5, None) / TEST_LOG).exists()
    with pytest.raises(UserError, match=r"test_fraction = 0\.3 here"):
        run(tmp_path / "run", 10)


def test_a_cloned_run_has_no_figures_of_a_value(tmp_path: Path) -> None:
    (row,) = rows_of(run(tmp_path / "run", 5, gin_config="behavior_cloning"))
    assert row["brier"] == row["critic_loss"] == "" and float(row["cross_entropy"]) > 0


@pytest.mark.parametrize(("fraction", "says"), [(2.0, "from 0 to 1"), (1.0, "no trajectories")])
def test_a_share_that_leaves_nothing_is_refused(tmp_path: Path, fraction: float, says: str) -> None:
    with pytest.raises(UserError, match=says):
        run(tmp_path / "run", 5, fraction)
