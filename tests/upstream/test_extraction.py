"""Policy extraction from AMAGO's agents: true to its formula, in play and as a last stage."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from amago.loading import Batch
from metamon.rl.metamon_to_amago import MetamonAMAGOExperiment

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.errors import UserError
from metamon_ext.upstream.extraction import ExtractionAgent, q_values
from metamon_ext.upstream.policy import MetamonPolicy
from tests.support.recorded_states import recordings
from tests.upstream.fresh_runs import RNN, fresh_run, transformer_record
from tests.upstream.helpers import MODELS, make_experiment, same_weights
from tests.upstream.test_policy import Question
from tests.upstream.test_tracker import follow

pytestmark = pytest.mark.usefixtures("eager")


def make(folder: Path, model: str, **bindings: Any) -> MetamonAMAGOExperiment:
    """An experiment that extracts the policy of fresh weights, without warm-up."""
    settings = {
        "ExtractionAgent__beta": 0.5,
        "MetamonAMAGOExperiment__lr_warmup_steps": 0,
        "MetamonAMAGOExperiment__learning_rate": 3e-3,
        "SDPAttention__dtype": None,
        "TformerTrajEncoder__sigma_reparam": False,
    }
    files = ("policy_extraction", "bf16_sdpa")
    experiment = make_experiment(folder, model, *files, **(settings | bindings))
    experiment.policy.train()
    return experiment


def improved(agent: ExtractionAgent, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """pi_beta by the formula, and the actor's policy, over what is legal: (B, L, G, A) each."""
    legal = ~batch.obs["illegal_actions"].unsqueeze(-2)
    with torch.no_grad():
        memory = agent.reference.encode(batch)
        seen = {"illegal_actions": batch.obs["illegal_actions"]}
        pi = agent.reference.actor(memory, straight_from_obs=seen).probs * legal
        new = agent.actor(memory, straight_from_obs=seen).probs * legal
        q = q_values(agent, memory)
    weight = pi * torch.exp(agent.beta * (q - q.amax(-1, keepdim=True)))
    return weight / weight.sum(-1, keepdim=True), new / new.sum(-1, keepdim=True)


