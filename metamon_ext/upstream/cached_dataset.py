"""AMAGO's data set over a cache: the batches of Metamon's, without its reading."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gin
from amago.loading import MixtureOfDatasets, RLData, RLDataset
from metamon.interface import ActionSpace, RewardFunction, TokenizedObservationSpace

from metamon_ext.data.cache.filter import CacheFilter, split_name
from metamon_ext.data.cache.source import open_cache
from metamon_ext.errors import UserError
from metamon_ext.upstream.featurizer import MetamonFeaturizer


@gin.configurable(module="metamon_ext")
class CachedDataset(RLDataset):
    """Draws trajectories from a cache, each as often as any other, as `MetamonAMAGODataset` does.

    The same file comes as the same tensors, and with Python's `random` in the same state the same
    file is drawn, if Metamon's `filenames` are in the order of the cache. It may be sent to data
    loader workers, forked or spawned: each maps the files for itself.

    Args:
        cache: the cache's folder, and what is to be drawn of it after a question mark, as in
            "human.mmap?min_rating=1500&formats=gen1ou"; see `CacheFilter`.
        featurizer: what the learner expects. Without it, what the cache says of itself, by name.
        dset_name: for logs; the folder's name unless given.

    Raises UserError for a cache that does not fit the learner or its own source, and when nothing
    passes the filter.
    """

    def __init__(
        self,
        cache: str,
        featurizer: MetamonFeaturizer | None = None,
        dset_name: str | None = None,
    ) -> None:
        folder, wanted = split_name(cache)
        super().__init__(dset_name=dset_name or folder.name)
        self.featurizer = featurizer or MetamonFeaturizer.of_cache(folder)
        self.cache = open_cache(folder, self.featurizer)
        self.chosen = (
            wanted.select(self.cache) if wanted != CacheFilter() else range(len(self.cache))
        )

    @property
    def save_new_trajs_to(self) -> None:
        """None: a cache is not written to."""
        return None

    def get_description(self) -> str:
        """What the training log says of the dataset."""
        return f"{self.cache.folder}: {len(self.chosen):,} of {len(self.cache):,} trajectories"

    def on_end_of_collection(self, experiment: Any) -> dict[str, Any]:
        """The number of trajectories, for the training log."""
        return {"Num Replays": len(self.chosen)}

    def sample_random_trajectory(self) -> RLData:
        """Draw one of the chosen trajectories."""
        return self.trajectory(int(random.choice(self.chosen)))

    def trajectory(self, i: int) -> RLData:
        """Trajectory i of the cache, as a whole."""
        return self.featurizer.rl_data(self.cache[i])


def cached_dataset(
    caches: Sequence[str],
    weights: Sequence[float] | None,
    observation_space: TokenizedObservationSpace,
    action_space: ActionSpace,
    reward_function: RewardFunction,
) -> RLDataset:
    """One data set over caches (with their filters), drawn from by weights: equal ones, or those
    that are given, whatever they add up to.

    Raises UserError for weights that do not fit, and for whatever `CachedDataset` does.
    """
    weights = [1.0] * len(caches) if weights is None else weights
    if len(weights) != len(caches) or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise UserError(f"{len(caches)} caches and weights {list(weights)}: one each, not negative")
    featurizer = MetamonFeaturizer(observation_space, action_space, reward_function)
    names = [Path(cache).name for cache in caches]  # with the filter, which tells them apart
    datasets: list[RLDataset] = [
        CachedDataset(cache, featurizer, name) for cache, name in zip(caches, names, strict=True)
    ]
    if len(datasets) == 1:
        return datasets[0]
    return MixtureOfDatasets(datasets, [weight / sum(weights) for weight in weights])
