"""Weights of policy regression, as functions of the advantage.

Each is what AMAGO calls as `fbc_filter_func`: advantages of shape (Batch, Length, Gammas, 1) in,
weights of the same shape and dtype out, no gradient, no side effect.
"""

from __future__ import annotations

import gin
import torch
from torch import Tensor


@gin.configurable(module="metamon_ext")
@torch.no_grad()
def binary_advantage_filter(
    adv: Tensor,
    positive_weight: float = 1.0,
    negative_weight: float = 0.2,
    threshold: float = 0.0,
) -> Tensor:
    """w(A) = w+ where A > threshold, w- elsewhere.

    With w- = 0 this is the binary filter of critic-regularized regression (Wang et al. 2020,
    arXiv:2006.15134). A small w- > 0 still imitates what the critic dislikes, so that a wrong
    critic cannot silence an action.

    Args:
        adv: A(s, a) = Q(s, a) - V(s), of any shape.
        positive_weight: w+.
        negative_weight: w-.
        threshold: the advantage that an action has to exceed.
    """
    return torch.full_like(adv, negative_weight).masked_fill(adv > threshold, positive_weight)


@gin.configurable(module="metamon_ext")
def behavior_cloning_filter(adv: Tensor) -> Tensor:
    """w(A) = 1: imitate everything alike, whatever the critic says."""
    return torch.ones_like(adv)
