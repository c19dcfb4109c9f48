"""Policy extraction: a stronger policy from a policy and the critics of its behavior.

    pi_beta(a|s) = pi(a|s) exp(beta A(s, a)) / Z(s)

solves max_p E_p[A(s, a)] - KL(p || pi) / beta, the KL-regularized step of policy improvement
(Peters et al. 2010, "Relative entropy policy search"; Peng et al. 2019, arXiv:1910.00177). One such
step on critics of the recorded behavior is one-step RL (Brandfonbrener et al. 2021,
arXiv:2106.08909). Policy distillation (Rusu et al. 2016, arXiv:1511.06295) puts it into an actor,
by KL(pi_beta || pi): see `metamon_ext.learning.kl_regularization.categorical_kl`.

Shapes: ... any, A actions, G discount factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def critic_index(discounts: Sequence[float], gamma: float | None) -> int:
    """Which of the critics is that of a discount, in the precision of float32.

    Args:
        discounts: of the trained critics; empty for a network without them.
        gamma: the discount; None: the last one.

    Raises ValueError if there is no such critic.
    """
    for i, one in reversed([*enumerate(discounts)]):
        if gamma is None or math.isclose(one, gamma, rel_tol=1e-6):
            return i
    known = ", ".join(f"{one:g}" for one in discounts)
    raise ValueError(
        f"there is no critic{'' if gamma is None else f' for gamma = {gamma:g}'}. "
        + (f"Known: {known}." if known else "It was trained without critics.")
    )
