"""The losses of an offline actor-critic with several discount factors.

Shapes: B battles or slices, L decisions in a row, G discount factors, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` where `mask` (broadcast over x) is true; 0 where it is true nowhere."""
    mask = mask.to(x.dtype).expand_as(x)
    return (x * mask).sum() / mask.sum().clamp(min=1)


def mask_logits(logits: Tensor, legal: Tensor) -> Tensor:
    """Give illegal actions no probability and no gradient.

    The lowest finite number stands for -inf, so that p log p = 0 there, and a row without any
    legal action becomes uniform instead of NaN.

    Args:
        logits: (..., A).
        legal: (..., A), bool.
    """
    return logits.masked_fill(~legal, torch.finfo(logits.dtype).min)


def td_target(reward: Tensor, done: Tensor, next_value: Tensor, gammas: Tensor) -> Tensor:
    """y_g = r + gamma_g (1 - d) V_g(s').

    Args:
        reward, done: (B, L); `done` is 1 where the decision ended its battle.
        next_value: (B, L, G), V_g(s') under the target networks.
        gammas: (G,).
    """
    return reward.unsqueeze(-1) + gammas * (1 - done.unsqueeze(-1)) * next_value


def discounted_returns(reward: Tensor, done: Tensor, gammas: Tensor) -> Tensor:
    """R_g(t) = r(t) + gamma_g (1 - d(t)) R_g(t + 1): the Monte-Carlo return of each decision.

    Args:
        reward, done: (N,), battles one after the other, the last one complete.
        gammas: (G,).
    """
    backwards = list(zip(reward.tolist(), done.tolist(), strict=True))[::-1]
    columns = []
    for gamma in gammas.tolist():
        ahead, column = 0.0, []
        for r, d in backwards:
            ahead = r + gamma * (1 - d) * ahead
            column.append(ahead)
        columns.append(column[::-1])
    return torch.tensor(columns).T.contiguous()


def expected_value(log_probs: Tensor, q: Tensor) -> Tensor:
    """V_g(s) = sum_a pi(a|s) Q_g(s, a).

    Args:
        log_probs: (B, L, A), of masked logits.
        q: (B, L, A, G).
    """
    return torch.einsum("bla,blag->blg", log_probs.exp(), q)


def weighted_regression_loss(log_prob: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """L_actor = -mean_{b,l,g} w_g(s, a) log pi(a|s) over the decisions that count.

    Args:
        log_prob: (B, L), log pi(a|s) of the action that was taken.
        weight: (B, L, G), constants.
        mask: (B, L), false where the action is missing.
    """
    return masked_mean(-weight.detach() * log_prob.unsqueeze(-1), mask.unsqueeze(-1))
