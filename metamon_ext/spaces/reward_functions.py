"""Our reward functions by name: what `--reward_function` takes, with either learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.spaces.universal import UniversalState

Reward = Callable[[UniversalState, UniversalState], float]

REWARD_FUNCTIONS: dict[str, type[Any]] = {
    each.__name__: each for each in (WinLossReward, PotentialShapedReward, MarginReward)
}


def make_reward(name: str) -> Reward:
    """The reward function of this name, as the gin settings that hold now configure it.

    Raises UserError for an unknown name.
    """
    if name in REWARD_FUNCTIONS:
        return REWARD_FUNCTIONS[name]()
    hint = did_you_mean(str(name), REWARD_FUNCTIONS)
    known = ", ".join(REWARD_FUNCTIONS)
    raise UserError(f"Unknown reward function {name!r}.{hint} Without Metamon there are {known}.")
