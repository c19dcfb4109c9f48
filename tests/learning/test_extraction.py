"""The improved policy is the optimum of what it is said to maximize."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.learning.extraction import improved_policy
from metamon_ext.learning.losses import mask_logits

SIZES = st.integers(2, 13)
SEEDS = st.integers(0, 2**31)


def draw(actions: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """log pi and Q of a state, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(2, actions, generator=generator, dtype=torch.float64)
    return torch.log_softmax(2 * numbers[0], -1), numbers[1]


@given(SIZES, SEEDS, st.floats(0.01, 50))
def test_no_other_policy_has_a_higher_regularized_value(
    actions: int, seed: int, beta: float
) -> None:
    log_pi, q = draw(actions, seed)

    def value(log_p: torch.Tensor) -> float:
        p = log_p.exp()
        return float((p * q).sum() - (p * (log_p - log_pi)).sum() / beta)

    best = improved_policy(log_pi, q, beta)
    optimum = float(torch.logsumexp(log_pi + beta * q, -1)) / beta
    assert abs(value(best) - optimum) < 1e-8
    other, _ = draw(actions, seed + 1)
    assert value(other) <= value(best) + 1e-9
    assert value(log_pi) <= value(best) + 1e-9


@given(SIZES, SEEDS, st.floats(-5, 5))
def test_a_constant_of_the_state_changes_nothing_and_beta_0_is_the_policy(
    actions: int, seed: int, constant: float
) -> None:
    log_pi, q = draw(actions, seed)
    torch.testing.assert_close(improved_policy(log_pi, q, 0.0), log_pi)
    torch.testing.assert_close(
        improved_policy(log_pi, q + constant, 3.0), improved_policy(log_pi, q, 3.0)
    )


@given(SEEDS, st.floats(0, 1000))
def test_illegal_actions_stay_impossible(seed: int, beta: float) -> None:
    _, q = draw(13, seed)
    legal = torch.arange(13) % 2 == seed % 2
    log_pi = torch.log_softmax(mask_logits(torch.zeros(13), legal), -1)
    improved = improved_policy(log_pi, q.float(), beta)
    assert torch.isfinite(improved[legal]).all()
    assert improved.exp()[~legal].sum() == 0
    assert abs(float(improved.exp().sum()) - 1) < 1e-4
