"""AMAGO agents with KL regularization towards the policy that training starts from.

    L_actor + c_kl(t) KL(pi || pi_ref) - c_h(t) H(pi)

See `metamon_ext.learning.kl_regularization` for the terms. In a gin file:

    import metamon_ext.upstream.kl_regularization
    MetamonAMAGOExperiment.agent_type = @metamon_ext.kl_regularized_agent
    KLRegularizedAgent.kl_coeff = @kl/PowerLaw()
    kl/PowerLaw.initial = 0.1
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import gin
import torch
from amago.agent import Agent, MultiTaskAgent
from amago.loading import MAGIC_PAD_VAL, Batch
from amago.nets.actor_critic import BaseActorHead
from amago.nets.traj_encoders import TrajEncoder
from amago.nets.transformer import FlexAttention, SigmaReparam, Transformer
from amago.nets.tstep_encoders import TstepEncoder
from amago.utils import avg_over_accelerate
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from metamon_ext.learning.kl_regularization import (
    AdaptiveKLController,
    PowerLaw,
    categorical_entropy,
    categorical_kl,
)
from metamon_ext.learning.losses import masked_mean

PARTS = ("tstep_encoder", "traj_encoder", "actor")
"""The parts of an agent that make up its policy and are copied into the reference."""

IN_TRAINING_MODE = (Transformer, FlexAttention, SigmaReparam)
"""Modules that stay in training mode; the first two process sequences in that mode only."""


class ReferencePolicy(nn.Module):
    """A frozen copy of an agent's policy: no gradient and no dropout.

    `SigmaReparam` estimates a spectral norm a little better with every forward pass. It does
    so here and in the learner alike: both policies are equal until the learner's weights change.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.tstep_encoder: TstepEncoder = copy.deepcopy(agent.tstep_encoder)
        self.traj_encoder: TrajEncoder = copy.deepcopy(agent.traj_encoder)
        self.actor: BaseActorHead = copy.deepcopy(agent.actor)
        self.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> ReferencePolicy:
        """Ignore the mode: only the modules of `IN_TRAINING_MODE` are in training mode."""
        super().train(False)
        for module in self.modules():
            module.training = isinstance(module, IN_TRAINING_MODE)
        return self

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """The input of actor and critics at each step, (B, L, D)."""
        step = self.tstep_encoder(obs=batch.obs, rl2s=batch.rl2s)
        memory, _ = self.traj_encoder(seq=step, time_idxs=batch.time_idxs, hidden_state=None)
        return memory

    @torch.no_grad()
    def forward(self, batch: Batch, straight_from_obs: dict[str, Tensor]) -> Tensor:
        """log pi_ref(. | s), (B, L, G, A)."""
        return self.actor(self.encode(batch), straight_from_obs=straight_from_obs).logits

    @staticmethod
    def complete(state_dict: dict[str, Any], prefix: str) -> None:
        """Add a copy of the policy in an agent's weights as its reference."""
        for key, value in list(state_dict.items()):
            if key.removeprefix(prefix).split(".")[0] in PARTS:
                state_dict[f"{prefix}reference.{key.removeprefix(prefix)}"] = value


