"""KL regularization is what its formulas say, within its bounds, whatever is observed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from metamon_ext.learning.kl_regularization import (
    AdaptiveKLController,
    PowerLaw,
    categorical_entropy,
    categorical_kl,
)

A = 5
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=A, max_size=A).map(torch.tensor)
LEGAL = st.lists(st.booleans(), min_size=A, max_size=A).map(torch.tensor)
ALL = torch.ones(A, dtype=torch.bool)


def probabilities(logits: torch.Tensor, legal: torch.Tensor) -> list[float]:
    exps = [math.exp(x) if ok else 0.0 for x, ok in zip(logits.tolist(), legal, strict=True)]
    return [x / sum(exps) for x in exps]


@given(LOGITS, LOGITS, LEGAL)
def test_the_kl_is_that_of_the_definition(
    logits: torch.Tensor, reference: torch.Tensor, legal: torch.Tensor
) -> None:
    assume(legal.any())
    p, r = probabilities(logits, legal), probabilities(reference, legal)
    expected = sum(a * math.log(a / b) for a, b in zip(p, r, strict=True) if a > 0)
    kl = categorical_kl(logits, reference, legal).item()
    assert kl == pytest.approx(expected, abs=2e-5) and kl > -1e-6


@given(LOGITS, LEGAL)
def test_the_entropy_is_that_of_the_definition(logits: torch.Tensor, legal: torch.Tensor) -> None:
    assume(legal.any())
    expected = -sum(p * math.log(p) for p in probabilities(logits, legal) if p > 0)
    assert categorical_entropy(logits, legal).item() == pytest.approx(expected, abs=2e-5)


@given(LOGITS, LOGITS, LEGAL, st.floats(-50, 50))
def test_illegal_actions_count_for_nothing(
    logits: torch.Tensor, reference: torch.Tensor, legal: torch.Tensor, anything: float
) -> None:
    moved = torch.where(legal, logits, anything).requires_grad_()
    kl = categorical_kl(moved, reference, legal)
    assert kl.item() == pytest.approx(categorical_kl(logits, reference, legal).item(), abs=1e-5)
    kl.backward()
    assert moved.grad is not None and not moved.grad[~legal].any()
    assert moved.grad.isfinite().all()


def test_the_kl_is_reverse_so_that_giving_an_action_up_is_cheap() -> None:
    sure, torn = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 0.0])
    both = torch.tensor([True, True])
    assert categorical_kl(sure, torn, both) < 0.7 < categorical_kl(torn, sure, both)


@given(LOGITS, LEGAL)
def test_a_policy_is_at_no_distance_from_itself(logits: torch.Tensor, legal: torch.Tensor) -> None:
    assert categorical_kl(logits, logits + 3.0, legal).item() == pytest.approx(0, abs=1e-5)


@given(
    t=st.floats(0, 1e6),
    initial=st.floats(1e-4, 10),
    horizon=st.floats(1, 1e5),
    exponent=st.floats(-2, 2),
    bounds=st.tuples(st.floats(0, 5), st.floats(0, 5)).map(sorted),
)
def test_the_power_law_is_its_formula_within_its_bounds(
    t: float, initial: float, horizon: float, exponent: float, bounds: list[float]
) -> None:
    low, high = bounds
    law = PowerLaw(initial, horizon, exponent, low, high)
    c = initial / (1 + t / horizon) ** exponent
    assert low <= law(t) <= high
    assert law(t) == pytest.approx(min(high, max(low, c)))
    free = PowerLaw(initial, horizon, exponent)
    assert free(0) == initial
    assert free(horizon) == pytest.approx(initial * 2**-exponent)


@given(
    kl=st.floats(0, 10),
    factors=st.tuples(st.floats(0.1, 1), st.floats(0.1, 10)),
    target=st.floats(1e-3, 1),
    tolerance=st.floats(1, 3),
)
def test_the_control_tightens_above_the_band_and_lets_go_below(
    kl: float, factors: tuple[float, float], target: float, tolerance: float
) -> None:
    control = AdaptiveKLController(target, tolerance, shrink=0.5, grow=2.0)
    learning_rate, coefficient = control(kl, *factors)
    assert 0.1 <= learning_rate <= 1.0 and 0.1 <= coefficient <= 10.0
    if kl > target * tolerance:
        assert learning_rate == max(0.1, factors[0] / 2) and coefficient == min(10, factors[1] * 2)
    elif kl < target / tolerance:
        assert learning_rate == min(1.0, factors[0] * 2) and coefficient == max(0.1, factors[1] / 2)
    else:
        assert (learning_rate, coefficient) == factors


def test_the_control_finds_the_coefficient_that_holds_the_target() -> None:
    """A policy whose distance is 0.1 / c for a coefficient c, as a quadratic's is."""
    control, learning_rate, coefficient = AdaptiveKLController(target=0.02), 1.0, 1.0
    for _ in range(20):
        learning_rate, coefficient = control(0.1 / coefficient, learning_rate, coefficient)
    assert 0.02 / 1.5 <= 0.1 / coefficient <= 0.02 * 1.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: PowerLaw(1.0, horizon=0),
        lambda: PowerLaw(1.0, floor=2.0, cap=1.0),
        lambda: AdaptiveKLController(target=0),
        lambda: AdaptiveKLController(target=1, tolerance=0.5),
        lambda: AdaptiveKLController(target=1, shrink=2.0),
        lambda: AdaptiveKLController(target=1, interval=0),
    ],
)
def test_settings_without_a_meaning_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r".+"):
        make()
