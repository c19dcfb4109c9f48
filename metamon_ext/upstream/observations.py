"""Metamon's observation spaces with our numbers in them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from metamon.interface import ExpandedObservationSpace, UniversalState

from metamon_ext.spaces.matchup_numbers import MATCHUP_NUMBERS, MatchupNumbers


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
