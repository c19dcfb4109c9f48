"""A model in the arena is the model that AMAGO would play, one battle at a time."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from amago.envs.amago_env import SequenceWrapper
from metamon.baselines import ALL_BASELINES
from metamon.interface import UniversalAction
from metamon.rl.metamon_to_amago import MetamonAMAGOWrapper
from numpy.typing import NDArray

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.errors import UserError
from metamon_ext.upstream.policy import CHUNK, MetamonPolicy
from metamon_ext.upstream.tracker import MetamonTracker
from tests.support.battles import play
from tests.support.recorded_states import recordings
from tests.upstream.fresh_runs import RNN, fresh_run, transformer_record
from tests.upstream.test_tracker import follow

Schedule = Callable[..., list[BattleSpec]]
NEED_DOWNLOADS = {"SmogonSwitcher", "KaizoPlus"}
"""Baselines that look at usage statistics."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A working directory with the runs rnn and transformer."""
    folder = tmp_path_factory.mktemp("work")
    fresh_run(folder / "runs", "rnn", RNN)
    fresh_run(folder / "runs", "transformer", transformer_record(folder))
    minikazam = {"base_model": "Minikazam"}
    fresh_run(folder / "runs", "minikazam", minikazam)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@dataclass
class Question:
    """A decision of a recorded battle."""

    battle_id: str
    tracker: MetamonTracker
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._state: Any = None

    @property
    def state(self) -> Any:
        if self._state is None:
            self._state = self.tracker.state()
        return self._state

    @property
    def legal_actions(self) -> list[int]:
        return list(self.tracker.legal_choices())


