"""The losses are what their formulas say, whatever is masked."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.learning.losses import (
    discounted_returns,
    expected_value,
    mask_logits,
    masked_mean,
    td_target,
    weighted_regression_loss,
)

GAMMAS = torch.tensor([0.9, 0.99, 0.9999])
REWARDS = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=8)


def test_illegal_actions_have_no_probability_and_no_gradient() -> None:
    logits = torch.tensor([1.0, 50.0, 2.0], requires_grad=True)
    log_probs = torch.log_softmax(mask_logits(logits, torch.tensor([True, False, True])), -1)
    probs = log_probs.exp()
    assert probs[1] == 0 and probs.sum().item() == pytest.approx(1)
    (probs * log_probs).sum().backward()  # the entropy, where -inf would make NaN
    assert logits.grad is not None and logits.grad[1] == 0 and logits.grad.isfinite().all()


def test_a_state_without_any_legal_action_is_uniform() -> None:
    logits = mask_logits(torch.randn(4), torch.zeros(4, dtype=torch.bool))
    assert torch.softmax(logits, -1).tolist() == [0.25] * 4


@given(st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=1))
def test_what_is_masked_does_not_count_in_a_mean(entries: list[tuple[float, bool]]) -> None:
    x, mask = torch.tensor([x for x, _ in entries]), torch.tensor([m for _, m in entries])
    kept = [x for x, m in entries if m]
    expected = sum(kept) / len(kept) if kept else 0.0
    assert masked_mean(x, mask).item() == pytest.approx(expected, abs=1e-4)


def test_a_mean_over_discounts_counts_each_decision_once() -> None:
    x = torch.tensor([[[1.0, 3.0], [10.0, 10.0]]])  # (B, L, G)
    assert masked_mean(x, torch.tensor([[[True], [False]]])) == 2


def test_the_target_of_a_last_decision_is_its_reward() -> None:
    reward, done = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.0, 1.0]])
    y = td_target(reward, done, torch.full((1, 2, 3), 2.0), GAMMAS)
    torch.testing.assert_close(y, torch.stack([0.5 + 2 * GAMMAS, torch.ones(3)]).unsqueeze(0))


@given(st.lists(REWARDS, min_size=1, max_size=4))
def test_returns_sum_the_discounted_rewards_of_one_battle(battles: list[list[float]]) -> None:
    reward = torch.tensor([r for battle in battles for r in battle])
    done = torch.tensor([float(i == len(b) - 1) for b in battles for i in range(len(b))])
    returns = discounted_returns(reward, done, GAMMAS)
    expected = [
        [sum(gamma**k * r for k, r in enumerate(battle[t:])) for gamma in GAMMAS.tolist()]
        for battle in battles
        for t in range(len(battle))
    ]
    torch.testing.assert_close(returns, torch.tensor(expected), atol=1e-4, rtol=1e-4)


@given(st.lists(REWARDS, max_size=6), st.booleans())
def test_returns_are_those_of_a_plain_loop_bit_for_bit(
    battles: list[list[float]], last_is_cut_off: bool
) -> None:
    reward = torch.tensor([r for battle in battles for r in battle])
    done = torch.tensor([i == len(b) - 1 for b in battles for i in range(len(b))], dtype=torch.bool)
    done[-1:] &= not last_is_cut_off
    before = done.clone()
    expected = torch.zeros(len(reward), len(GAMMAS))
    for column, gamma in enumerate(GAMMAS.tolist()):
        ahead = 0.0
        for t in reversed(range(len(reward))):
            ahead = float(reward[t]) + gamma * (not done[t]) * ahead
            expected[t, column] = ahead
    assert torch.equal(discounted_returns(reward, done, GAMMAS), expected)
    assert torch.equal(done, before)


def test_the_value_is_what_the_policy_expects_of_its_actions() -> None:
    log_probs = torch.tensor([[[0.25, 0.75]]]).log()
    q = torch.tensor([[[[4.0, 0.0], [0.0, 4.0]]]])  # (B, L, A, G)
    torch.testing.assert_close(expected_value(log_probs, q), torch.tensor([[[1.0, 3.0]]]))


def test_regression_weighs_each_decision_and_skips_missing_actions() -> None:
    log_prob = torch.tensor([[math.log(0.5), math.log(0.1)]], requires_grad=True)
    weight = torch.tensor([[[1.0, 0.2], [1.0, 1.0]]], requires_grad=True)
    loss = weighted_regression_loss(log_prob, weight, torch.tensor([[True, False]]))
    assert loss.item() == pytest.approx(-0.6 * math.log(0.5))
    loss.backward()
    assert log_prob.grad is not None and log_prob.grad[0, 1] == 0
    assert weight.grad is None
