"""Metamon's side of `metamon-ext benchmark data`."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from amago.loading import RLData_pad_collate, RLDataset
from metamon.data import MetamonDataset
from metamon.rl.metamon_to_amago import MetamonAMAGODataset

from metamon_ext.data.cache.comparison import Comparison
from metamon_ext.upstream.cached_dataset import CachedDataset
from metamon_ext.upstream.featurizer import MetamonFeaturizer

LENGTH, BATCH = 128, 16
"""Of slices, in steps, and of batches, in slices."""


def comparison(folder: Path) -> Comparison:
    """Sampling from a cache against Metamon's data set on the same files."""
    torch.set_num_threads(1)
    ours = CachedDataset(str(folder))
    theirs = metamons(ours.featurizer, [ours.cache.path(i) for i in range(len(ours.cache))])
    for dataset in (ours, theirs):
        dataset.configure(1, max_seq_len=LENGTH, padded_sampling="none", has_edit_rights=False)
    reading = theirs.parsed_replay_dset
    slices = [ours[0] for _ in range(BATCH)]

    def batch(dataset: RLDataset) -> int:
        return len(RLData_pad_collate([dataset[i] for i in range(BATCH)]).rews)

    return Comparison(
        theirs="metamon",
        trajectory=lambda: len(ours.sample_random_trajectory()),
        their_trajectory=lambda: len(reading.random_sample()[2]),
        batch=lambda: batch(ours),
        their_batch=lambda: batch(theirs),
        read=lambda path: theirs._process_data(reading.load_filename(str(path))),
        parts={
            "rows of a trajectory": lambda: np.array(ours.cache[random.choice(ours.chosen)]),
            "trajectory as tensors": ours.sample_random_trajectory,
            f"collating {BATCH} slices": lambda: RLData_pad_collate(slices),
        },
    )


def metamons(featurizer: MetamonFeaturizer, files: list[Path]) -> MetamonAMAGODataset:
    """Metamon's own data set of these files."""
    dataset = MetamonDataset("/", *featurizer.spaces, formats=[])
    dataset.filenames = [str(file) for file in files]
    return MetamonAMAGODataset(dataset)
