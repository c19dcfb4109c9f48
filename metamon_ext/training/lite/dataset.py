"""Trajectory files as finished arrays in memory, sampled as slices."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamon_ext.data.trajectory import Trajectory, read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.spaces.actions import NUM_ACTIONS, maybe_legal_actions
from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.spaces.reward_functions import Reward
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.walk import print_notes


@dataclass
class Decisions:
    """N decisions, battle after battle, a row each; or slices of them, with (B, L) in front.

    state: (N, state_dim) and actions: (N, 13, action_dim), float16 to halve the memory.
    legal: (N, 13), bool. The last actions are left out where no battle ever offered them.
    action: (N,), int64, -1 where it is missing.
    reward: (N,), float32, for what followed.
    start, done: (N,), bool, true for a battle's first and last decision.
    """

    state: Tensor
    actions: Tensor
    legal: Tensor
    action: Tensor
    reward: Tensor
    start: Tensor
    done: Tensor

    def __len__(self) -> int:
        return len(self.action)

    def take(self, indices: Tensor) -> Decisions:
        """The decisions of these indices, as float32."""
        columns = (getattr(self, field.name)[indices] for field in fields(self))
        return Decisions(*(c.float() if c.dtype == torch.float16 else c for c in columns))

    def slices(self, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
        """Indices (batch_size, length) of decisions in a row, from anywhere."""
        return random_slices(len(self), batch_size, length, generator)


def random_slices(n: int, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
    """Indices (batch_size, length) below n, each row consecutive.

    A slice runs on into the next battle, and from the last battle into the first: nothing is
    padded, every decision is drawn equally often. `start` and `done` say where to forget.
    """
    first = torch.randint(n, (batch_size, 1), generator=generator)
    return (first + torch.arange(length)) % n


def load_decisions(root: Path, reward: Reward | None = None) -> Decisions:
    """Read every trajectory below `root`.

    Raises UserError where there are none, or one is damaged: filtering comes before training.
    """
    found = trajectory_files(root)
    files = list(found)
    print_notes(found.notes)
    if not files:
        fix = "`metamon-ext play --save_trajectories_to` writes some"
        raise UserError(f"{root}: no trajectories (*.json.lz4); {fix}")
    reward = reward or WinLossReward()
    battles = [battle_arrays(path, read_trajectory(path), reward) for path in files]
    columns = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*battles, strict=True)]
    decisions = Decisions(*columns)
    used = int(decisions.legal.any(0).nonzero().max()) + 1  # 9 where nothing terastallizes
    decisions.actions = decisions.actions[:, :used].contiguous()
    decisions.legal = decisions.legal[:, :used]
    return decisions


def battle_arrays(
    path: Path, trajectory: Trajectory, reward: Reward
) -> tuple[NDArray[np.generic], ...]:
    """The arrays of one file, in the order of the fields of `Decisions`."""
    try:
        states = [UniversalState.from_dict(state) for state in trajectory.states]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a universal state ({error}); `metamon-ext filter` first"
        ) from None
    n = trajectory.decisions
    space = MatchupObservationSpace()
    observations = [space(state) for state in states[:n]]
    action = np.array(trajectory.actions[:n], dtype=np.int64)
    legal = np.zeros((n, NUM_ACTIONS), dtype=bool)
    for row, state, taken in zip(legal, states, action, strict=False):
        row[maybe_legal_actions(state)] = True
        if taken >= 0:
            row[taken] = True  # whatever the state says, the game took it
    return (
        np.array([one["state"] for one in observations], dtype=np.float16),
        np.array([one["actions"] for one in observations], dtype=np.float16),
        legal,
        action,
        np.array([reward(*pair) for pair in pairwise(states)], np.float32),
        np.arange(n) == 0,
        np.arange(n) == n - 1,
    )