@gin.configurable(module="metamon_ext")
class KLRegularizedAgent(Agent):
    """An `Agent` of discrete actions with KL regularization; a mixin for agents derived from it.

    The reference is the policy that training starts from: the finetuned checkpoint, or the initial
    weights. It is part of the agent's state, so a resumed run continues with the same reference
    and the same t. A checkpoint without a reference becomes the reference.

    Padding and missing actions are masked, as AMAGO and Metamon mask them in the actor's loss. Only
    the learner has dropout, so the KL is slightly above 0 from the first update. In gin files the
    settings of `Agent` apply to this agent, and those of `MultiTaskAgent` to
    `KLRegularizedMultiTaskAgent`.

    Args:
        kl_coeff: c_kl of the gradient update t.
        entropy_coeff: c_h of the gradient update t; None for no bonus.
        kl_control: adapts the learning rate and c_kl to the observed KL; None: no adaptation.
        keep_reference: load the reference in a checkpoint. False makes each loaded checkpoint the
            new reference, which starts a new round of self-play. For Metamon's own commands:
            `metamon-ext finetune` starts from the base's policy and resumes with the run's
            reference, whatever is set here.
    """

    def __init__(
        self,
        *args: Any,
        kl_coeff: Callable[[float], float] = PowerLaw(0.1),  # noqa: B008
        entropy_coeff: Callable[[float], float] | None = None,
        kl_control: AdaptiveKLController | None = None,
        keep_reference: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not self.discrete:
            raise ValueError("KLRegularizedAgent is for discrete actions only")
        self.kl_coeff = kl_coeff
        self.entropy_coeff = entropy_coeff
        self.kl_control = kl_control
        self.keep_reference = keep_reference
        self.reference = ReferencePolicy(self)
        self.updates, self.learning_rate_factor, self.kl_factor = 0, 1.0, 1.0
        self._observed: list[Tensor] = []
        self.register_load_state_dict_pre_hook(_reference_from_policy)
        if kl_control is not None:
            _control_learning_rate(self)

    def forward(self, batch: Batch, log_step: bool) -> tuple[Tensor | None, Tensor]:
        """The losses of the plain agent, with the regularization of each step added to the actor's.

        Returns:
            The unchanged critic loss, and the actor loss of shape (B, L - 1, G, 1).
        """
        policies: list[Any] = []
        hook = self.actor.register_forward_hook(lambda _, args, policy: policies.append(policy))
        try:
            critic_loss, actor_loss = super().forward(batch, log_step)
        finally:
            hook.remove()
        logits = policies[0].logits[:, :-1]
        straight_from_obs = {key: batch.obs[key] for key in self.pass_obs_keys_to_actor}
        reference = self.reference(batch, straight_from_obs)[:, :-1]
        assert logits.shape == reference.shape == (*actor_loss.shape[:-1], self.action_dim)
        legal, mask = legal_actions(batch, logits), unmasked(batch)

        kl = categorical_kl(logits, reference, legal).unsqueeze(-1)
        kl_coeff = self.kl_factor * self.kl_coeff(self.updates)
        loss = actor_loss + kl_coeff * kl
        observed = masked_mean(kl.detach(), mask)
        info = {"Reference KL": observed, "Reference KL Coefficient": kl_coeff}
        if self.entropy_coeff is not None:
            entropy = categorical_entropy(logits, legal).unsqueeze(-1)
            coefficient = self.entropy_coeff(self.updates)
            loss = loss - coefficient * entropy
            info["Entropy"] = masked_mean(entropy.detach(), mask)
            info["Entropy Coefficient"] = coefficient
        if self.kl_control is not None:
            self._observed.append(observed)
            info["Learning Rate Factor"] = self.learning_rate_factor
        if log_step:
            self.update_info |= info
        return critic_loss, loss

    def soft_sync_targets(self) -> None:
        """Advance t, and adapt the factors every `interval`: called once per gradient update."""
        super().soft_sync_targets()
        self.updates += 1
        if self.kl_control is not None and self.updates % self.kl_control.interval == 0:
            kl = avg_over_accelerate({"kl": float(torch.stack(self._observed).mean())})["kl"]
            self.learning_rate_factor, self.kl_factor = self.kl_control(
                kl, self.learning_rate_factor, self.kl_factor
            )
            self._observed.clear()

    def get_extra_state(self) -> Tensor:
        """t and the factors, for checkpoints."""
        state = (self.updates, self.learning_rate_factor, self.kl_factor)
        return torch.tensor(state, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the result of `get_extra_state`."""
        updates, self.learning_rate_factor, self.kl_factor = state.tolist()
        self.updates = int(updates)


@gin.configurable(module="metamon_ext")
class KLRegularizedMultiTaskAgent(KLRegularizedAgent, MultiTaskAgent):
    """`MultiTaskAgent` with the regularization and its settings of `KLRegularizedAgent`."""


@gin.configurable(module="metamon_ext")
def kl_regularized_agent(**kwargs: Any) -> KLRegularizedAgent:
    """Build the KL-regularized version of the agent in the model's gin file.

    A training file replaces the model's `agent_type` without knowing it. The agent for which the
    model's file binds an actor is the one that was replaced.
    """
    return (KLRegularizedMultiTaskAgent if model_is_multitask() else KLRegularizedAgent)(**kwargs)


def model_is_multitask() -> bool:
    """Whether the model's gin file is for a `MultiTaskAgent`."""
    try:
        gin.query_parameter("amago.agent.MultiTaskAgent.actor_type")
    except ValueError:
        return False
    return True


def legal_actions(batch: Batch, logits: Tensor) -> Tensor:
    """(B, L - 1, 1, A), bool. All actions are legal where the observation has no mask."""
    if "illegal_actions" not in batch.obs:
        return torch.ones_like(logits, dtype=torch.bool)
    return ~batch.obs["illegal_actions"][:, :-1].bool().unsqueeze(-2)


def unmasked(batch: Batch) -> Tensor:
    """(B, L - 1, 1, 1), bool: the steps that are not padding and have an action."""
    mask = ~(batch.rl2s == MAGIC_PAD_VAL).all(-1, keepdim=True)[:, 1:]
    if "missing_action_mask" in batch.obs:
        mask = mask & ~batch.obs["missing_action_mask"][:, :-1].bool()
    return mask.unsqueeze(-1)


def _reference_from_policy(
    agent: KLRegularizedAgent, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Make the policy of a checkpoint without a reference the reference, at t = 0."""
    if agent.keep_reference and any(k.startswith(f"{prefix}reference.") for k in state_dict):
        return
    ReferencePolicy.complete(state_dict, prefix)
    state_dict[f"{prefix}_extra_state"] = torch.tensor((0.0, 1.0, 1.0), dtype=torch.float64)


def _control_learning_rate(agent: KLRegularizedAgent) -> None:
    """Let the optimizer of this agent step with `learning_rate_factor` times its learning rate.

    AMAGO builds optimizer and schedule outside the agent, and the schedule sets the rate at every
    step. So hooks of torch change the rate before a step and restore it afterwards.
    """
    owner, rates = weakref.ref(agent), list[float]()

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        live = owner()
        first = optimizer.param_groups[0]["params"][0]
        if live is not None and first is next(iter(live.trainable_params)):
            rates[:] = [group["lr"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["lr"] *= live.learning_rate_factor

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=False):
            group["lr"] = rate
        rates.clear()

    for hook in (
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(after),
    ):
        weakref.finalize(agent, hook.remove)
