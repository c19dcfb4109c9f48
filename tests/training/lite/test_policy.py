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
from metamon_ext.training.lite.checkpoint import load_checkpoint, load_model, save_checkpoint
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


def test_epsilon_is_the_share_of_random_actions(
    checkpoint: Path, battles: dict[str, list[Asked]]
) -> None:
    state = next(d.state for b in battles.values() for d in b if len(d.legal_actions) > 6)
    asked = [Asked(str(seed), state, seed) for seed in range(400)]
    chosen = []
    for epsilon in (0, "0.5", 1):
        policy = LitePolicy(checkpoint, temperature=0, epsilon=epsilon)
        for decision in asked:
            policy.begin(decision.battle_id)
        chosen.append(policy.act(asked))
    best = chosen[0][0]
    greedy, half, none = (actions.count(best) / 400 for actions in chosen)
    legal = len(asked[0].legal_actions)
    assert greedy == 1
    assert half == pytest.approx((1 + 1 / legal) / 2, abs=0.1)
    assert none == pytest.approx(1 / legal, abs=0.1)
    with pytest.raises(ValueError, match="epsilon"):
        LitePolicy(checkpoint, epsilon=2)


@pytest.mark.parametrize("temperature", ["-1", "nan"])
def test_a_temperature_below_zero_is_refused(checkpoint: Path, temperature: str) -> None:
    with pytest.raises(ValueError, match="temperature must be a number of at least 0"):
        LitePolicy(checkpoint, temperature)


def test_the_folder_of_a_run_is_as_good_as_its_file(checkpoint: Path) -> None:
    LitePolicy(checkpoint.parent)
    with pytest.raises(UserError, match="no such checkpoint"):
        LitePolicy(checkpoint.parent / "other")


@pytest.fixture(scope="module")
def with_critics(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, and what its critics are for."""
    path = tmp_path_factory.mktemp("critics") / "checkpoint.pt"
    save_checkpoint(path, load_checkpoint(checkpoint) | {"gammas": [0.9, 0.99, 0.999, 0.9999]})
    return path


def test_beta_plays_what_the_critic_of_the_discount_prefers(
    with_critics: Path, battles: dict[str, list[Asked]]
) -> None:
    decisions = next(iter(battles.values()))
    model = load_model(with_critics)
    seen: list[torch.Tensor] = []
    compute = model.heads.q_values

    def noted(x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        seen.append(compute(x, e))
        return seen[-1]

    for index, gamma in ((0, 0.9), (2, 0.999)):
        policy = LitePolicy(with_critics, temperature=0, beta=1e6, gamma=gamma)
        policy._model.heads.q_values = noted  # type: ignore[method-assign]
        policy.begin("one")
        decision = Asked("one", decisions[0].state, seed=1)
        (chosen,) = policy.act([decision])
        q = seen[-1][0, decision.legal_actions, index]
        assert chosen == decision.legal_actions[int(q.argmax())]


def test_beta_0_is_the_policy_itself(with_critics: Path, battles: dict[str, list[Asked]]) -> None:
    decisions = next(iter(battles.values()))
    choices = []
    for options in ({}, {"beta": 0.0}, {"beta": "0"}):
        policy = LitePolicy(with_critics, **options)
        policy.begin(decisions[0].battle_id)
        choices.append([policy.act([decision])[0] for decision in decisions])
    assert choices[0] == choices[1] == choices[2]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (
            {"gammas": [0.9, 0.99]},
            {"gamma": 0.999},
            "no critic for gamma = 0.999. Known: 0.9",
        ),
        ({"gammas": []}, {}, "no critic for gamma = 0.999. It was trained without critics"),
        ({}, {}, "does not say for which discounts its critics are"),
        ({"gammas": [0.999]}, {"beta": -1}, "beta must be a number of at least 0, not -1"),
    ],
)
def test_a_critic_that_is_not_there_is_refused(
    content: dict[str, object],
    options: dict[str, object],
    says: str,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", load_checkpoint(checkpoint) | content)
    with pytest.raises((UserError, ValueError)) as refusal:
        LitePolicy(tmp_path, **({"beta": 1.0} | options))
    assert says in str(refusal.value)