@pytest.mark.parametrize("model", MODELS)
def test_q_values_are_those_of_amago(model: str, batch: Batch, tmp_path: Path) -> None:
    """Of the recorded actions, as `Agent.forward` computes them for its advantages."""
    agent = make(tmp_path, model).policy
    memory = agent.reference.encode(batch)
    actions = batch.actions.clamp(0, 1)
    memory = memory[:, :-1]
    every = actions.unsqueeze(0).unsqueeze(3).expand(-1, -1, -1, len(agent.gammas), -1)
    with torch.no_grad():
        q = agent.critics(memory, every)
        if model == "minikazam":
            expected = agent.popart(q, normalized=False)
        else:
            expected = agent.critics.bin_dist_to_raw_vals(q)
    expected = expected[0].mean(2).squeeze(-1) / agent.reward_multiplier
    ours = (q_values(agent, memory) * actions.unsqueeze(2)).sum(-1)
    played = actions.sum(-1) == 1
    assert played.any()
    torch.testing.assert_close(ours[played], expected[played], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_the_kl_from_the_improved_policy(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    agent = make(tmp_path, model).policy
    critic_loss, loss = agent(batch, log_step=True)
    assert critic_loss is None
    p, r = improved(agent, batch)
    expected = torch.where(p > 0, p * (p.log() - r.log()), 0.0).sum(-1, keepdim=True)[:, :-1]
    decides = (~batch.obs["illegal_actions"]).any(-1)[:, :-1]
    torch.testing.assert_close(loss[decides], expected[decides], atol=2e-5, rtol=1e-3)
    assert expected[decides].max() > 1e-3
    assert (
        0
        < agent.update_info["Extraction KL"]
        == pytest.approx(float(agent.update_info["Extraction Improvement KL"]), rel=1e-3)
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_actor_alone_learns_and_becomes_the_improved_policy(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    experiment = make(tmp_path, model)
    agent = experiment.policy
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    kls = []
    for _ in range(25):
        info = experiment.train_step(copy.deepcopy(batch), log_step=True)
        kls.append(float(info["Extraction KL"]))
    assert kls[-1] < 0.5 * kls[0]
    after = agent.state_dict()
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert "actor" in changed and changed <= {"actor", "target_actor", "target_critics"}
    assert agent.training and not agent.critics.training


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_has_its_teacher(model: str, batch: Batch, tmp_path: Path) -> None:
    experiment = make(tmp_path, model)
    for _ in range(3):
        experiment.train_step(copy.deepcopy(batch), log_step=False)
    experiment.save_checkpoint()
    other = make(tmp_path, model)
    other.load_checkpoint(0, resume_training_state=True)
    assert same_weights(other.policy.state_dict(), experiment.policy.state_dict())
    losses = [
        e.train_step(copy.deepcopy(batch), log_step=True)["Actor Loss"] for e in (experiment, other)
    ]
    assert float(losses[0]) == float(losses[1])


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_checkpoint_becomes_the_teacher(model: str, tmp_path: Path) -> None:
    extracting = make(tmp_path, model)
    plain = make(tmp_path, model, MetamonAMAGOExperiment__agent_type=MODELS[model])
    plain.save_checkpoint()
    checkpoint = tmp_path / "run" / "ckpts" / "policy_weights" / "policy_epoch_0.pt"
    extracting.load_checkpoint_from_path(str(checkpoint), is_accelerate_state=False)
    weights = plain.policy.state_dict()
    for key, value in extracting.policy.reference.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_an_agent_without_critics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="trained critics"):
        make(tmp_path, "minikazam", Agent__fake_filter=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A working directory with the runs rnn, transformer and cloned."""
    folder = tmp_path_factory.mktemp("work")
    fresh_run(folder / "runs", "rnn", RNN)
    fresh_run(folder / "runs", "transformer", transformer_record(folder))
    fresh_run(folder / "runs", "cloned", RNN | {"train_gin_config": "il.gin"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.mark.parametrize("model", ["rnn_Epoch1", "transformer_Epoch1"])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_beta_plays_the_improved_policy(runs: None, model: str, temperature: float) -> None:
    plain = MetamonPolicy(model, temperature=temperature)
    policy = MetamonPolicy(model, temperature=temperature, beta=0.7)
    last = len(policy._agent.gammas) - 1
    seen: list[torch.Tensor] = []
    policy._agent.traj_encoder.register_forward_hook(lambda *args: seen.append(args[-1][0]))
    for each in (plain, policy):
        each.begin("0")
    compared = 0
    for tracker in list(follow(recordings()[0]))[:12]:
        question = Question("0", tracker)
        if not question.legal_actions:
            continue
        before, after = (each.probabilities([question])[0] for each in (plain, policy))
        q = q_values(policy._agent, seen[-1])[0, 0, last].numpy()
        legal = list(policy._outputs(question))
        weight = before[legal] * np.exp(0.7 * (q[legal] - q[legal].max()) / temperature)
        np.testing.assert_allclose(after[legal], weight / weight.sum(), atol=1e-4)
        assert after.sum() == pytest.approx(after[legal].sum(), abs=1e-5)
        action = plain._choose(question, before)
        policy._memories["0"].action = plain._memories["0"].action
        assert action in question.legal_actions
        compared += 1
    assert compared > 5


def test_a_critic_that_is_not_there_is_refused(runs: None) -> None:
    with pytest.raises(ValueError, match=r"no critic for gamma = 0\.123. Known: 0\.1, 0\.9"):
        MetamonPolicy("rnn_Epoch1", beta=1.0, gamma=0.123)
    with pytest.raises(UserError, match=r"'cloned_Epoch1\?beta=1'.*trained without critics"):
        PolicyRef.resolve("cloned_Epoch1?beta=1").build()
    with pytest.raises(UserError, match="beta must be a number of at least 0, not -1"):
        PolicyRef.resolve("rnn_Epoch1?beta=-1")
