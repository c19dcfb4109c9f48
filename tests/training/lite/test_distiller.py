"""The last stage of training: the actor becomes the improved policy, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metamon_ext.learning.extraction import improved_policy
from metamon_ext.training.lite.extraction import Distiller, ExtractionSettings
from tests.training.lite.test_learner import make_batch, make_learner


def policies(model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """log pi (B, L, A) and Q (B, L, A, G)."""
    x, h, e = model(batch.state, batch.actions, batch.legal, batch.start)
    return model.heads.log_probs(x, h, e, batch.legal), model.heads.q_values(x, e)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_actor_becomes_the_improved_policy(temperature: float) -> None:
    learner = make_learner()
    batch, returns = make_batch()
    with torch.no_grad():
        log_pi, q = policies(learner.model, batch)
    wanted = improved_policy(log_pi, q[..., 1], 100.0)
    settings = ExtractionSettings(
        steps=300, beta=100.0, gamma=0.99, temperature=temperature, learning_rate=3e-3
    )
    distiller = Distiller(learner, settings)
    losses = [distiller.update(batch, returns)["actor_loss"] for _ in range(settings.steps)]
    assert losses[-1] < 1e-3 < losses[0]
    with torch.no_grad():
        log_pi, _ = policies(learner.model, batch)
    fitted = torch.log_softmax(log_pi * temperature, dim=-1)
    torch.testing.assert_close(fitted.exp(), wanted.exp(), atol=0.03, rtol=0)
    assert log_pi[~batch.legal].exp().sum() == 0


def test_only_the_actor_changes() -> None:
    learner = make_learner()
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    distiller = Distiller(learner, ExtractionSettings(steps=1, gamma=0.9))
    teacher = {name: value.clone() for name, value in distiller.teacher.state_dict().items()}
    distiller.update(*make_batch())
    after = learner.model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.startswith("heads.actor.") for name in changed)
    assert all(
        torch.equal(value, distiller.teacher.state_dict()[k]) for k, value in teacher.items()
    )


@pytest.mark.parametrize(
    ("learner", "settings", "says"),
    [
        ({}, {"gamma": 0.5}, "no critic for gamma = 0.5. Known: 0.9, 0.99."),
        ({"critic_weight": 0.0}, {"gamma": 0.9}, "trained without critics"),
    ],
)
def test_a_critic_that_is_missing_is_named(
    learner: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    extraction = ExtractionSettings(steps=1, **settings)
    with pytest.raises(ValueError, match=says):
        extraction.check(make_learner(**learner))


@pytest.mark.parametrize("settings", [{"steps": -1}, {"beta": -1.0}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ExtractionSettings(**settings)
