"""KL-regularized agents: near the reference, exact in their loss, complete after a checkpoint."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from amago.agent import Agent
from amago.loading import Batch
from metamon.rl.metamon_to_amago import MetamonAMAGOExperiment

from metamon_ext.learning.kl_regularization import AdaptiveKLController, PowerLaw
from metamon_ext.upstream.kl_regularization import PARTS, KLRegularizedAgent
from tests.upstream.helpers import MODELS, make_experiment, same_weights

pytestmark = pytest.mark.usefixtures("eager")


def make(
    folder: Path, model: str, sigma_reparam: bool = False, **bindings: Any
) -> MetamonAMAGOExperiment:
    """A KL-regularized experiment without dropout and warm-up, so that losses are exact."""
    settings = {
        "KLRegularizedAgent__kl_coeff": PowerLaw(0.5),
        "KLRegularizedAgent__kl_control": None,
        "KLRegularizedAgent__keep_reference": True,
        "MetamonAMAGOExperiment__lr_warmup_steps": 0,
        "MetamonAMAGOExperiment__learning_rate": 1e-3,
    }
    files = ("kl_conservative", "bf16_sdpa")
    settings |= {"SDPAttention__dtype": None, "TformerTrajEncoder__sigma_reparam": sigma_reparam}
    settings["SigmaReparam__fast_init"] = True  # without, AMAGO's own resume fails in safetensors
    experiment = make_experiment(folder, model, *files, **(settings | bindings))
    for module in experiment.policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    experiment.policy.train()
    return experiment


def losses(agent: Agent, batch: Batch) -> torch.Tensor:
    torch.manual_seed(0)
    return agent(copy.deepcopy(batch), log_step=False)[1]


def reference_weights(agent: KLRegularizedAgent) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in agent.reference.named_parameters()}


@pytest.mark.parametrize("model", MODELS)
def test_without_coefficients_the_losses_are_those_of_the_plain_agent(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    regularized = make(tmp_path, model, KLRegularizedAgent__kl_coeff=PowerLaw(0.0))
    plain = make(tmp_path, model, MetamonAMAGOExperiment__agent_type=MODELS[model])
    assert not isinstance(plain.policy, KLRegularizedAgent)
    weights = regularized.policy.state_dict()
    plain.policy.load_state_dict({key: weights[key] for key in plain.policy.state_dict()})
    torch.testing.assert_close(losses(regularized.policy, batch), losses(plain.policy, batch))


@pytest.mark.parametrize("model", MODELS)
def test_the_regularization_is_the_kl_over_legal_actions_of_every_step(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    agent = make(tmp_path, model).policy
    with torch.no_grad():
        for parameter in agent.actor.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    with_kl = losses(agent, batch)
    agent.kl_coeff = PowerLaw(0.0)
    added = (with_kl - losses(agent, batch)) / 0.5

    def policy(part: Any) -> torch.Tensor:
        step = part.tstep_encoder(obs=batch.obs, rl2s=batch.rl2s)
        memory, _ = part.traj_encoder(seq=step, time_idxs=batch.time_idxs)
        seen = {"illegal_actions": batch.obs["illegal_actions"]}
        legal = ~batch.obs["illegal_actions"].unsqueeze(-2)
        probs = part.actor(memory, straight_from_obs=seen).probs * legal
        return probs / probs.sum(-1, keepdim=True)

    with torch.no_grad():
        p, r = policy(agent)[:, :-1], policy(agent.reference)[:, :-1]
    expected = torch.where(p > 0, p * (p.log() - r.log()), 0.0).sum(-1, keepdim=True)
    decides = (~batch.obs["illegal_actions"]).any(-1)[:, :-1]
    torch.testing.assert_close(added[decides], expected[decides], atol=2e-5, rtol=1e-3)
    assert expected[decides].max() > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_at_the_start_the_policy_is_its_reference(model: str, batch: Batch, tmp_path: Path) -> None:
    agent = make(tmp_path, model, sigma_reparam=True).policy
    agent(batch, log_step=True)
    assert abs(float(agent.update_info["Reference KL"])) < 1e-6


def test_padding_and_missing_actions_are_not_observed(batch: Batch, tmp_path: Path) -> None:
    agent = make(tmp_path, "minikazam").policy
    with torch.no_grad():
        *_, bias = agent.actor.parameters()
        bias.add_(torch.randn_like(bias))

    def observed(batch: Batch) -> float:
        agent(batch, log_step=True)
        return float(agent.update_info["Reference KL"])

    before = observed(copy.deepcopy(batch))
    missing = batch.obs["missing_action_mask"]
    missing[:, 8:] = True
    shorter = observed(copy.deepcopy(batch))
    batch.obs["illegal_actions"][:, 8:] = (
        torch.rand(batch.obs["illegal_actions"][:, 8:].shape) < 0.5
    )
    assert observed(batch) == pytest.approx(shorter) and shorter != pytest.approx(before)


@pytest.mark.parametrize("model", MODELS)
def test_only_the_learner_learns_and_stays_nearer_than_the_plain_agent(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    distances = []
    for coefficient in (0.0, 20.0):
        torch.manual_seed(1)
        experiment = make(tmp_path, model, True, KLRegularizedAgent__kl_coeff=PowerLaw(coefficient))
        before = reference_weights(experiment.policy)
        for _ in range(12):
            experiment.train_step(copy.deepcopy(batch), log_step=False)
        assert same_weights(before, reference_weights(experiment.policy))
        assert not same_weights(
            before, {key: experiment.policy.state_dict()[key] for key in before}
        )
        info = experiment.train_step(copy.deepcopy(batch), log_step=True)
        distances.append(float(info["Reference KL"]))
        assert experiment.policy.updates == 13
    assert distances[1] < 0.5 * distances[0]


def test_coefficients_follow_their_schedules(batch: Batch, tmp_path: Path) -> None:
    law = PowerLaw(0.2, horizon=2, exponent=0.5)
    experiment = make(
        tmp_path,
        "minikazam",
        KLRegularizedAgent__kl_coeff=law,
        KLRegularizedAgent__entropy_coeff=law,
    )
    for t in range(4):
        info = experiment.train_step(copy.deepcopy(batch), log_step=True)
        assert info["Reference KL Coefficient"] == pytest.approx(0.2 * (1 + t / 2) ** -0.5)
        assert info["Entropy Coefficient"] == pytest.approx(0.2 * (1 + t / 2) ** -0.5)


def test_the_entropy_bonus_makes_the_policy_less_sure(batch: Batch, tmp_path: Path) -> None:
    entropies = []
    for coefficient in (0.0, 5.0):
        torch.manual_seed(1)
        settings = {"KLRegularizedAgent__entropy_coeff": PowerLaw(coefficient)}
        experiment = make(tmp_path, "minikazam", **settings)
        for _ in range(12):
            info = experiment.train_step(copy.deepcopy(batch), log_step=True)
        entropies.append(float(info["Entropy"]))
    assert entropies[1] > entropies[0]


def test_a_policy_that_runs_away_is_slowed_down_and_pulled_back(
    batch: Batch, tmp_path: Path
) -> None:
    control = AdaptiveKLController(target=1e-7, shrink=0.5, grow=2.0, interval=2)
    experiment = make(tmp_path, "minikazam", KLRegularizedAgent__kl_control=control)
    agent, group = experiment.policy, experiment.optimizer.param_groups[0]
    for _ in range(6):
        experiment.train_step(copy.deepcopy(batch), log_step=False)
    assert (agent.learning_rate_factor, agent.kl_factor) == (0.125, 8.0)
    assert group["lr"] == 1e-3  # between the steps it is as configured

    def length_of_a_step(factor: float) -> float:
        agent.learning_rate_factor = factor
        before = [p.detach().clone() for p in agent.trainable_params]
        experiment.optimizer.step()
        return float(
            sum((p - q).norm() for p, q in zip(agent.trainable_params, before, strict=True))
        )

    assert length_of_a_step(0.0) == 0.0
    assert length_of_a_step(0.1) == pytest.approx(0.1 * length_of_a_step(1.0), rel=0.2)


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_has_its_reference_and_its_t(
    model: str, batch: Batch, tmp_path: Path
) -> None:
    control = AdaptiveKLController(target=1e-7, interval=2)
    experiment = make(tmp_path, model, True, KLRegularizedAgent__kl_control=control)
    for _ in range(3):
        experiment.train_step(copy.deepcopy(batch), log_step=False)
    experiment.save_checkpoint()
    old = experiment.policy
    for resume_training_state in (True, False):
        other = make(tmp_path, model, True, KLRegularizedAgent__kl_control=control)
        assert not same_weights(reference_weights(other.policy), reference_weights(old))
        other.load_checkpoint(0, resume_training_state=resume_training_state)
        assert same_weights(other.policy.state_dict(), old.state_dict())
        assert (other.policy.updates, other.policy.kl_factor) == (3, old.kl_factor)
        assert other.policy.learning_rate_factor == old.learning_rate_factor < 1


@pytest.mark.parametrize("model", MODELS)
def test_a_plain_checkpoint_becomes_the_reference(model: str, tmp_path: Path) -> None:
    regularized = make(tmp_path, model)
    plain = make(tmp_path, model, MetamonAMAGOExperiment__agent_type=MODELS[model])
    plain.save_checkpoint()
    checkpoint = tmp_path / "run" / "ckpts" / "policy_weights" / "policy_epoch_0.pt"
    regularized.policy.updates = 7
    regularized.load_checkpoint_from_path(str(checkpoint), is_accelerate_state=False)
    weights, reference = plain.policy.state_dict(), reference_weights(regularized.policy)
    assert {key.split(".")[0] for key in reference} == set(PARTS)
    assert all(torch.equal(reference[key], weights[key]) for key in reference)
    assert regularized.policy.updates == 0


def test_a_new_round_starts_from_the_last_one(batch: Batch, tmp_path: Path) -> None:
    last = make(tmp_path, "minikazam")
    last.train_step(copy.deepcopy(batch), log_step=False)
    new = make(tmp_path, "minikazam", KLRegularizedAgent__keep_reference=False)
    new.policy.load_state_dict(last.policy.state_dict())
    weights, reference = last.policy.state_dict(), reference_weights(new.policy)
    assert all(torch.equal(reference[key], weights[key]) for key in reference)
    assert new.policy.updates == 0
