"""The network on recorded battles is the network that played them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metamon_ext.cli import main
from metamon_ext.data.featurized import Featurized
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.training.lite.checkpoint import save_checkpoint
from metamon_ext.training.lite.model import LiteModel
from metamon_ext.training.lite.policy import LitePolicy
from metamon_ext.training.lite.predictor import LitePredictor

GAMMAS = (0.9, 0.99, 0.999, 0.9999)


class Noting(LitePolicy):
    """Appends the legal actions and log pi of each decision to a file."""

    def __init__(self, checkpoint: str, notes: str) -> None:
        super().__init__(checkpoint)
        self._notes = Path(notes)

    @staticmethod
    def check(checkpoint: str, *_: Any, **__: Any) -> None:
        LitePolicy.check(checkpoint)

    def _log_probs(self, decisions: Sequence[Any]) -> Any:
        found = super()._log_probs(decisions)
        with self._notes.open("ab") as file:
            for decision, row in zip(decisions, found, strict=False):
                pickle.dump((decision.battle_id, decision.legal_actions, row), file)
        return found


def save(path: Path, **content: Any) -> Path:
    """A checkpoint of a network that was never trained."""
    torch.manual_seed(0)
    model = LiteModel(gammas=4)
    known = {"model_sizes": model.sizes, "learner": {"model": model.state_dict()}}
    save_checkpoint(path, known | {"gammas": GAMMAS} | content)
    return path


def read_notes(path: Path) -> dict[str, list[tuple[list[int], Any]]]:
    notes: dict[str, list[tuple[list[int], Any]]] = {}
    with path.open("rb") as file:
        while file.peek(1):
            battle_id, legal, row = pickle.load(file)
            notes.setdefault(battle_id, []).append((legal, row))
    return notes


def test_its_predictions_are_the_probabilities_that_were_played(tmp_path: Path) -> None:
    """Up to half precision, and as long as the simulator allowed what the states allow."""
    checkpoint, notes = save(tmp_path / "net.pt"), tmp_path / "notes"
    name = f"tests.training.lite.test_predictor:Noting?checkpoint={checkpoint}&notes={notes}"
    play = ("play", "--p1", name, "--p2", "max_base_power", "--num_battles", "3", "--workers", "1")
    recorded = ("--team_set", "sample", "--save_trajectories_to", str(tmp_path / "data"))
    assert main([*play, *recorded]) == 0
    noted = read_notes(notes)
    predictor = LitePredictor.load(checkpoint)
    compared = 0
    for path in trajectory_files(tmp_path / "data"):
        trajectory = read_trajectory(path)
        if "max+base+power" in trajectory.name.player:
            continue
        key = f"{int(trajectory.name.battle_id.rpartition('-')[2]):016x}"
        (played,) = (rows for battle, rows in noted.items() if battle.startswith(key))
        (one,) = predictor.predict([predictor.featurizer.rows(path, trajectory)])
        assert len(played) == len(one.action) == trajectory.decisions
        for t, (legal, row) in enumerate(played):
            if np.flatnonzero(one.legal[t]).tolist() != legal:
                break  # from here on the memory differs
            assert one.action[t] in legal
            np.testing.assert_allclose(one.log_probs[t, legal], row[legal], atol=5e-3)
            compared += 1
    assert compared >= 30


@pytest.fixture
def arena(repository: Path) -> Path:
    return repository / "tests" / "data" / "arena"


def test_a_battle_is_predicted_alike_alone_and_among_others(tmp_path: Path, arena: Path) -> None:
    predictor = LitePredictor.load(save(tmp_path / "net.pt"))
    rows = [one.rows for one in Featurized(predictor.featurizer, arena)]
    for one, together in zip(rows[:5], predictor.predict(rows), strict=False):
        (alone,) = predictor.predict([one])
        for name, values in vars(alone).items():
            np.testing.assert_allclose(values, getattr(together, name), atol=1e-5)
        assert alone.value.shape == alone.q_taken.shape == (len(one), 4)
        assert abs(np.exp(alone.log_probs).sum(-1) - 1).max() < 1e-5
        assert not np.exp(alone.log_probs)[~alone.legal].any()


def test_the_reward_is_that_of_training(tmp_path: Path) -> None:
    """And a checkpoint from elsewhere imports nothing."""
    bindings = "import no.such.module\n\nWinLossReward.scale = 5.0\ntrain.reward_function = "
    path = save(tmp_path / "net.pt", bindings=bindings + "'WinLossReward'\n")
    assert LitePredictor.load(path).featurizer.reward.scale == 5.0
    old = LitePredictor.load(save(tmp_path / "old.pt", gammas=None))
    assert old.gammas == () and old.featurizer.reward.scale == 1.0