class Recorded(gym.Env):
    """What Metamon's environment shows of the questions of a recorded battle."""

    metamon_battle_format = metamon_opponent_name = "recorded"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.space = copy.deepcopy(model.observation_space)
        self.space.reset()
        self.observation_space = self.space.gym_space
        self.metamon_action_space = model.action_space
        self.action_space = model.action_space.gym_space
        self.question: Question | None = None
        self.last: Any = None

    def show(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        assert self.question is not None
        self.last = self.question.state
        legal = [
            self.metamon_action_space.action_to_agent_output(self.last, UniversalAction(action))
            for action in self.question.legal_actions
        ]
        return self.space.state_to_obs(self.last), {"legal_actions": legal}

    def reset(self, *_: Any, **__: Any) -> Any:
        return self.show()

    def step(self, action: Any) -> Any:
        assert self.question is not None
        reward = self.model.reward_function(self.last, self.question.state)
        observation, info = self.show()
        return observation, reward, False, False, info


class Alone:
    """One battle through AMAGO's own wrappers and `Agent.get_actions`, as `interact` does it."""

    def __init__(self, policy: MetamonPolicy) -> None:
        self.agent, self.env = policy._agent, Recorded(policy._model)
        self.sequence = SequenceWrapper(MetamonAMAGOWrapper(self.env), save_trajs_to=None)
        self.hidden = self.agent.traj_encoder.init_hidden_state(1, torch.device("cpu"))
        self.probs: list[torch.Tensor] = []

    def ask(self, question: Question, last_action: int | None) -> tuple[int, NDArray[Any]]:
        """The likeliest action and the distribution that AMAGO samples from."""
        self.env.question = question
        if last_action is None:
            self.sequence.reset()
        else:
            self.sequence.step(np.array([last_action], dtype=np.uint8))
        obs, rl2s, time_idxs = self.sequence.current_timestep
        watch = self.agent.actor.register_forward_hook(
            lambda *seen: self.probs.append(seen[-1].probs)
        )
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            action, self.hidden = self.agent.get_actions(
                obs={key: torch.from_numpy(value).unsqueeze(1) for key, value in obs.items()},
                rl2s=torch.from_numpy(rl2s).unsqueeze(1),
                time_idxs=torch.from_numpy(time_idxs).unsqueeze(1),
                hidden_state=self.hidden,
                sample=False,
            )
        watch.remove()
        return int(action), self.probs.pop()[0, 0, -1].numpy()


@pytest.mark.parametrize("model", ["rnn_Epoch1", "transformer_Epoch1", "minikazam_Epoch1"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_batch_of_battles_is_played_as_amago_plays_each_alone(
    runs: None, model: str, temperature: float
) -> None:
    policy = MetamonPolicy(model, temperature=temperature)
    battles = {str(i): follow(recording) for i, recording in enumerate(recordings()[::4])}
    alone = {battle_id: Alone(policy) for battle_id in battles}
    actions: dict[str, int | None] = dict.fromkeys(battles)
    for battle_id in battles:
        policy.begin(battle_id)
    rng, compared = random.Random(0), 0
    while battles and compared < 400:
        pending = rng.sample(list(battles), rng.randint(1, len(battles)))
        questions = []
        for battle_id in pending:
            tracker = next(battles[battle_id], None)
            if tracker is None or not tracker.legal_choices():
                del battles[battle_id]
            else:
                questions.append(Question(battle_id, tracker))
        if not questions:
            continue
        probs = policy.probabilities(questions)
        for question, ours in zip(questions, probs, strict=False):
            battle_id = question.battle_id
            best, theirs = alone[battle_id].ask(question, actions[battle_id])
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
            legal = policy._outputs(question)
            assert best in legal and ours[best] >= ours.max() - 1e-5
            policy._choose(question, ours)
            actions[battle_id] = policy._memories[battle_id].action
            compared += 1
    assert compared > 300


def test_asked_twice_in_one_state_a_memory_does_not_move_on(runs: None) -> None:
    policy = MetamonPolicy("rnn_Epoch1", temperature=0)
    policy.begin("twice")
    policy.begin("once")
    for i, tracker in zip(range(8), follow(recordings()[0]), strict=False):
        twice, once = Question("twice", tracker), Question("once", tracker)
        first = policy.probabilities([twice])[0]
        if i % 2:
            np.testing.assert_array_equal(policy.probabilities([twice])[0], first)
        np.testing.assert_array_equal(policy.probabilities([once])[0], first)
        assert policy._choose(twice, first) == policy._choose(once, first)


def test_temperature_zero_takes_the_likeliest_and_a_high_one_any(runs: None) -> None:
    tracker = next(iter(follow(recordings()[0])))
    entropies = []
    for temperature in (0.5, 1.0, 4.0):
        policy = MetamonPolicy("rnn_Epoch1", temperature=temperature)
        policy.begin("0")
        probs = policy.probabilities([Question("0", tracker)])[0]
        entropies.append(-(probs * np.log(probs)).sum())
    assert entropies == sorted(entropies)
    greedy = PolicyRef.resolve("rnn_Epoch1?temperature=0").build()
    greedy.begin("0")
    actions = {greedy.act([Question("0", tracker, random.Random(i))])[0] for i in range(20)}
    assert len(actions) == 1


@pytest.mark.parametrize("model", ["rnn_Epoch1", "transformer_Epoch1"])
def test_the_same_seed_gives_the_same_battles_however_they_are_batched(
    runs: None, schedule: Schedule, model: str
) -> None:
    specs = schedule(model, "RandomBaseline", 3)
    digests = []
    for at_once in (1, 3):
        digests.append(play(specs, 1, battles_at_once=at_once))
    assert digests[0] == digests[1]
    assert all(result.score is not None for result in digests[0])


def test_two_models_share_a_worker(runs: None, schedule: Schedule) -> None:
    specs = schedule("rnn_Epoch1", "transformer_Epoch1", 2, "gen9ou")
    for result in play(specs, workers=1):
        assert result.reason == "" and result.a_invalid == result.b_invalid == 0


def test_more_decisions_than_a_chunk_are_answered(runs: None) -> None:
    policy = MetamonPolicy("rnn_Epoch1")
    tracker = next(iter(follow(recordings()[0])))
    questions = [Question(str(i), tracker, random.Random(i)) for i in range(CHUNK + 3)]
    for question in questions:
        policy.begin(question.battle_id)
    answers = policy.act(questions)
    assert len(answers) == CHUNK + 3
    assert set(answers) <= set(tracker.legal_choices()) and len(set(answers)) > 1


def test_a_checkpoint_that_is_not_there_is_one_line(runs: None) -> None:
    with pytest.raises(UserError, match=r"rnn has no checkpoint 7. It has "):
        PolicyRef.resolve("rnn_Epoch1?checkpoint=7").build()


@pytest.mark.parametrize("baseline", sorted(set(ALL_BASELINES) - NEED_DOWNLOADS))
def test_every_baseline_takes_a_seat(baseline: str, schedule: Schedule) -> None:
    try:
        PolicyRef.resolve(baseline).build()
    except UserError as error:
        assert "lacks a file that Metamon brings" in str(error)
        pytest.skip(str(error))
    specs = schedule(baseline, "RandomBaseline", 3)
    assert [result.reason for result in play(specs, workers=1)] == [""] * 3
