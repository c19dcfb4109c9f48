"""The side of the built-in learner in `metamon-ext benchmark data`."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from metamon_ext.data.cache.arrays import Cache
from metamon_ext.data.cache.comparison import Comparison
from metamon_ext.training.lite.dataset import load_caches
from metamon_ext.training.lite.featurizer import LiteFeaturizer

LENGTH, BATCH = 128, 16
"""Of slices, in steps, and of batches, in slices."""


def comparison(folder: Path) -> Comparison:
    """Sampling from a cache against reading the files with the learner's plain loader."""
    torch.set_num_threads(1)
    cache, featurizer = Cache(folder), LiteFeaturizer.of_cache(folder)
    data = load_caches([str(folder)], None, featurizer)
    generator = torch.Generator().manual_seed(0)

    def trajectory() -> int:
        return len(featurizer.restore(cache[random.randrange(len(cache))])["action"])

    def their_trajectory() -> int:
        return len(featurizer.reference(cache.path(random.randrange(len(cache))))["action"])

    def batch() -> int:
        return len(data.take(data.slices(BATCH, LENGTH, generator)).action)

    def their_batch() -> int:
        for _ in range(BATCH):  # as many files read as slices are wanted, and cut
            arrays = featurizer.reference(cache.path(random.randrange(len(cache))))
            [torch.from_numpy(array[:LENGTH]) for array in arrays.values()]
        return BATCH

    return Comparison(
        theirs="plain_loader",
        trajectory=trajectory,
        their_trajectory=their_trajectory,
        batch=batch,
        their_batch=their_batch,
        read=featurizer.reference,
        parts={
            "rows of a trajectory": lambda: np.array(cache[random.randrange(len(cache))]),
            f"batch of {BATCH} slices": batch,
        },
    )
