"""The built-in learner's arrays as the rows of a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamon_ext.data.cache.arrays import Cache, Header
from metamon_ext.data.cache.filter import split_name
from metamon_ext.data.cache.source import open_cache
from metamon_ext.data.trajectory import Trajectory, TrajectoryError, read_trajectory
from metamon_ext.errors import UserError
from metamon_ext.spaces.actions import NUM_ACTIONS
from metamon_ext.spaces.observations import (
    MOVE_FEATURES,
    STATE_FEATURES,
    SWITCH_FEATURES,
    MatchupObservationSpace,
)
from metamon_ext.spaces.reward_functions import Reward, make_reward
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.training.lite.config import read_gin_config
from metamon_ext.training.lite.dataset import Decisions, battle_arrays, random_slices

FEATURIZER = "lite"
OBSERVATION_SPACE = "MatchupObservationSpace"
COLUMNS = fields(Decisions)


class LiteFeaturizer:
    """Rows that are the decisions of `load_decisions`, one each; legal actions in bits."""

    row = np.dtype(
        [
            ("state", "<f2", (MatchupObservationSpace.state_dim,)),
            ("actions", "<f2", (NUM_ACTIONS, MatchupObservationSpace.action_dim)),
            ("legal", "u1", (2,)),
            ("action", "i1"),
            ("reward", "<f4"),
            ("start", "?"),
            ("done", "?"),
        ]
    )

    def __init__(self, reward: Reward | None = None) -> None:
        self.reward = reward or WinLossReward()
        self.definition = {
            "featurizer": FEATURIZER,
            "obs_space": OBSERVATION_SPACE,
            "reward_function": type(self.reward).__name__,
            "features": [*STATE_FEATURES, *MOVE_FEATURES, *SWITCH_FEATURES],
            "reward": dict(vars(self.reward)),
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
        if obs_space != OBSERVATION_SPACE or tokenizer or action_space:
            raise UserError(f"without Metamon there is {OBSERVATION_SPACE}, and nothing to choose")
        if gin_file is not None:
            read_gin_config(gin_file)
        return cls(make_reward(reward_function))

    @classmethod
    def of_cache(cls, folder: Path) -> LiteFeaturizer:
        """By the names in a cache's header."""
        definition = Header.read(folder).definition
        featurizer = cls.named(definition["obs_space"], definition["reward_function"])
        vars(featurizer.reward).update(definition["reward"])
        return cls(featurizer.reward)

    def rows(self, path: Path, trajectory: Trajectory) -> NDArray[np.void]:
        """A row a decision. Raises TrajectoryError where a state is none."""
        try:
            columns = battle_arrays(path, trajectory, self.reward)
        except UserError as error:
            raise TrajectoryError(path, "unobservable", str(error)) from None
        rows = np.zeros(trajectory.decisions, self.row)
        for field, values in zip(COLUMNS, columns, strict=True):
            rows[field.name] = np.packbits(values == 1, -1) if field.name == "legal" else values
        return rows

    @staticmethod
    def restore(rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        arrays = {field.name: np.array(rows[field.name]) for field in COLUMNS}
        arrays["legal"] = np.unpackbits(rows["legal"], axis=-1, count=NUM_ACTIONS).view(bool)
        arrays["action"] = rows["action"].astype(np.int64)
        return arrays

    def reference(self, path: Path) -> dict[str, NDArray[Any]]:
        """What `load_decisions` reads of a file."""
        columns = battle_arrays(path, read_trajectory(path), self.reward)
        return {field.name: np.asarray(one) for field, one in zip(COLUMNS, columns, strict=True)}


class CachedDecisions:
    """What `load_decisions` gives, with all but rewards and ends left on the disk.

    `reward`, `start` and `done` are tensors of all N decisions, cache after cache. One cache
    without a filter gives the batches of the files that it was built from.

    Args:
        caches: folders, each with a filter behind a question mark if wanted: see `CacheFilter`.
        weights: how often each is drawn from; by its decisions where None.
        reward: the learner's, which must be that of the caches.

    Raises UserError for a cache that does not fit the learner or its source, and for weights that
    do not fit the caches.
    """

    def __init__(
        self, caches: Sequence[str], weights: Sequence[float] | None, reward: Reward
    ) -> None:
        featurizer = LiteFeaturizer(reward)
        self._parts = [_Part.open(name, featurizer) for name in caches]
        sizes = [len(part) for part in self._parts]
        self._weights = torch.tensor(sizes if weights is None else weights, dtype=torch.float64)
        fit = (self._weights >= 0).all() and 0 < self._weights.sum() < float("inf")
        if len(self._weights) != len(sizes) or not fit:
            raise UserError(f"{len(sizes)} caches and weights {weights}: one each, not negative")
        self._sizes = torch.tensor(sizes)
        self._ends = self._sizes.cumsum(0)
        legal = np.zeros(2, np.uint8)
        for part in self._parts:
            legal |= np.bitwise_or.reduce(part.all("legal"), axis=0)
        self._used = int(np.flatnonzero(np.unpackbits(legal, count=NUM_ACTIONS)).max()) + 1
        for name in ("reward", "start", "done"):
            column = np.concatenate([part.all(name) for part in self._parts])
            setattr(self, name, torch.from_numpy(column))

    reward: Tensor
    start: Tensor
    done: Tensor

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: Tensor) -> Decisions:
        """The decisions of these indices, as float32."""
        flat = indices.flatten()
        owner = torch.searchsorted(self._ends, flat, right=True)
        rows = np.empty(len(flat), LiteFeaturizer.row)
        for number, part in enumerate(self._parts):
            here = owner == number
            rows[here.numpy()] = part.rows((flat - self._ends[number] + len(part))[here].numpy())
        arrays = LiteFeaturizer.restore(rows)
        arrays["actions"] = arrays["actions"][:, : self._used]
        arrays["legal"] = arrays["legal"][:, : self._used]
        columns = [torch.from_numpy(np.ascontiguousarray(arrays[one.name])) for one in COLUMNS]
        columns = [one.unflatten(0, indices.shape) for one in columns]
        return Decisions(*(c.float() if c.dtype == torch.float16 else c for c in columns))

    def slices(self, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
        """Indices (batch_size, length), each row of one cache, from anywhere in it."""
        if len(self._parts) == 1:
            return random_slices(len(self), batch_size, length, generator)
        part = self._weights.multinomial(batch_size, replacement=True, generator=generator)
        size = self._sizes[part].unsqueeze(1)
        first = torch.rand(batch_size, 1, generator=generator, dtype=torch.float64) * size
        return self._ends[part].unsqueeze(1) - size + (first.long() + torch.arange(length)) % size


class _Part:
    """The decisions of some trajectories of a cache, in a row."""

    def __init__(self, cache: Cache, chosen: NDArray[np.int64]) -> None:
        self._cache = cache
        self._starts = cache.starts[chosen]
        self._before = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(cache.index["rows"][chosen], out=self._before[1:])

    @classmethod
    def open(cls, name: str, featurizer: LiteFeaturizer) -> _Part:
        folder, wanted = split_name(name)
        cache = open_cache(folder, featurizer)
        return cls(cache, wanted.select(cache))

    def __len__(self) -> int:
        return int(self._before[-1])

    def rows(self, decisions: NDArray[np.int64]) -> NDArray[np.void]:
        return self._cache.rows[self._places(decisions)]

    def all(self, field: str) -> NDArray[Any]:
        """One field of all decisions."""
        return self._cache.rows[field][self._places(np.arange(len(self)))]

    def _places(self, decisions: NDArray[np.int64]) -> NDArray[np.int64]:
        battle = np.searchsorted(self._before, decisions, side="right") - 1
        return self._starts[battle] + decisions - self._before[battle]
