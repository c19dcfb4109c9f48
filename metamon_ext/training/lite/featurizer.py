"""Trajectories as rows of numbers, in memory or in a cache, and rows as the learner's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamon_ext.data.cache.arrays import Header
from metamon_ext.data.trajectory import Trajectory, TrajectoryError, read_trajectory
from metamon_ext.errors import UserError
from metamon_ext.spaces.actions import NUM_ACTIONS, maybe_legal_actions
from metamon_ext.spaces.registry import (
    ObservationSpace,
    Reward,
    make_observation_space,
    make_reward,
)
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.training.lite.config import OBS_SPACE, REWARD_FUNCTION, read_gin_config

FEATURIZER = "lite"


@dataclass
class Decisions:
    """N decisions, battle after battle; or slices of them, with (B, L) in the place of (N,).

    Attributes:
        state: (N, state_dim).
        actions: (N, A, action_dim), the first A of the 13 actions.
        legal: (N, A), bool.
        action: (N,), int64, the action taken; -1 where it is missing.
        reward: (N,), what followed.
        start, done: (N,), bool, true for a battle's first and last decision.
    """

    state: Tensor
    actions: Tensor
    legal: Tensor
    action: Tensor
    reward: Tensor
    start: Tensor
    done: Tensor

    @classmethod
    def of_rows(cls, rows: NDArray[np.void], num_actions: int = NUM_ACTIONS) -> Decisions:
        """The tensors of rows of any shape, with the first `num_actions` actions."""
        legal = np.unpackbits(rows["legal"], axis=-1, count=num_actions).view(bool)
        actions = rows["actions"][..., :num_actions, :]
        return cls(
            # torch converts half precision several times as fast as numpy
            state=torch.from_numpy(rows["state"].copy()).float(),
            actions=torch.from_numpy(actions.copy()).float(),
            legal=torch.from_numpy(legal),
            action=torch.from_numpy(rows["action"].astype(np.int64)),
            **{name: torch.from_numpy(rows[name].copy()) for name in ("reward", "start", "done")},
        )


class LiteFeaturizer:
    """Makes a row for each decision of a trajectory: half-precision numbers, legal actions in bits.

    Args:
        reward: the reward function; `WinLossReward` by default.
        obs_space: the registered name of the observation space.
    """

    def __init__(self, reward: Reward | None = None, obs_space: str = OBS_SPACE) -> None:
        self.reward = reward or make_reward(REWARD_FUNCTION)
        self.space: ObservationSpace = make_observation_space(obs_space)
        self.row = np.dtype(
            [
                ("state", "<f2", (self.space.state_dim,)),
                ("actions", "<f2", (NUM_ACTIONS, self.space.action_dim)),
                ("legal", "u1", (2,)),
                ("action", "i1"),
                ("reward", "<f4"),
                ("start", "?"),
                ("done", "?"),
            ]
        )
        self.definition = {
            "featurizer": FEATURIZER,
            "obs_space": obs_space,
            "reward_function": type(self.reward).__name__,
            "features": list(getattr(self.space, "features", ())),
            "reward": _settings(self.reward),
        }

    @classmethod
    def named(
        cls,
        obs_space: str,
        reward_function: str,
        tokenizer: str | None = None,
        action_space: str | None = None,
        gin_file: str | None = None,
    ) -> LiteFeaturizer:
        """By names, with what a gin file binds to the reward. Raises UserError for other names."""
        if tokenizer or action_space:
            raise UserError(f"{obs_space} takes neither --tokenizer nor --action_space.")
        if gin_file is not None:
            read_gin_config(gin_file)
        featurizer = cls(make_reward(reward_function), obs_space)
        featurizer.definition["reward_function"] = reward_function
        return featurizer

    @classmethod
    def of_cache(cls, folder: Path) -> LiteFeaturizer:
        """By the names and settings in a cache's header."""
        definition = Header.read(folder).definition
        if definition.get("featurizer") != FEATURIZER:
            raise UserError(f"{folder} was built for Metamon. Use it with metamon-ext finetune.")
        featurizer = cls.named(definition["obs_space"], definition["reward_function"])
        plain = {k: v for k, v in definition["reward"].items() if not isinstance(v, dict)}
        vars(featurizer.reward).update(plain)
        featurizer.definition["reward"] = definition["reward"]
        return featurizer

    def rows(self, path: Path, trajectory: Trajectory) -> NDArray[np.void]:
        """A row for each decision. Raises TrajectoryError where a state cannot be observed."""
        try:
            states = [UniversalState.from_dict(state) for state in trajectory.states]
        except (KeyError, TypeError, AttributeError) as error:
            detail = f"not a universal state ({error}). Run metamon-ext filter first."
            raise TrajectoryError(path, "unobservable", detail) from None
        rows = np.zeros(trajectory.decisions, self.row)
        legal = np.zeros((len(rows), NUM_ACTIONS), dtype=bool)
        rows["action"] = trajectory.actions[: len(rows)]
        self.space.reset()
        observations = [self.space(state) for state in states[: len(rows)]]
        for column in ("state", "actions"):
            rows[column] = np.array([one[column] for one in observations], dtype=np.float16)
        for may, state, action in zip(legal, states, trajectory.actions, strict=False):
            may[maybe_legal_actions(state)] = True
            if action >= 0:
                may[action] = True  # the game took it, whatever the state says
        rows["legal"] = np.packbits(legal, axis=-1)
        rows["reward"] = [self.reward(*pair) for pair in pairwise(states)]
        rows["start"][:1] = True
        rows["done"][-1:] = True
        return rows

    @staticmethod
    def restore(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """The columns of the rows of a trajectory, with a bool for each legal action."""
        arrays = {name: np.array(rows[name]) for name in rows.dtype.names or ()}
        arrays["legal"] = np.unpackbits(rows["legal"], axis=-1, count=NUM_ACTIONS).view(bool)
        return arrays

    def reference(self, path: Path) -> dict[str, NDArray[Any]]:
        """The same arrays, read from the file."""
        return LiteFeaturizer.restore(self.rows(path, read_trajectory(path)))


def _settings(thing: object) -> dict[str, Any]:
    """The attributes of an object, and those of objects that it holds, as JSON takes them."""
    plain = (bool, int, float, str, type(None))
    attributes = getattr(thing, "__dict__", {})
    return {k: v if isinstance(v, plain) else _settings(v) for k, v in attributes.items()}
