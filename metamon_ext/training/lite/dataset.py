"""Recorded decisions for training, in memory or memory-mapped, sampled as slices of battles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamon_ext.data.cache.arrays import Cache
from metamon_ext.data.cache.filter import on_side, split_name
from metamon_ext.data.cache.source import open_cache
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.split import Split
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.spaces.actions import NUM_ACTIONS
from metamon_ext.training.lite.config import TrainConfig
from metamon_ext.training.lite.featurizer import Decisions, LiteFeaturizer
from metamon_ext.walk import print_notes

ALL = Split()


class Dataset:
    """N decisions, battle after battle, of one or several sources.

    Actions that no battle offers at the end of the 13 are left out: 9 are left where nothing
    terastallizes.

    Args:
        sources: rows of `LiteFeaturizer`, in memory or of a cache.
        weights: how often each source is drawn from; by default as often as it has decisions.

    Attributes:
        reward, done: (N,), of all decisions.

    Raises UserError for weights that do not fit the sources.
    """

    def __init__(
        self,
        sources: Sequence[NDArray[np.void] | CacheRows],
        weights: Sequence[float] | None = None,
    ) -> None:
        self._sources = sources
        sizes = [len(source) for source in sources]
        self._weights = torch.tensor(sizes if weights is None else weights, dtype=torch.float64)
        fit = (self._weights >= 0).all() and 0 < self._weights.sum() < float("inf")
        if len(self._weights) != len(sizes) or not fit:
            raise UserError(f"{len(sizes)} caches and weights {weights}: one each, not negative")
        self._sizes = torch.tensor(sizes)
        self._ends = self._sizes.cumsum(0)
        legal = np.zeros(2, np.uint8)
        for source in sources:
            legal |= np.bitwise_or.reduce(source["legal"], axis=0)
        self._used = int(np.flatnonzero(np.unpackbits(legal, count=NUM_ACTIONS)).max()) + 1
        self.reward = torch.from_numpy(np.concatenate([source["reward"] for source in sources]))
        self.done = torch.from_numpy(np.concatenate([source["done"] for source in sources]))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, indices: Tensor) -> Decisions:
        """The decisions of these indices, of any shape."""
        if len(self._sources) == 1:
            return Decisions.of_rows(self._sources[0][indices.numpy()], self._used)
        owner = torch.searchsorted(self._ends, indices, right=True)
        rows = np.empty(indices.shape, self._sources[0].dtype)
        for number, source in enumerate(self._sources):
            here = owner == number
            first = self._ends[number] - len(source)
            rows[here.numpy()] = source[(indices[here] - first).numpy()]
        return Decisions.of_rows(rows, self._used)

    def slices(self, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
        """Indices (batch_size, length), each row consecutive decisions of one source.

        A slice may start anywhere. It continues into the next battle, and from a source's last
        battle into its first: nothing is padded, every decision of a source is drawn equally often.
        `start` and `done` mark where a battle ends and memory must be cleared.
        """
        if len(self._sources) == 1:
            first = torch.randint(len(self), (batch_size, 1), generator=generator)
            return (first + torch.arange(length)) % len(self)
        source = self._weights.multinomial(batch_size, replacement=True, generator=generator)
        size = self._sizes[source].unsqueeze(1)
        first = torch.rand(batch_size, 1, generator=generator, dtype=torch.float64) * size
        return self._ends[source].unsqueeze(1) - size + (first.long() + torch.arange(length)) % size


class CacheRows:
    """The rows of some trajectories of a cache, indexed as if they were one array."""

    def __init__(self, cache: Cache, chosen: NDArray[np.int64]) -> None:
        self._cache = cache
        self._starts = cache.starts[chosen]
        self._before = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(cache.index["rows"][chosen], out=self._before[1:])
        self.dtype = cache.rows.dtype

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """The rows of integer indices, or a column of all rows by its name."""
        if isinstance(key, str):
            return self._cache.rows[key][self._rows(np.arange(len(self)))]
        return self._cache.rows[self._rows(key)]

    def _rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        battle = np.searchsorted(self._before, indices, side="right") - 1
        return self._starts[battle] + indices - self._before[battle]


def load_data(config: TrainConfig, featurizer: LiteFeaturizer, split: Split) -> Dataset:
    """One side of a run's data. Raises UserError as `load_caches` and `load_folder`."""
    if config.cached:
        return load_caches(config.cached, config.cached_weights, featurizer, split)
    if config.data_dir is None:
        raise UserError("No data to train on. Name a --data_dir or --cached.")
    return load_folder(config.data_dir, featurizer, split, config.workers)


def load_folder(
    root: Path, featurizer: LiteFeaturizer | None = None, split: Split = ALL, workers: int = 1
) -> Dataset:
    """Read every trajectory below a folder, or those on one side of a split, on some processes.

    Raises UserError if there are none, or if one is damaged: filter before training.
    """
    found = trajectory_files(root)
    files = [path for path in found if split.keeps(path.name)]
    print_notes(found.notes)
    if not files:
        raise UserError(
            f"{root}: no trajectories (*.json.lz4). Record some with "
            "metamon-ext play --save_trajectories_to."
        )
    featurizer = featurizer or LiteFeaturizer()
    rows = map_in_order(partial(_rows, featurizer), files, workers)
    return Dataset([np.concatenate(list(rows))])


def _rows(featurizer: LiteFeaturizer, path: Path) -> NDArray[np.void]:
    return featurizer.rows(path, read_trajectory(path))


def load_caches(
    names: Sequence[str],
    weights: Sequence[float] | None,
    featurizer: LiteFeaturizer,
    split: Split = ALL,
) -> Dataset:
    """Map caches into memory. One cache without a filter gives the batches of its folder.

    Args:
        names: folders of caches, each with a filter after a question mark if wanted: see
            `CacheFilter`.
        weights: how often each is drawn from; by default as often as it has decisions.
        featurizer: the learner's, which must be that of the caches.
        split: the side of the caches that is taken.

    Raises UserError for a cache that does not fit the featurizer or its source.
    """
    sources = []
    for name in names:
        folder, wanted = split_name(name)
        cache = open_cache(folder, featurizer)
        chosen = wanted.select(cache)
        if split != ALL:
            chosen = chosen[on_side(cache, split)[chosen]]
        if not len(chosen):
            raise UserError(f"{name}: no trajectories on the {split.split} side of the split.")
        sources.append(CacheRows(cache, chosen))
    return Dataset(sources, weights)
