"""The network, as it is trained and as it acts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.training.lite.model import LiteModel


@pytest.fixture
def model() -> LiteModel:
    torch.manual_seed(0)
    return LiteModel(gammas=2, action_dim=8, context_dim=16, hidden_dim=8)


def steps(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    """State, actions and legal actions of random steps."""
    space = MatchupObservationSpace
    generator = torch.Generator().manual_seed(1)
    legal = torch.rand(*shape, 13, generator=generator) < 0.6
    legal[..., 0] = True
    return (
        torch.rand(*shape, space.state_dim, generator=generator),
        torch.rand(*shape, 13, space.action_dim, generator=generator),
        legal,
    )


def log_probs(model: LiteModel, batch: tuple[Tensor, Tensor, Tensor], start: Tensor) -> Tensor:
    return model.heads.log_probs(*model(*batch, start), batch[2])


def test_it_is_small() -> None:
    assert sum(weights.numel() for weights in LiteModel(gammas=4).parameters()) < 2_000_000


def test_acting_step_by_step_gives_what_training_saw(model: LiteModel) -> None:
    batch = steps(3, 5)
    together = log_probs(model, batch, torch.zeros(3, 5, dtype=torch.bool))
    h = torch.zeros(3, 16)
    for t in range(5):
        alone, _, h = model.step(*(array[:, t] for array in batch), h)
        torch.testing.assert_close(alone, together[:, t])


def test_a_new_battle_knows_nothing_of_the_one_before(model: LiteModel) -> None:
    batch = steps(1, 6)
    start = torch.tensor([[False, False, False, True, False, False]])
    whole = log_probs(model, batch, start)
    second = tuple(array[:, 3:] for array in batch)
    fresh = log_probs(model, second, torch.tensor([[True, False, False]]))  # type: ignore[arg-type]
    torch.testing.assert_close(whole[:, 3:], fresh)


def test_nothing_later_is_seen(model: LiteModel) -> None:
    batch = steps(1, 4)
    start = torch.zeros(1, 4, dtype=torch.bool)
    before = log_probs(model, batch, start)
    batch[0][:, 3] = 9.0
    assert torch.equal(log_probs(model, batch, start)[:, :3], before[:, :3])


def test_an_action_is_scored_by_what_it_does_not_by_its_index(model: LiteModel) -> None:
    state, actions, legal = steps(4)
    order = torch.randperm(13)
    h = torch.zeros(4, 16)
    scores, _, _ = model.step(state, actions, legal, h)
    permuted, _, _ = model.step(state, actions[:, order], legal[:, order], h)
    torch.testing.assert_close(permuted, scores[:, order])


def test_illegal_actions_are_never_chosen_and_do_not_matter(model: LiteModel) -> None:
    state, actions, legal = steps(4)
    scores, _, _ = model.step(state, actions, legal, torch.zeros(4, 16))
    assert (scores.exp()[~legal] == 0).all()
    actions[~legal] = 7.0
    again, _, _ = model.step(state, actions, legal, torch.zeros(4, 16))
    torch.testing.assert_close(again[legal], scores[legal])
