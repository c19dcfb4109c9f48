"""Our observation spaces as Metamon's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from metamon.interface import ExpandedObservationSpace, ObservationSpace, UniversalState

from metamon_ext.spaces.actions import NUM_ACTIONS
from metamon_ext.spaces.matchup_numbers import MATCHUP_NUMBERS, MatchupNumbers
from metamon_ext.spaces.registry import make_observation_space


class ExpandedMatchupObservationSpace(ExpandedObservationSpace):
    """`ExpandedObservationSpace` with MATCHUP_NUMBERS at the end of its numbers.

        {"numbers": float32 (55 + 10,), "text": 100 words}

    The text is Metamon's, word for word, so that its tokenizers know all of it.
    """

    def reset(self) -> None:
        """Forget the battle."""
        super().reset()
        self._matchup = MatchupNumbers()

    @property
    def gym_space(self) -> gym.spaces.Dict:
        """Metamon's space, with our numbers appended."""
        space = super().gym_space
        (size,) = space["numbers"].shape
        shape = (size + len(MATCHUP_NUMBERS),)
        space["numbers"] = gym.spaces.Box(low=-10.0, high=10.0, shape=shape, dtype=np.float32)
        return space

    def state_to_obs(self, state: UniversalState) -> dict[str, Any]:
        """Metamon's observation, with our numbers appended."""
        obs = super().state_to_obs(state)
        obs["numbers"] = np.concatenate([obs["numbers"], self._matchup(state)])
        return obs


class RegisteredObservationSpace(ObservationSpace):
    """An observation space of our registry, like `MatchupObservationSpace`.

        {"state": float32 (state_dim,), "actions": float32 (13, action_dim)}

    It has no text, so its encoder must be one without tokens, like AMAGO's `FFTstepEncoder`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.space = make_observation_space(name)

    def reset(self) -> None:
        """Forget the battle."""
        self.space.reset()

    @property
    def gym_space(self) -> gym.spaces.Dict:
        """The shapes of an observation's arrays."""
        shapes = {"state": (self.space.state_dim,), "actions": (NUM_ACTIONS, self.space.action_dim)}
        return gym.spaces.Dict(
            {
                key: gym.spaces.Box(low=-np.inf, high=np.inf, shape=shape, dtype=np.float32)
                for key, shape in shapes.items()
            }
        )

    def state_to_obs(self, state: UniversalState) -> dict[str, Any]:
        """The arrays of our space, by name."""
        return dict(self.space(state))
