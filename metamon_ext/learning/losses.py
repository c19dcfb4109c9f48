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

    All battles are summed at once, each from its last decision backwards, in float64. A pass over
    the battles for each decision of the longest one takes no more memory than the result.

    Args:
        reward: (N,), battles one after the other.
        done: (N,), 1 or true for the last decision of a battle.
        gammas: (G,).

    Returns:
        (N, G), float32.
    """
    is_last = done.bool().clone()
    is_last[-1:] = True
    last = is_last.nonzero().flatten()
    lengths, longest_first = torch.diff(last, prepend=last.new_tensor([-1])).sort(descending=True)
    last = last[longest_first]
    returns = torch.empty(len(reward), len(gammas))
    ahead = torch.zeros(len(last), len(gammas), dtype=torch.float64)
    for steps_back in range(int(lengths[:1].sum())):
        rows = last[: int((lengths > steps_back).sum())] - steps_back
        ahead = reward[rows].double().unsqueeze(-1) + gammas.double() * ahead[: len(rows)]
        returns[rows] = ahead.float()
    return returns


def expected_value(log_probs: Tensor, q: Tensor) -> Tensor:
    """V_g(s) = sum_a pi(a|s) Q_g(s, a).

    Args:
        log_probs: (B, L, A), of masked logits.
        q: (B, L, A, G).
    """
    return torch.einsum("bla,blag->blg", log_probs.exp(), q)


def of_actions(q: Tensor, action: Tensor) -> Tensor:
    """Q_g(s, a) of one action each, (B, L, G).

    Args:
        q: (B, L, A, G).
        action: (B, L), indices; -1, for a missing action, is taken for 0.
    """
    index = action.clamp(min=0)[..., None, None].expand(-1, -1, 1, q.shape[-1])
    return q.gather(-2, index).squeeze(-2)


def weighted_regression_loss(log_prob: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """L_actor = -mean_{b,l,g} w_g(s, a) log pi(a|s) over the decisions that count.

    Args:
        log_prob: (B, L), log pi(a|s) of the action that was taken.
        weight: (B, L, G), constants.
        mask: (B, L), false where the action is missing.
    """
    return masked_mean(-weight.detach() * log_prob.unsqueeze(-1), mask.unsqueeze(-1))
