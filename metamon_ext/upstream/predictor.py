"""A Metamon model on recorded battles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from amago.loading import RLData
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from metamon_ext.evaluation.offline import Predictions
from metamon_ext.upstream.checkpoints import find_checkpoint
from metamon_ext.upstream.extraction import critic_discounts, q_values
from metamon_ext.upstream.featurizer import (
    ACTIONS,
    ILLEGAL,
    MISSING,
    REWARDS,
    MetamonFeaturizer,
)
from metamon_ext.upstream.hidden_state import blank
from metamon_ext.upstream.models import build_model
from metamon_ext.upstream.policy import load_agent

BLOCK = 16
"""Decisions of each trajectory that the critics see at once."""


class MetamonPredictor:
    """A `Predictor`: the model sees a battle decision by decision, as `MetamonPolicy` plays it.

    Actions are the outputs of the model's own action space. The policy is that of the longest
    discount, which is the one that plays. V is a sum over the actions where AMAGO draws samples.

    Args:
        model: a registered name, or a checkpoint of your own.
        checkpoint: the epoch; by default the model's own choice.
    """

    def __init__(self, model: str, checkpoint: int | str | None = None) -> None:
        found = find_checkpoint(model, None if checkpoint is None else int(checkpoint))
        parts = build_model(found)
        self.featurizer = MetamonFeaturizer(
            parts.observation_space, parts.action_space, parts.reward_function
        )
        self._experiment = load_agent(found)
        self._agent: Any = self._experiment.policy
        agent = self._agent
        self._device = self._experiment.DEVICE
        self.gammas: list[float] = critic_discounts(agent)

    def predict(self, trajectories: Sequence[NDArray[np.void]]) -> list[Predictions]:
        """The predictions for the rows of each trajectory, all of them in one batch."""
        agent = self._agent
        data = [self.featurizer.rl_data(rows) for rows in trajectories]
        with (
            torch.no_grad(),
            torch.compiler.set_stance("force_eager"),
            self._experiment.caster(),
        ):
            obs, memory = self._encode(data)
            seen = {key: obs[key] for key in agent.pass_obs_keys_to_actor}
            probs = agent.actor(memory, straight_from_obs=seen).probs.float()  # (B, L, G, A)
            q = torch.zeros(*probs.shape[:2], 0, probs.shape[-1], device=self._device)
            if self.gammas:
                blocks = [q_values(agent, block) for block in memory.split(BLOCK, 1)]
                q = torch.cat(blocks, 1).float()
            value = (probs[:, :, : q.shape[2]] * q).sum(-1)
        log_probs = probs[:, :, -1].log().cpu().numpy()
        predictions = []
        for i, rows in enumerate(trajectories):
            n = len(rows) - 1  # the last row is of the finished battle
            action = np.where(rows[MISSING], -1, rows[ACTIONS].astype(np.int64))[:n]
            taken = torch.from_numpy(np.maximum(action, 0)).to(self._device)
            q_taken = q[i, :n].gather(-1, taken[:, None, None].expand(-1, q.shape[2], 1))
            illegal = np.unpackbits(rows[ILLEGAL][:n], axis=-1, count=self.featurizer.num_actions)
            predictions.append(
                Predictions(
                    log_probs=log_probs[i, :n],
                    legal=~illegal.view(bool),
                    action=action,
                    reward=rows[REWARDS][:n],
                    value=value[i, :n].cpu().numpy(),
                    q_taken=q_taken.squeeze(-1).cpu().numpy(),
                )
            )
        return predictions

    def _encode(self, data: Sequence[RLData]) -> tuple[dict[str, Tensor], Tensor]:
        """Observations (B, L, ...) without the last state, and the memory (B, L, D) at each.

        The memory advances by single decisions: a transformer's may be shorter than a battle.
        """

        def pad(parts: list[Tensor]) -> Tensor:
            return pad_sequence([part[:-1] for part in parts], batch_first=True).to(self._device)

        keys = [*self.featurizer.shapes, ILLEGAL]
        obs = {key: pad([one.obs[key] for one in data]) for key in keys}
        steps = self._agent.tstep_encoder(obs=obs, rl2s=pad([one.rl2s for one in data]))
        length = steps.shape[1]
        time_idxs = torch.arange(length, device=self._device).expand(len(data), length)
        encoder = self._agent.traj_encoder
        hidden = blank(encoder, len(data), self._device)
        memory = []
        for t in range(length):
            now = slice(t, t + 1)
            at = time_idxs[:, now, None].contiguous()
            step, hidden = encoder(steps[:, now], time_idxs=at, hidden_state=hidden)
            memory.append(step)
        return obs, torch.cat(memory, 1)
