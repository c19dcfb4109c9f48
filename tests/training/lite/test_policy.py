"""A trained network in a seat."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.spaces.actions import maybe_legal_actions
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.training.lite.checkpoint import save_checkpoint
from metamon_ext.training.lite.model import LiteModel
from metamon_ext.training.lite.policy import CHUNK, LitePolicy
from tests.conftest import ROOT

RECORDED = ROOT / "tests" / "data" / "arena"


@dataclass
class Asked:
    """A decision, with nothing of an arena behind it."""

    battle_id: str
    state: UniversalState
    seed: int
    legal_actions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.legal_actions = self.legal_actions or maybe_legal_actions(self.state)

    @property
    def rng(self) -> random.Random:
        return random.Random(self.seed)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = LiteModel(gammas=4)
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    save_checkpoint(path, {"model_sizes": model.sizes, "learner": {"model": model.state_dict()}})
    return path


@pytest.fixture(scope="module")
def battles() -> dict[str, list[Asked]]:
    """The decisions of every recorded battle of the first generation and of the ninth."""
    found = {}
    for battle_format in ("gen1ou", "gen9ou"):
        for path in trajectory_files(RECORDED / battle_format):
            states = map(UniversalState.from_dict, read_trajectory(path).states[:-1])
            name = path.name
            found[name] = [Asked(name, state, seed) for seed, state in enumerate(states)]
    return found


def test_a_battle_is_played_alike_alone_and_among_others(
    checkpoint: Path, battles: dict[str, list[Asked]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the choices: every score, bit for bit."""
    seen: dict[tuple[str, int], bytes] = {}
    policy = LitePolicy(checkpoint, temperature=1.0)
    compute = policy._log_probs

    def noted(chunk: list[Asked]) -> np.ndarray:
        result = compute(chunk)
        for decision, row in zip(chunk, result, strict=False):
            key = (decision.battle_id, decision.seed)
            assert seen.setdefault(key, row.tobytes()) == row.tobytes()
        return result

    monkeypatch.setattr(policy, "_log_probs", noted)
    alone = {}
    for name, decisions in battles.items():
        policy.begin(name)
        alone[name] = [policy.act([decision])[0] for decision in decisions]
        policy.end(name)

    rng = random.Random(0)
    for name in battles:
        policy.begin(name)
    together: dict[str, list[int]] = {name: [] for name in battles}
    while waiting := [n for n in battles if len(together[n]) < len(battles[n])]:
        names = rng.sample(waiting, rng.randint(1, len(waiting)))
        for name, action in zip(
            names, policy.act([battles[n][len(together[n])] for n in names]), strict=True
        ):
            together[name].append(action)
    assert together == alone
    assert len(seen) == sum(map(len, battles.values())) > 10 * CHUNK


def test_a_batch_may_be_larger_than_a_chunk(
    checkpoint: Path, battles: dict[str, list[Asked]]
) -> None:
    state = next(iter(battles.values()))[0].state
    policy = LitePolicy(checkpoint)
    asked = [Asked(str(i), state, seed=7) for i in range(2 * CHUNK + 3)]
    for decision in asked:
        policy.begin(decision.battle_id)
    assert len(set(policy.act(asked))) == 1  # one state, one seed, one choice
    assert policy.act([]) == []


def test_asked_again_in_one_state_it_does_not_believe_that_time_has_passed(
    checkpoint: Path, battles: dict[str, list[Asked]]
) -> None:
    decisions = next(iter(battles.values()))
    patient, pressed = LitePolicy(checkpoint), LitePolicy(checkpoint)
    for policy in (patient, pressed):
        policy.begin(decisions[0].battle_id)
    for decision in decisions:
        pressed.act([decision])
        assert pressed.act([decision]) == patient.act([decision])


def test_only_legal_actions_are_chosen(checkpoint: Path, battles: dict[str, list[Asked]]) -> None:
    state = next(iter(battles.values()))[0].state
    policy = LitePolicy(checkpoint, temperature=100.0)
    for action in range(13):
        policy.begin("battle")
        assert policy.act([Asked("battle", state, action, [action])]) == [action]


def test_temperature_sharpens_and_zero_takes_the_likeliest(
    checkpoint: Path, battles: dict[str, list[Asked]]
) -> None:
    state = next(d.state for b in battles.values() for d in b if len(d.legal_actions) > 6)

    def share_of_the_likeliest(temperature: float | str) -> float:
        policy = LitePolicy(checkpoint, temperature)
        asked = [Asked(str(seed), state, seed) for seed in range(400)]
        for decision in asked:
            policy.begin(decision.battle_id)
        actions = policy.act(asked)
        return actions.count(max(set(actions), key=actions.count)) / len(actions)

    shares = [share_of_the_likeliest(t) for t in ("5.0", 0.02, 0)]
    assert shares[0] < shares[1] <= shares[2] == 1.0


@pytest.mark.parametrize("temperature", ["-1", "nan"])
def test_a_temperature_below_zero_is_refused(checkpoint: Path, temperature: str) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        LitePolicy(checkpoint, temperature)


def test_the_folder_of_a_run_is_as_good_as_its_file(checkpoint: Path) -> None:
    LitePolicy(checkpoint.parent)
    with pytest.raises(UserError, match="no such checkpoint"):
        LitePolicy(checkpoint.parent / "other")
