"""KL regularization towards a reference policy, with scheduled or adaptive coefficients.

    L = L_actor + c_kl(t) KL(pi || pi_ref) - c_h(t) H(pi)

Offline data do not cover what a new policy meets, and in self-play the opponents change too. The
KL term keeps the policy near a reference (magnetic mirror descent, Sokota et al. 2023,
arXiv:2206.05825). `PowerLaw` lowers a coefficient over time. `AdaptiveKLController` changes it so
that the KL stays near a target, as in PPO (Schulman et al. 2017, arXiv:1707.06347, section 4).

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

    Both policies are normalized over the legal actions. The KL is 0 where no action is legal.

    Args:
        logits, reference_logits: (..., A).
        legal: (..., A), bool, broadcast over the logits.

    Returns:
        (...), at least 0 up to rounding.
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
        horizon: T, in gradient updates: at t = T the coefficient is c_0 2^(-alpha).
        exponent: alpha; 0 keeps the coefficient constant, a negative one makes it grow.
        floor, cap: bounds of the coefficient.
    """

    initial: float
    horizon: float = 25_000.0
    exponent: float = 0.0
    floor: float = 0.0
    cap: float = float("inf")

    def __post_init__(self) -> None:
        if self.horizon <= 0:
            raise ValueError(f"PowerLaw.horizon must be above 0, not {self.horizon}")
        if self.floor > self.cap:
            raise ValueError(f"PowerLaw.floor {self.floor} is above its cap {self.cap}")

    def __call__(self, t: float) -> float:
        c = self.initial * (1 + t / self.horizon) ** -self.exponent
        return min(self.cap, max(self.floor, c))


@gin.configurable(module="metamon_ext")
@dataclass(frozen=True)
class AdaptiveKLController:
    """Keeps the observed KL in [target / tolerance, target * tolerance].

        KL above the band:  learning rate * shrink,  KL coefficient * grow
        KL below the band:  learning rate * grow,    KL coefficient * shrink
        KL within the band: no change

    Both are changed by factors on the configured values. The factors start at 1 and are clipped
    to their bounds.

    Args:
        target: KL in nats per decision.
        tolerance: half the width of the band, as a factor above 1.
        shrink, grow: factors below and above 1.
        interval: gradient updates between two changes; the mean KL over them is compared.
        learning_rate_bounds, kl_bounds: (lowest, highest) factor. By default the learning rate
            never exceeds the configured one.
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
            raise ValueError(f"needs target > 0, tolerance >= 1, shrink <= 1 <= grow: {self}")
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1: {self}")

    def __call__(
        self, kl: float, learning_rate_factor: float, kl_factor: float
    ) -> tuple[float, float]:
        """Return the next factors of the learning rate and of the KL coefficient."""
        if kl > self.target * self.tolerance:
            learning_rate, coefficient = self.shrink, self.grow
        elif kl < self.target / self.tolerance:
            learning_rate, coefficient = self.grow, self.shrink
        else:
            learning_rate = coefficient = 1.0
        return (
            _clip(learning_rate_factor * learning_rate, *self.learning_rate_bounds),
            _clip(kl_factor * coefficient, *self.kl_bounds),
        )


def _clip(x: float, low: float, high: float) -> float:
    return min(high, max(low, x))
