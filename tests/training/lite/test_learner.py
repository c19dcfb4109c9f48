"""One step of learning does what the formulas say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metamon_ext.learning.advantage import behavior_cloning_filter, binary_advantage_filter
from metamon_ext.learning.losses import discounted_returns
from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.training.lite.dataset import Dataset
from metamon_ext.training.lite.featurizer import Decisions, LiteFeaturizer
from metamon_ext.training.lite.learner import Learner


def make_learner(**changes: Any) -> Learner:
    torch.manual_seed(0)
    return Learner(gammas=(0.9, 0.99), **changes)


def make_batch(b: int = 2, length: int = 4) -> tuple[Decisions, torch.Tensor]:
    """Random slices, each ending a battle in its second decision."""
    torch.manual_seed(1)
    space = MatchupObservationSpace
    legal = torch.ones(b, length + 1, 3, dtype=torch.bool)
    legal[:, :, 2] = False
    done = torch.zeros(b, length + 1, dtype=torch.bool)
    done[:, 1] = True
    batch = Decisions(
        state=torch.rand(b, length + 1, space.state_dim),
        actions=torch.rand(b, length + 1, 3, space.action_dim),
        legal=legal,
        action=torch.randint(2, (b, length + 1)),
        reward=torch.where(done, 1.0, 0.0),
        start=torch.roll(done, 1, dims=1),
        done=done,
    )
    return batch, torch.rand(b, length, 2)


def test_losses_are_those_of_the_formulas() -> None:
    """Once more, decision by decision, in plain loops."""
    learner = make_learner(monte_carlo_weight=0.25)
    batch, returns = make_batch()
    batch.action[0, 0] = -1
    actor_loss, critic_loss, figures = learner.losses(batch, returns)

    x, h, e = learner.model(batch.state, batch.actions, batch.legal, batch.start)
    pi = learner.model.heads.log_probs(x, h, e, batch.legal).exp()
    q = learner.model.heads.q_values(x, e)
    target_pi = learner.target.log_probs(x, h, e, batch.legal).exp()
    target_q = learner.target.q_values(x, e)
    actor_terms, critic_terms, positive = [], [], 0
    for b in range(2):
        for t in range(4):
            a = int(batch.action[b, t])
            for g, gamma in enumerate((0.9, 0.99)):
                if a == -1:
                    continue
                value = sum(pi[b, t, i] * q[b, t, i, g] for i in range(3))
                weight = 1.0 if q[b, t, a, g] > value else 0.2
                positive += weight == 1.0
                actor_terms.append(-weight * pi[b, t, a].log())
                ahead = sum(target_pi[b, t + 1, i] * target_q[b, t + 1, i, g] for i in range(3))
                y = batch.reward[b, t] + gamma * (not batch.done[b, t]) * ahead
                y = 0.75 * y + 0.25 * returns[b, t, g]
                critic_terms.append((q[b, t, a, g] - y) ** 2)
    torch.testing.assert_close(actor_loss, torch.stack(actor_terms).mean())
    torch.testing.assert_close(critic_loss, torch.stack(critic_terms).mean())
    assert figures["positive_advantage"] == pytest.approx(positive / len(actor_terms))


def test_the_weight_of_returns_may_change_with_the_updates() -> None:
    batch, returns = make_batch()
    falling = make_learner(monte_carlo_weight=lambda t: 1.0 if t == 0 else 0.0)
    for weight in (1.0, 0.0):
        expected = make_learner(monte_carlo_weight=weight)
        expected.start_from(falling.model.state_dict())
        assert falling.losses(batch, returns)[1] == expected.losses(batch, returns)[1]
        falling.schedule.last_epoch += 1


def test_the_actor_does_not_pull_on_the_critics_nor_the_critics_on_their_target() -> None:
    learner = make_learner()
    actor_loss, critic_loss, _ = learner.losses(*make_batch())
    actor_loss.backward(retain_graph=True)
    assert all(w.grad is None for w in learner.model.heads.critics.parameters())
    critic_loss.backward()
    assert all(w.grad is None for w in learner.target.parameters())


def test_cloning_leaves_the_critics_alone() -> None:
    learner = make_learner(filter_func=behavior_cloning_filter, critic_weight=0.0, weight_decay=0.0)
    before = [w.clone() for w in learner.model.heads.critics.parameters()]
    learner.update(*make_batch())
    assert all(map(torch.equal, before, learner.model.heads.critics.parameters()))


def test_the_targets_follow_slowly() -> None:
    learner = make_learner(target_rate=0.25)
    before = [w.clone() for w in learner.target.parameters()]
    learner.update(*make_batch())
    for old, new, online in zip(
        before, learner.target.parameters(), learner.model.heads.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)


def test_the_learning_rate_warms_up_and_the_gradient_is_clipped() -> None:
    learner = make_learner(learning_rate=1.0, warmup_steps=4, max_grad_norm=1e-3)
    batch = make_batch()
    assert [learner.update(*batch)["lr"] for _ in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    norms = [w.grad.norm() for w in learner.model.parameters() if w.grad is not None]
    assert torch.stack(norms).norm() <= 1.001e-3


def test_the_learning_rate_falls_to_its_last_value() -> None:
    learner = make_learner(learning_rate=1.0, warmup_steps=1, final_learning_rate=0.2, steps=4)
    batch = make_batch()
    rates = [learner.update(*batch)["lr"] for _ in range(5)]
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.2])


@pytest.mark.parametrize(
    ("filter_func", "expected"),
    [(binary_advantage_filter, 5 / 6), (behavior_cloning_filter, 1 / 2)],
)
def test_of_two_habits_the_winning_one_is_kept(filter_func: Any, expected: float) -> None:
    """One decision a battle: action 0 wins, action 1 loses, recorded equally often.

    Where all that differs is the weight, pi is in proportion to it: 1 to 0.2 makes 5/6.
    """
    rows = np.zeros(256, LiteFeaturizer().row)
    rows["action"] = np.arange(len(rows)) % 2
    rows["actions"][:, 1, 0] = 1.0  # so that they can be told apart
    rows["legal"] = np.packbits(np.arange(13) < 2)
    rows["reward"] = 1.0 - 2 * rows["action"]
    rows["start"] = rows["done"] = True
    data = Dataset([rows])
    learner = make_learner(filter_func=filter_func, learning_rate=3e-3, warmup_steps=1)
    returns = discounted_returns(data.reward, data.done, learner.gammas)
    order = torch.Generator().manual_seed(0)
    for _ in range(150):
        indices = data.slices(8, 9, order)
        learner.update(data.take(indices), returns[indices[:, :-1]])
    batch = data.take(torch.tensor([[0]]))
    x, h, e = learner.model(batch.state, batch.actions, batch.legal, batch.start)
    pi = learner.model.heads.log_probs(x, h, e, batch.legal).exp()
    assert pi[0, 0, 0].item() == pytest.approx(expected, abs=0.05)


def test_critics_of_the_behavior_and_the_online_term_are_those_of_the_formulas() -> None:
    """Decision by decision; where the next action is missing, its return stands for it."""
    plain = make_learner(monte_carlo_weight=0.25, evaluates="behavior")
    learner = make_learner(monte_carlo_weight=0.25, evaluates="behavior", online_coeff=0.5)
    batch, returns = make_batch()
    batch.action[0, 3] = -1
    actor_loss, critic_loss, _ = learner.losses(batch, returns)
    filtered, same, _ = plain.losses(batch, returns)
    x, h, e = learner.model(batch.state, batch.actions, batch.legal, batch.start)
    pi = learner.model.heads.log_probs(x, h, e, batch.legal).exp()
    q = learner.model.heads.q_values(x, e)
    target_q = learner.target.q_values(x, e)
    values, critic_terms = [], []
    for b in range(2):
        for t in range(4):
            a, after = int(batch.action[b, t]), int(batch.action[b, t + 1])
            for g, gamma in enumerate((0.9, 0.99)):
                if a == -1:
                    continue
                values.append(sum(pi[b, t, i] * q[b, t, i, g] for i in range(3)))
                ahead = 0.0 if batch.done[b, t] else target_q[b, t + 1, after, g]
                y = batch.reward[b, t] + gamma * ahead
                y = returns[b, t, g] if after == -1 else 0.75 * y + 0.25 * returns[b, t, g]
                critic_terms.append((q[b, t, a, g] - y) ** 2)
    torch.testing.assert_close(critic_loss, torch.stack(critic_terms).mean())
    torch.testing.assert_close(same, critic_loss)
    torch.testing.assert_close(actor_loss, filtered - 0.5 * torch.stack(values).mean())
    actor_loss.backward()
    assert all(w.grad is None for w in learner.model.heads.critics.parameters())


def test_the_policy_is_held_near_the_one_that_training_starts_from() -> None:
    batch, returns = make_batch()
    start = make_learner()
    with torch.no_grad():
        for weight in start.model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    distances = []
    for coefficient in (0.0, 100.0):
        learner = make_learner(kl_coeff=lambda t, c=coefficient: c, learning_rate=3e-3)
        learner.start_from(start.model.state_dict())
        first = learner.update(batch, returns)
        assert abs(first["kl"]) < 1e-6
        distances.append([learner.update(batch, returns)["kl"] for _ in range(20)][-1])
        other = make_learner(kl_coeff=lambda t: 0.0)
        other.load_state_dict(learner.state_dict())
        held, again = learner.reference, other.reference
        assert held is not None and again is not None
        for a, b in zip(held.parameters(), again.parameters(), strict=True):
            assert torch.equal(a, b)
    assert 0 < distances[1] < 0.3 * distances[0]


def test_the_coefficient_follows_its_schedule() -> None:
    asked = []
    learner = make_learner(kl_coeff=lambda t: asked.append(t) or 0.0)
    for _ in range(3):
        learner.update(*make_batch())
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    "settings",
    [
        {"online_coeff": 0.1},
        {"online_coeff": 0.1, "evaluates": "behavior", "critic_weight": 0.0},
        {"evaluates": "behaviour"},
    ],
)
def test_the_online_term_needs_critics_of_the_behavior(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Learner\.(online_coeff|evaluates)"):
        make_learner(**settings)
