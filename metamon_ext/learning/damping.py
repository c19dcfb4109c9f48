"""Dynamic damping: how far a policy may go from where it started, and how that is relaxed.

    L = L_actor + c_kl(t) KL(pi_new || pi_ref) - c_h(t) H(pi_new)

Offline data say nothing about what the policy in training would meet, and in self-play the
opponents move as well. A pull towards a reference keeps both in hand (magnetic mirror descent,
Sokota et al. 2023, arXiv:2206.05825). A power law lets it go, and it tightens again where the
observed distance leaves its band, as in PPO (Schulman et al. 2017, arXiv:1707.06347, section 4).

Shapes: ... any, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import gin
import torch
from torch import Tensor

from metamon_ext.learning.losses import mask_logits


def categorical_kl(logits: Tensor, reference_logits: Tensor, legal: Tensor) -> Tensor:
    """KL(pi || ref) = sum_a pi(a) (log pi(a) - log ref(a)) over the legal actions, in nats.

    Both policies are renormalised over what is legal, so that it is 0 where they agree on that;
    it is also 0 where nothing is legal.

    Args:
        logits, reference_logits: (..., A).
        legal: (..., A), bool, broadcast over the logits.

    Returns:
        (...), never negative but for rounding.
    """
    log_p = torch.log_softmax(mask_logits(logits, legal), dim=-1)
    log_r = torch.log_softmax(mask_logits(reference_logits, legal), dim=-1)
    return (log_p.exp() * (log_p - log_r)).sum(-1)


def categorical_entropy(logits: Tensor, legal: Tensor) -> Tensor:
    """H(pi) = -sum_a pi(a) log pi(a) over the legal actions, in nats: (..., A) -> (...)."""
    log_p = torch.log_softmax(mask_logits(logits, legal), dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


@gin.configurable(module="metamon_ext")
@dataclass(frozen=True)
class PowerLaw:
    """c_t = min(cap, max(floor, c_0 (1 + t / T)^(-alpha))).

    Args:
        initial: c_0.
        horizon: T, in gradient updates: at t = T the coefficient is down to 2^(-alpha).
        exponent: alpha; 0 is a constant, below 0 the coefficient grows.
        floor, cap: the coefficient never leaves these.
    """

    initial: float
    horizon: float = 25_000.0
    exponent: float = 0.0
    floor: float = 0.0
    cap: float = float("inf")

    def __post_init__(self) -> None:
        if self.horizon <= 0:
            raise ValueError(f"PowerLaw.horizon is {self.horizon}; it has to be above 0")
        if self.floor > self.cap:
            raise ValueError(f"PowerLaw.floor {self.floor} is above its cap {self.cap}")

    def __call__(self, t: float) -> float:
        c = self.initial * (1 + t / self.horizon) ** -self.exponent
        return min(self.cap, max(self.floor, c))


@gin.configurable(module="metamon_ext")
@dataclass(frozen=True)
class KLControl:
    """Keeps the observed KL in [target / tolerance, target * tolerance].

        KL above the band:  learning rate * shrink,  KL coefficient * grow
        KL below the band:  learning rate * grow,    KL coefficient * shrink
        KL within:          both stay

    Both are factors on what is configured, 1 at first, and stay within their bounds.

    Args:
        target: the distance that is wanted, in nats a decision.
        tolerance: half the width of the band, as a factor above 1.
        shrink, grow: factors below and above 1.
        interval: gradient updates between two decisions; the mean KL over them decides.
        learning_rate_bounds, kl_bounds: (lowest, highest) factor. The default never exceeds the
            learning rate that is configured.
    """

    target: float
    tolerance: float = 1.5
    shrink: float = 0.7
    grow: float = 1.4
    interval: int = 100
    learning_rate_bounds: tuple[float, float] = (0.1, 1.0)
    kl_bounds: tuple[float, float] = (0.1, 10.0)

    def __post_init__(self) -> None:
        if not (self.target > 0 and self.tolerance >= 1 and 0 < self.shrink <= 1 <= self.grow):
            raise ValueError(f"target > 0, tolerance >= 1 and shrink <= 1 <= grow: {self}")
        if self.interval < 1:
            raise ValueError(f"KLControl.interval is {self.interval}; it has to be 1 or more")

    def __call__(
        self, kl: float, learning_rate_factor: float, kl_factor: float
    ) -> tuple[float, float]:
        """The two factors that follow from an observed KL and the present factors."""
        if kl > self.target * self.tolerance:
            learning_rate, damping = self.shrink, self.grow
        elif kl < self.target / self.tolerance:
            learning_rate, damping = self.grow, self.shrink
        else:
            learning_rate = damping = 1.0
        return (
            _clip(learning_rate_factor * learning_rate, *self.learning_rate_bounds),
            _clip(kl_factor * damping, *self.kl_bounds),
        )


def _clip(x: float, low: float, high: float) -> float:
    return min(high, max(low, x))
