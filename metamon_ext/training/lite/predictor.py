"""The built-in learner's network on recorded battles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import gin
import numpy as np
import torch
from numpy.typing import NDArray

from metamon_ext.evaluation.offline import Predictions
from metamon_ext.learning.losses import expected_value, of_actions
from metamon_ext.training.lite.checkpoint import load_checkpoint, model_of
from metamon_ext.training.lite.config import REWARD_FUNCTION
from metamon_ext.training.lite.featurizer import Decisions, LiteFeaturizer
from metamon_ext.training.lite.model import LiteModel


class LitePredictor:
    """A `Predictor`.

    Args:
        model: the network.
        gammas: the discounts of its critics; empty if they were not trained.
        featurizer: with the reward that the network was trained with.
    """

    def __init__(
        self, model: LiteModel, gammas: Sequence[float], featurizer: LiteFeaturizer
    ) -> None:
        self.featurizer = featurizer
        self.gammas = gammas
        self._model = model

    @classmethod
    def load(cls, checkpoint: Path) -> LitePredictor:
        """The network of a run or checkpoint. Raises UserError for one that cannot play.

        A checkpoint of an earlier version does not say for which discounts its critics are, and
        counts as one without critics.
        """
        content = load_checkpoint(checkpoint)
        model = model_of(checkpoint, content)
        reward = _bind_settings(str(content.get("bindings", "")))
        featurizer = LiteFeaturizer.named(model.sizes["obs_space"], reward)
        return cls(model, tuple(content.get("gammas") or ()), featurizer)

    def predict(self, trajectories: Sequence[NDArray[np.void]]) -> list[Predictions]:
        """The predictions for the rows of each trajectory, all of them in one batch."""
        lengths = list(map(len, trajectories))
        rows = np.zeros((len(lengths), max(lengths)), self.featurizer.row)
        for padded, one in zip(rows, trajectories, strict=True):
            padded[: len(one)] = one
        batch = Decisions.of_rows(rows)
        heads = self._model.heads
        with torch.inference_mode():
            x, h, e = self._model(batch.state, batch.actions, batch.legal, batch.start)
            log_probs = heads.log_probs(x, h, e, batch.legal)
            q = heads.q_values(x, e)[..., : len(self.gammas)]
            value = expected_value(log_probs, q)
            q_taken = of_actions(q, batch.action)
        return [
            Predictions(
                log_probs=log_probs[i, :n].numpy(),
                legal=batch.legal[i, :n].numpy(),
                action=batch.action[i, :n].numpy(),
                reward=batch.reward[i, :n].numpy(),
                value=value[i, :n].numpy(),
                q_taken=q_taken[i, :n].numpy(),
            )
            for i, n in enumerate(lengths)
        ]


def _bind_settings(bindings: str) -> str:
    """Bind the gin settings of a run, for its reward. Returns the name of its reward function.

    Imports are left out: a checkpoint from elsewhere runs no code.
    """
    gin.clear_config()
    gin.parse_config(re.sub(r"(?m)^(import|from|include)\s.*$", "", bindings), skip_unknown=True)
    try:
        return str(gin.query_parameter("train.reward_function"))
    except ValueError:
        return REWARD_FUNCTION
