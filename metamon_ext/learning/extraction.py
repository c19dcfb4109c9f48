"""Policy extraction: a stronger policy from a policy and the critics of its behavior.

    pi_beta(a|s) = pi(a|s) exp(beta A(s, a)) / Z(s)

solves max_p E_p[A(s, a)] - KL(p || pi) / beta, the KL-regularized step of policy improvement
(Peters et al. 2010, "Relative entropy policy search"; Peng et al. 2019, arXiv:1910.00177). One such
step on critics of the recorded behavior is one-step RL (Brandfonbrener et al. 2021,
arXiv:2106.08909). Policy distillation (Rusu et al. 2016, arXiv:1511.06295) puts it into an actor,
by KL(pi_beta || pi): see `metamon_ext.learning.damping.categorical_kl`.

Shapes: ... any, A actions, G discount factors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metamon_ext.learning.losses import masked_mean


def improved_policy(log_probs: Tensor, q: Tensor, beta: float) -> Tensor:
    """log pi_beta(a|s). Q stands for A: a constant of the state cancels in Z.

    Args:
        log_probs: (..., A), log pi(a|s); the lowest finite number for illegal actions.
        q: (..., A), Q(s, a) of one discount.
        beta: 0 leaves pi as it is; large values choose the action of the highest Q.
    """
    return torch.log_softmax(log_probs + beta * q, dim=-1)


def expected_value_loss(log_probs: Tensor, q: Tensor, mask: Tensor) -> Tensor:
    """-mean_g sum_a pi(a|s) Q_g(s, a), critics fixed: AMAGO's "online" actor loss (Grigsby et al.
    2024, arXiv:2310.09971), the all-actions policy gradient for discrete actions.

    Args:
        log_probs: (B, L, A), with the gradient.
        q: (B, L, A, G), constants.
        mask: (B, L), bool.
    """
    value = torch.einsum("bla,blag->blg", log_probs.exp(), q.detach())
    return masked_mean(-value, mask.unsqueeze(-1))


def check_beta(beta: float, temperature: float = 1.0) -> None:
    """Raise ValueError for a beta or temperature that is negative or not finite."""
    for name, value in (("beta", beta), ("temperature", temperature)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} has to be 0 or more, not {value}")
