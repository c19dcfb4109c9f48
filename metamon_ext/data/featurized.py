"""Recorded trajectories as the rows of a featurizer, one after the other, from files or caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import UNRATED, Featurizer
from metamon_ext.data.cache.filter import split_name
from metamon_ext.data.cache.source import open_cache
from metamon_ext.data.split import Split, battle_id, draw_battles
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError


@dataclass(frozen=True)
class FeaturizedTrajectory:
    """A trajectory, as rows.

    Attributes:
        battle_id: the same for both points of view of a battle.
        battle_format: like gen1ou.
        rating: None: unrated.
        won: None if the battle was cut off.
        rows: those of the featurizer.
    """

    battle_id: str
    battle_format: str
    rating: int | None
    won: bool | None
    rows: NDArray[np.void]


class Featurized:
    """The trajectories of one side of a dataset. They are read again in every iteration.

    Args:
        featurizer: what the rows are for.
        data_dir: a folder of trajectories.
        cached: caches in the place of `data_dir`, each with a filter after a question mark if
            wanted. A battle that was cut off counts as lost there, if the cache kept it.
        split: the side.
        max_battles: use at most so many battles, drawn with `seed`. None: all of them.

    Attributes:
        notes: sentences on skipped files.

    Raises UserError if there are no trajectories, or if a cache does not fit the featurizer.
    Iterating raises TrajectoryError for a damaged file: filter first.
    """

    def __init__(
        self,
        featurizer: Featurizer,
        data_dir: Path | None = None,
        cached: Sequence[str] = (),
        split: Split | None = None,
        max_battles: int | None = None,
        seed: int = 0,
    ) -> None:
        if (data_dir is None) == (not cached):
            raise UserError("Pass either --data_dir or --cached.")
        split = split or Split()
        self._featurizer = featurizer
        self._caches = []
        self._files: list[Path] = []
        self.notes: list[str] = []
        if data_dir is not None:
            found = trajectory_files(data_dir)
            self._files = [path for path in found if split.keeps(path.name)]
            self.notes = found.notes
        for name in cached:
            folder, wanted = split_name(name)
            cache = open_cache(folder, featurizer)
            chosen = set(wanted.select(cache).tolist())
            ids = {
                i: battle_id(file)
                for i, file in enumerate(cache.names())
                if i in chosen and split.keeps(file)
            }
            self._caches.append((cache, ids))
        battles = {battle_id(path.name) for path in self._files}
        battles.update(*(ids.values() for _, ids in self._caches))
        if not battles:
            where = data_dir or ", ".join(cached)
            side, fix = "", ""
            if split.split != "all":
                side = f" on the {split.split} side of the split"
                fix = f" Use another test_fraction than {split.test_fraction:g}."
            raise UserError(f"{where}: no trajectories (*.json.lz4){side}.{fix}")
        if max_battles is not None:
            battles = draw_battles(battles, max_battles, seed)
        self._battles = battles

    def __len__(self) -> int:
        """The number of trajectories."""
        files = sum(battle_id(path.name) in self._battles for path in self._files)
        return files + sum(one in self._battles for _, ids in self._caches for one in ids.values())

    def __iter__(self) -> Iterator[FeaturizedTrajectory]:
        for path in self._files:
            if battle_id(path.name) not in self._battles:
                continue
            trajectory = read_trajectory(path)
            rows = self._featurizer.rows(path, trajectory)
            name, last = trajectory.name, trajectory.states[-1]
            won = bool(last["battle_won"]) if last["battle_won"] or last["battle_lost"] else None
            battle_format = str(last["format"])
            yield FeaturizedTrajectory(name.battle_id, battle_format, name.rating, won, rows)
        for cache, ids in self._caches:
            formats = cache.header.formats
            for i, battle in ids.items():
                if battle in self._battles:
                    record = cache.index[i]
                    rating = None if record["rating"] == UNRATED else int(record["rating"])
                    battle_format = formats[record["format"]]
                    won = bool(record["won"])
                    yield FeaturizedTrajectory(battle, battle_format, rating, won, cache[i])
