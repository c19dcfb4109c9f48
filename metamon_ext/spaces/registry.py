"""Rewards and observation spaces by name, for both learners.

Other packages add theirs with `register_reward` and `register_observation_space`, or as entry
points of the groups `metamon_ext.rewards` and `metamon_ext.observation_spaces`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metamon_ext.registry import Registry
from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.spaces.universal import UniversalState

Reward = Callable[[UniversalState, UniversalState], float]
"""r(s, s') of two consecutive states of a battle."""


class ObservationSpace(Protocol):
    """Numbers for each state of a battle, and for each of its 13 actions.

    Attributes:
        state_dim: numbers of a state.
        action_dim: numbers of an action.
    """

    state_dim: int
    action_dim: int

    def reset(self) -> None:
        """Forget the battle."""

    def __call__(self, state: UniversalState) -> dict[str, NDArray[np.float32]]:
        """Observe the next state of the battle.

        Returns:
            {"state": (state_dim,), "actions": (13, action_dim)}
        """


REWARDS: Registry[Callable[[], Reward]] = Registry("reward function", "metamon_ext.rewards")
OBSERVATION_SPACES: Registry[Callable[[], ObservationSpace]] = Registry(
    "observation space of the built-in learner", "metamon_ext.observation_spaces"
)
for reward in (WinLossReward, PotentialShapedReward, MarginReward):
    REWARDS.register(reward.__name__, reward)
OBSERVATION_SPACES.register(MatchupObservationSpace.__name__, MatchupObservationSpace)


def register_reward(name: str, reward: Callable[[], Reward]) -> None:
    """Give a reward function a name, for `--reward_function` and the configs of both learners.

    Args:
        name: not one of Metamon's.
        reward: a class that is built without arguments; gin may bind them.
    """
    REWARDS.register(name, reward)


def register_observation_space(name: str, space: Callable[[], ObservationSpace]) -> None:
    """Give an observation space a name, for `--obs_space` and the configs of both learners.

    Args:
        name: not one of Metamon's.
        space: a class that is built without arguments; gin may bind them.
    """
    OBSERVATION_SPACES.register(name, space)


def make_reward(name: str) -> Reward:
    """The reward function of this name, as the current gin settings configure it.

    Raises UserError for an unknown name.
    """
    return REWARDS.find(name)()


def make_observation_space(name: str) -> ObservationSpace:
    """The observation space of this name. Raises UserError for an unknown name."""
    return OBSERVATION_SPACES.find(name)()
