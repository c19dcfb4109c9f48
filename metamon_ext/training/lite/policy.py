"""A trained network in the seats of an arena."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from metamon_ext.arena.policy import CHUNK, check_probability, in_chunks
from metamon_ext.learning.extraction import improved_policy
from metamon_ext.settings import check_beta
from metamon_ext.spaces.actions import NUM_ACTIONS
from metamon_ext.spaces.registry import make_observation_space
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.training.lite.checkpoint import (
    checkpoint_file,
    critic_of,
    load_checkpoint,
    load_model,
    model_of,
)

if TYPE_CHECKING:
    from metamon_ext.arena.policy import Decision
    from metamon_ext.training.lite.predictor import LitePredictor

GAMMA = 0.999
"""The discount of the critic that `beta` uses unless another one is named."""


class _Memory:
    """What is kept of one battle: the observation space's memory and the network's."""

    def __init__(self, context_dim: int, obs_space: str) -> None:
        self.space = make_observation_space(obs_space)
        self.before = torch.zeros(context_dim)  # h before and after the latest decision
        self.after = self.before
        self.state: UniversalState | None = None
        self.observation: dict[str, NDArray[np.float32]] = {}

    def observe(self, state: UniversalState) -> None:
        """Take in the state of a decision; asked again in the same state, nothing moves on."""
        if state is not self.state:
            self.state, self.before = state, self.after
            self.observation = self.space(state)


class LitePolicy:
    """Plays the policy of a checkpoint, all battles of a worker in one batch.

    Args:
        checkpoint: a run's folder, or the file in it.
        temperature: actions are drawn from pi(a|s)^(1/temperature); 0 takes the likeliest.
        beta: more than 0 plays `improved_policy` by the critics in the place of pi.
        gamma: the discount of the critic that is used for that.
        epsilon: the probability of a uniformly random legal action instead.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        temperature: float | str = 1.0,
        beta: float | str = 0.0,
        gamma: float | str = GAMMA,
        epsilon: float | str = 0.0,
    ) -> None:
        torch.set_num_threads(1)  # workers share the cores already, and the matrices are small
        self._temperature, self._beta = float(temperature), float(beta)
        self._epsilon = float(epsilon)
        check_beta(self._beta, self._temperature)
        check_probability(self._epsilon)
        path = Path(checkpoint)
        content = load_checkpoint(path)
        self._critic = critic_of(path, content, float(gamma)) if self._beta else 0
        self._model = model_of(path, content)
        self._memories: dict[str, _Memory] = {}

    @staticmethod
    def weights(checkpoint: str | Path, **_: object) -> Path:
        """The file that the network comes from. Raises UserError for one that cannot play."""
        load_model(Path(checkpoint))
        return checkpoint_file(Path(checkpoint))

    @staticmethod
    def check(
        checkpoint: str | Path,
        temperature: float | str = 1.0,
        beta: float | str = 0.0,
        gamma: float | str = GAMMA,
        epsilon: float | str = 0.0,
    ) -> None:
        """Raise ValueError for options that are no such numbers, or a critic that is missing."""
        check_beta(float(beta), float(temperature))
        check_probability(float(epsilon))
        if float(beta):
            critic_of(Path(checkpoint), load_checkpoint(Path(checkpoint)), float(gamma))

    @staticmethod
    def predictor(checkpoint: str | Path, **_: object) -> LitePredictor:
        """The network, for offline figures: see `evaluation.offline.Predictor`."""
        from metamon_ext.training.lite.predictor import LitePredictor

        return LitePredictor.load(Path(checkpoint))

    def begin(self, battle_id: str) -> None:
        """Start with a blank memory."""
        self._memories[battle_id] = _Memory(
            self._model.sizes["context_dim"], self._model.sizes["obs_space"]
        )

    def end(self, battle_id: str) -> None:
        """Forget the battle."""
        self._memories.pop(battle_id, None)

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        """Draw an action for each decision, or take the likeliest."""
        return [self._choose(*each) for each in in_chunks(decisions, self._log_probs)]

    def _log_probs(self, decisions: Sequence[Decision]) -> NDArray[np.float32]:
        """log pi, or log pi_beta, of up to CHUNK decisions, (CHUNK, 13); updates the memories."""
        model = self._model
        state = np.zeros((CHUNK, model.space.state_dim), np.float32)
        actions = np.zeros((CHUNK, NUM_ACTIONS, model.space.action_dim), np.float32)
        legal = np.zeros((CHUNK, NUM_ACTIONS), bool)
        h = torch.zeros(CHUNK, model.sizes["context_dim"])
        memories = [self._memories[decision.battle_id] for decision in decisions]
        for row, (decision, memory) in enumerate(zip(decisions, memories, strict=True)):
            memory.observe(decision.state)
            state[row] = memory.observation["state"]
            actions[row] = memory.observation["actions"]
            legal[row, decision.legal_actions] = True
            h[row] = memory.before
        with torch.inference_mode():
            log_probs, q, h = model.step(
                torch.from_numpy(state), torch.from_numpy(actions), torch.from_numpy(legal), h
            )
            if self._beta:
                log_probs = improved_policy(log_probs, q[..., self._critic], self._beta)
        for memory, after in zip(memories, h, strict=False):
            memory.after = after
        return log_probs.numpy()

    def _choose(self, decision: Decision, log_probs: NDArray[np.float32]) -> int:
        legal = decision.legal_actions
        if self._epsilon and decision.rng.random() < self._epsilon:
            return decision.rng.choice(legal)
        scores = log_probs[legal].astype(np.float64)
        if self._temperature == 0:
            return legal[int(scores.argmax())]
        weights = np.exp((scores - scores.max()) / self._temperature)
        return decision.rng.choices(legal, weights.tolist())[0]
