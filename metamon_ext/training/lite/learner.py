"""The binary-advantage actor-critic: networks, losses, and one step of learning.

    y_g      = (1 - m(t)) (r + gamma_g (1 - d) V'_g(s')) + m(t) R_g
    L_critic = mean (Q_g(s, a) - y_g)^2
    A_g      = Q_g(s, a) - sum_a' pi(a'|s) Q_g(s, a')
    L_actor  = -mean w(A_g) log pi(a|s) - c mean sum_a' pi(a'|s) Q_g(s, a') + c_kl(t) KL(pi || pi_0)

R_g is the return that followed in the recorded battle, and V'_g(s') a value under the target
networks pi', Q': sum_a' pi'(a'|s') Q'_g(s', a') for the policy that is learned, or Q'_g(s', a') of
the recorded action a' for the behavior that made the data. pi_0 is the policy that training starts
from. With w = 1 and no critic loss the same code is behavior cloning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import gin
import torch
from torch import Tensor

from metamon_ext.learning.advantage import binary_advantage_filter
from metamon_ext.learning.extraction import expected_value_loss
from metamon_ext.learning.kl_regularization import categorical_kl
from metamon_ext.learning.losses import (
    expected_value,
    masked_mean,
    of_actions,
    td_target,
    weighted_regression_loss,
)
from metamon_ext.training.lite.config import OBS_SPACE
from metamon_ext.training.lite.featurizer import Decisions
from metamon_ext.training.lite.model import LiteModel

Metrics = dict[str, float]


@gin.configurable(module="metamon_ext")
class Learner:
    """Networks, optimizer, and one `update`.

    Args:
        gammas: discount factors, one critic each; all take part in the actor's weights.
        filter_func: w, from advantages (B, L, G, 1) to weights of the same shape.
        critic_weight: of L_critic in the sum of the losses; with 0 there are no critics, and the
            filter is given advantages of 0.
        monte_carlo_weight: m in [0, 1], a number or a function of the gradient update t, such as
            `PowerLaw`. Returns are unbiased for the recorded policies and reach far at once, which
            helps new critics; bootstrapped targets have much less noise.
        evaluates: "policy" or "behavior", what the bootstrapped targets are the value of.
        online_coeff: c, as in AMAGO. It needs critics, and targets of the "behavior": those of the
            policy follow it to actions that the data do not have.
        kl_coeff: c_kl of the gradient update t, such as `PowerLaw`; None: no KL regularization.
        target_rate: the target networks move this part of the way at every step.
        learning_rate, weight_decay: of AdamW.
        warmup_steps: the learning rate rises linearly over these.
        final_learning_rate: it falls linearly to this at the last step; None: it stays.
        max_grad_norm: the gradient is scaled down to this norm.
        obs_space: the registered name of the observation space.
        steps: how many there will be, for the fall of the learning rate.
    """

    def __init__(
        self,
        gammas: Sequence[float] = (0.9, 0.99, 0.999, 0.9999),
        filter_func: Callable[[Tensor], Tensor] = binary_advantage_filter,
        critic_weight: float = 1.0,
        monte_carlo_weight: float | Callable[[float], float] = 0.5,
        evaluates: str = "policy",
        online_coeff: float = 0.0,
        kl_coeff: Callable[[float], float] | None = None,
        target_rate: float = 0.005,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup_steps: int = 100,
        max_grad_norm: float = 1.0,
        obs_space: str = OBS_SPACE,
        final_learning_rate: float | None = None,
        steps: int = 1,
    ) -> None:
        if not gammas or not all(0 <= gamma <= 1 for gamma in gammas):
            raise ValueError(f"gammas are discounts in [0, 1], at least one, not {gammas!r}")
        if evaluates not in ("policy", "behavior"):
            raise ValueError(f"Learner.evaluates is policy or behavior, not {evaluates!r}")
        if online_coeff and not (critic_weight and evaluates == "behavior"):
            raise ValueError(
                f"Learner.online_coeff = {online_coeff} needs Learner.evaluates = 'behavior' and "
                "a Learner.critic_weight above 0"
            )
        self.gammas = torch.tensor(gammas)
        self.discounts = [float(gamma) for gamma in gammas] if critic_weight else []
        self.filter_func = filter_func
        self.critic_weight = critic_weight
        self.monte_carlo_weight = monte_carlo_weight
        self.evaluates = evaluates
        self.online_coeff = online_coeff
        self.kl_coeff = kl_coeff
        self.target_rate = target_rate
        self.max_grad_norm = max_grad_norm
        self.model = LiteModel(gammas=len(gammas), obs_space=obs_space)
        self.target = copy.deepcopy(self.model.heads).requires_grad_(False)
        self.reference = copy.deepcopy(self.model).requires_grad_(False) if kl_coeff else None
        self.networks = ["model", "target", *(["reference"] if kl_coeff else [])]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=learning_rate, weight_decay=weight_decay
        )
        fall = 0.0 if final_learning_rate is None else 1 - final_learning_rate / learning_rate

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / max(warmup_steps, 1))
            return rise * (1 - fall * min(1.0, (step + 1) / steps))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def losses(self, batch: Decisions, returns: Tensor) -> tuple[Tensor, Tensor | None, Metrics]:
        """L_actor, L_critic (None where no critic is learned) and metrics for the log.

        Args:
            batch: slices (B, L + 1); the last decision only serves as s' of the one before.
            returns: (B, L, G), R_g.
        """
        x, h, e = self.model(batch.state, batch.actions, batch.legal, batch.start)
        log_probs = self.model.heads.log_probs(x, h, e, batch.legal)
        action = batch.action[:, :-1]
        known = action >= 0
        log_prob, metrics = imitation(log_probs[:, :-1], action)
        advantage = torch.zeros_like(returns)
        critic_loss = online_loss = None
        if self.critic_weight:
            q = self.model.heads.q_values(x, e)
            q_taken = of_actions(q[:, :-1], action)
            with torch.no_grad():
                y = self._target(batch, x, h, e, returns)
                advantage = q_taken - expected_value(log_probs, q)[:, :-1]
            each = known.unsqueeze(-1)
            critic_loss = masked_mean((q_taken - y).square(), each)
            metrics["critic_loss"] = critic_loss.item()
            metrics["positive_advantage"] = masked_mean((advantage > 0).float(), each).item()
            metrics["q_mean"] = masked_mean(q_taken.detach(), each).item()
            if self.online_coeff:
                online_loss = expected_value_loss(log_probs[:, :-1], q[:, :-1], known)
        weight = self.filter_func(advantage.unsqueeze(-1)).squeeze(-1)
        actor_loss = weighted_regression_loss(log_prob, weight, known)
        if online_loss is not None:
            actor_loss = actor_loss + self.online_coeff * online_loss
        if self.reference is not None and self.kl_coeff is not None:
            kl = masked_mean(self._kl(batch, log_probs)[:, :-1], known)
            actor_loss = actor_loss + self.kl_coeff(self.schedule.last_epoch) * kl
            metrics["kl"] = kl.item()
        return actor_loss, critic_loss, {"actor_loss": actor_loss.item()} | metrics

    def _kl(self, batch: Decisions, log_probs: Tensor) -> Tensor:
        """KL(pi || pi_0) of each decision, (B, L + 1)."""
        assert self.reference is not None
        with torch.no_grad():
            x, h, e = self.reference(batch.state, batch.actions, batch.legal, batch.start)
            reference = self.reference.heads.log_probs(x, h, e, batch.legal)
        return categorical_kl(log_probs, reference, batch.legal)

    def _target(self, batch: Decisions, x: Tensor, h: Tensor, e: Tensor, returns: Tensor) -> Tensor:
        """y_g, (B, L, G). R_g stands for the bootstrapped value where a' is missing."""
        q = self.target.q_values(x, e)[:, 1:]
        next_action = batch.action[:, 1:]
        if self.evaluates == "policy":
            log_probs = self.target.log_probs(x, h, e, batch.legal)[:, 1:]
            next_value = expected_value(log_probs, q)
        else:
            next_value = of_actions(q, next_action)
        done = batch.done[:, :-1]
        bootstrapped = td_target(batch.reward[:, :-1], done.float(), next_value, self.gammas)
        if self.evaluates == "behavior":
            unknown = ~done & (next_action < 0)
            bootstrapped = torch.where(unknown.unsqueeze(-1), returns, bootstrapped)
        m = self.monte_carlo_weight
        return torch.lerp(bootstrapped, returns, m(self.schedule.last_epoch) if callable(m) else m)

    def update(self, batch: Decisions, returns: Tensor) -> Metrics:
        """One step of gradient descent."""
        loss, critic_loss, metrics = self.losses(batch, returns)
        if critic_loss is not None:
            loss = loss + self.critic_weight * critic_loss
        self.optimizer.zero_grad()
        loss.backward()
        parameters = self.model.parameters()
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm).item()
        lr = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for slow, fast in zip(
                self.target.parameters(), self.model.heads.parameters(), strict=True
            ):
                slow.lerp_(fast, self.target_rate)
        return metrics | {"grad_norm": grad_norm, "lr": lr}

    def state_dict(self) -> dict[str, Any]:
        """All that `update` changes."""
        return {part: getattr(self, part).state_dict() for part in self._parts}

    @property
    def _parts(self) -> list[str]:
        return [*self.networks, "optimizer", "schedule"]

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with the weights of a trained network, in targets and reference too."""
        self.model.load_state_dict(weights)
        self.target.load_state_dict(self.model.heads.state_dict())
        if self.reference is not None:
            self.reference.load_state_dict(weights)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for part in self._parts:
            getattr(self, part).load_state_dict(state[part])


def imitation(log_probs: Tensor, action: Tensor) -> tuple[Tensor, Metrics]:
    """log pi(a|s) of the recorded actions, (B, L), and how well they are imitated.

    Args:
        log_probs: (B, L, A).
        action: (B, L), -1 where it is missing.
    """
    known = action >= 0
    log_prob = log_probs.gather(-1, action.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    best = log_probs.argmax(-1) == action
    return log_prob, {
        "accuracy": masked_mean(best.float(), known).item(),
        "cross_entropy": masked_mean(-log_prob.detach(), known).item(),
    }
