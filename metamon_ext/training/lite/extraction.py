"""The last stage of training: the improved policy, distilled into the actor.

Critics, encoders and memory stay as they are; only the actor's head learns. So the checkpoint
alone plays the stronger policy, and its critics are still those of the recorded behavior.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import gin
import torch
from torch import Tensor

from metamon_ext.learning.extraction import critic_index, improved_policy
from metamon_ext.learning.kl_regularization import categorical_kl
from metamon_ext.learning.losses import masked_mean
from metamon_ext.settings import check_beta
from metamon_ext.training.lite.featurizer import Decisions
from metamon_ext.training.lite.learner import Learner, Metrics, imitation


@gin.configurable("extraction", module="metamon_ext")
@dataclass(frozen=True)
class ExtractionSettings:
    """What a gin file sets under `extraction`: see `improved_policy`.

    Attributes:
        steps: gradient updates after `train.steps`; 0: no such stage.
        beta: how far the policy moves towards the actions that the critic prefers.
        gamma: the discount of the critic.
        temperature: the actor is fitted at this temperature: played at 1, it is pi_beta^(1/T).
        learning_rate: of AdamW, constant.
    """

    steps: int = 0
    beta: float = 100.0
    gamma: float = 0.999
    temperature: float = 1.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 0:
            raise ValueError(f"extraction.steps = {self.steps!r} is not an integer of at least 0")
        if not self.temperature > 0:
            raise ValueError(f"extraction.temperature has to be above 0, not {self.temperature}")
        check_beta(self.beta, self.temperature)

    def check(self, learner: Learner) -> None:
        """Raise ValueError if the learner will have no critic to extract a policy from."""
        if self.steps:
            critic_index(learner.discounts, self.gamma)


class Distiller:
    """Networks, optimizer, and one `update`, as `Learner` has them.

    Args:
        learner: a trained one. Its network is changed in place.
        settings: of the stage.

    Raises ValueError if the learner has no critic for the discount.
    """

    networks = ("model", "teacher")
    _parts = (*networks, "optimizer")

    def __init__(self, learner: Learner, settings: ExtractionSettings) -> None:
        self.model, self.discounts = learner.model, learner.discounts
        self.teacher = copy.deepcopy(self.model.heads).requires_grad_(False)
        self._settings = settings
        self._critic = critic_index(self.discounts, settings.gamma)
        self._max_grad_norm = learner.max_grad_norm
        self.optimizer = torch.optim.AdamW(
            self.model.heads.actor.parameters(), lr=settings.learning_rate
        )

    def update(self, batch: Decisions, returns: Tensor) -> Metrics:
        """One step of gradient descent. The returns play no part."""
        with torch.no_grad():
            x, h, e = self.model(batch.state, batch.actions, batch.legal, batch.start)
            q = self.teacher.q_values(x, e)[..., self._critic]
            log_pi = self.teacher.log_probs(x, h, e, batch.legal)
            improved = improved_policy(log_pi, q, self._settings.beta)
        known = batch.action >= 0
        log_probs = self.model.heads.log_probs(x, h, e, batch.legal)
        fitted = log_probs * self._settings.temperature
        loss = masked_mean(categorical_kl(improved, fitted, batch.legal), known)
        self.optimizer.zero_grad()
        loss.backward()
        actor = self.model.heads.actor.parameters()
        grad_norm = torch.nn.utils.clip_grad_norm_(actor, self._max_grad_norm).item()
        self.optimizer.step()
        _, metrics = imitation(log_probs.detach(), batch.action)
        metrics = {"actor_loss": loss.item()} | metrics
        return metrics | {"grad_norm": grad_norm, "lr": self._settings.learning_rate}

    def state_dict(self) -> dict[str, Any]:
        """All that `update` changes, and the heads that teach."""
        return {part: getattr(self, part).state_dict() for part in self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for part in self._parts:
            getattr(self, part).load_state_dict(state[part])
