"""Policy extraction for AMAGO's agents: the Q of every action, and a last stage of training.

See `metamon_ext.learning.extraction`. In a gin file:

    import metamon_ext.upstream.extraction
    MetamonAMAGOExperiment.agent_type = @metamon_ext.extraction_agent
    ExtractionAgent.beta = 100.0
"""

from __future__ import annotations

import inspect
from typing import Any

import gin
import torch
from amago.agent import Agent, Multigammas, MultiTaskAgent
from amago.loading import Batch
from torch import Tensor

from metamon_ext.learning.extraction import improved_policy
from metamon_ext.learning.kl_regularization import categorical_kl
from metamon_ext.learning.losses import mask_logits, masked_mean
from metamon_ext.settings import check_beta
from metamon_ext.upstream.gin_files import kept_bindings
from metamon_ext.upstream.kl_regularization import (
    ReferencePolicy,
    legal_actions,
    model_is_multitask,
    unmasked,
)


@torch.no_grad()
def q_values(agent: Agent, memory: Tensor) -> Tensor:
    """Q_g(s, a) of every action, in the units of the reward function: the mean of the critics.

    Args:
        agent: of discrete actions.
        memory: (B, L, D), what the trajectory encoder gives.

    Returns:
        (B, L, G, A); the last G is the discount that an agent plays by.
    """
    shape = (1, *memory.shape[:2], len(agent.gammas), agent.action_dim)
    values = []
    for action in torch.eye(agent.action_dim, device=memory.device, dtype=memory.dtype):
        q = agent.critics(memory, action.expand(shape))
        if isinstance(agent, MultiTaskAgent):
            q = agent.critics.bin_dist_to_raw_vals(q)
        else:
            q = agent.popart(q, normalized=False)
        values.append(q[0].mean(2).squeeze(-1))
    return torch.stack(values, dim=-1) / agent.reward_multiplier


def trains_critics(agent: Agent) -> bool:
    """Whether the agent's settings train critics: behavior cloning leaves them as they were."""
    return not agent.fake_filter or agent.online_coeff > 0


def critic_discounts(agent: Agent) -> list[float]:
    """The discounts of an agent's critics in their order; none if they are not trained."""
    return [round(float(one), 6) for one in agent.gammas] if trains_critics(agent) else []


def planned_discounts(*texts: str) -> list[float]:
    """`critic_discounts` of the agent that gin files describe, without building it.

    Args:
        texts: of the model's gin file and of the training's.
    """
    import metamon.rl.metamon_to_amago  # noqa: F401, registers what gin files refer to

    with kept_bindings():
        gin.parse_config("\n".join(texts), skip_unknown=True)
        kind = MultiTaskAgent if model_is_multitask() else Agent
        defaults = inspect.signature(kind).parameters
        given = gin.get_bindings(kind, resolve_references=False)

        def setting(name: str) -> Any:
            return given.get(name, defaults[name].default)

        if setting("fake_filter") and setting("online_coeff") <= 0:
            return []
        more = Multigammas().discrete if setting("use_multigamma") else []
        return [*more, setting("gamma")]


@gin.configurable(module="metamon_ext")
class ExtractionAgent(Agent):
    """Distills the improved policy of a trained agent into its actor; nothing else learns.

    The teacher is the policy that training starts from, improved for each discount by its own
    critic. It is part of the agent's state, so a resumed run continues with its own teacher. The
    settings of `Agent` hold for this agent, those of `MultiTaskAgent` for the one below.

    Args:
        beta: how far the policy moves towards the actions that the critic prefers, in 1 / units of
            the reward function.
        temperature: the actor is fitted at this temperature: played at 1, it is pi_beta^(1/T).
    """

    def __init__(
        self, *args: Any, beta: float = 10.0, temperature: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        check_beta(beta, temperature)
        if not self.discrete or not trains_critics(self):
            raise ValueError("ExtractionAgent needs discrete actions and trained critics")
        self.beta, self.temperature = beta, temperature
        self.reference = ReferencePolicy(self)
        self.register_load_state_dict_pre_hook(_reference_from_policy)
        self.requires_grad_(False)
        self.actor.requires_grad_(True)

    @property
    def trainable_params(self) -> Any:
        """The actor's."""
        return self.actor.parameters()

    def train(self, mode: bool = True) -> ExtractionAgent:
        """Critics have no dropout in any mode."""
        super().train(mode)
        self.critics.eval()
        return self

    def forward(self, batch: Batch, log_step: bool) -> tuple[None, Tensor]:
        """No critic loss, and KL(pi_beta || pi), (B, L - 1, G, 1)."""
        self.update_info = {}
        seen = {key: batch.obs[key][:, :-1] for key in self.pass_obs_keys_to_actor}
        with torch.no_grad():
            memory = self.reference.encode(batch)[:, :-1]
            logits = self.reference.actor(memory, straight_from_obs=seen).logits
            legal = legal_actions(batch, logits)
            log_pi = torch.log_softmax(mask_logits(logits, legal), dim=-1)
            improved = improved_policy(log_pi, q_values(self, memory), self.beta)
        fitted = self.actor(memory, straight_from_obs=seen).logits * self.temperature
        loss = categorical_kl(improved, fitted, legal).unsqueeze(-1)
        if log_step:
            mask = unmasked(batch)
            moved = categorical_kl(improved, log_pi, legal).unsqueeze(-1)
            self.update_info = {
                "Extraction KL": masked_mean(loss.detach(), mask),
                "Extraction Improvement KL": masked_mean(moved, mask),
            }
        return None, loss


@gin.configurable(module="metamon_ext")
class ExtractionMultiTaskAgent(ExtractionAgent, MultiTaskAgent):
    """`MultiTaskAgent` with the extraction, and the extraction's settings, of `ExtractionAgent`."""


@gin.configurable(module="metamon_ext")
def extraction_agent(**kwargs: Any) -> ExtractionAgent:
    """The extracting form of the agent that the model's gin file is for."""
    return (ExtractionMultiTaskAgent if model_is_multitask() else ExtractionAgent)(**kwargs)


def _reference_from_policy(
    agent: ExtractionAgent, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Complete a checkpoint that brings no teacher: its policy is the one."""
    if not any(key.startswith(f"{prefix}reference.") for key in state_dict):
        ReferencePolicy.complete(state_dict, prefix)
