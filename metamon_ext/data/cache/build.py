"""Build a cache, or add the new files of its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import Featurizer, Header
from metamon_ext.data.cache.files import ARCHIVE, Stamp, read_text, stamp_of
from metamon_ext.data.cache.source import check_changed, check_removed, path_digests, scan
from metamon_ext.data.cache.writer import CacheWriter
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.replays.readers import Record
from metamon_ext.data.trajectory import TrajectoryError, from_json, parse_json
from metamon_ext.data.validation import ValidationResult, validate_trajectory
from metamon_ext.errors import UserError
from metamon_ext.terminal import track

CHUNK = 16


@dataclass(frozen=True)
class BuildReport:
    """The content of a cache after a build.

    Attributes:
        added: The new trajectories among all `trajectories`.
        set_aside: Reason -> number of rejected files.
        bytes: The size on disk.
        notes: Sentences on skipped files.
    """

    trajectories: int
    rows: int
    added: int
    set_aside: dict[str, int]
    bytes: int
    notes: list[str]


def build(
    source: Path,
    folder: Path,
    featurizer: Featurizer,
    workers: int = 1,
    keep_cut_off: bool = False,
    show_progress: bool = False,
) -> BuildReport:
    """Build a cache of all trajectories below `source`, or add the new ones.

    Every file is validated as in an audit, and an invalid one is set aside with its reason. A
    killed build is resumed, and results in the same bytes as an uninterrupted one. Only folders
    that have changed are listed again.

    Args:
        keep_cut_off: Keep battles that were cut off by a turn limit.

    Raises:
        UserError: The source cannot be read, the cache does not match it, or another process is
            building the cache.
        RunStopped: A worker died, or the disk is full.
    """
    source = source.resolve()
    if not source.is_dir():
        hint = " Pass the folder of the archive." if source.suffix == ARCHIVE else ""
        raise UserError(f"{source} is not a folder of trajectories.{hint}")
    if folder.resolve().is_relative_to(source):
        raise UserError(f"{folder} is in its own source {source}. Choose a folder outside of it.")
    with CacheWriter(folder, Header.empty(source, keep_cut_off, featurizer)) as writer:
        cache = writer.cache
        found = scan(source, cache.header.folders, folder)
        check_removed(cache, found)
        listed = [i for i, name in enumerate(cache.header.folders) if name in found.listed]
        perhaps = np.flatnonzero(np.isin(cache.index["folder"], listed)).tolist()
        check_changed(cache, perhaps)
        known = np.isin(path_digests(found.names), cache.index["path"])
        unknown = [found.names[i] for i in np.flatnonzero(~known).tolist()]
        # The stamp is taken before the file is read, so that a later change is noticed.
        stamped = ((name, found.members.get(name) or stamp_of(source / name)) for name in unknown)
        new = [one for one in stamped if not writer.is_set_aside(*one)]
        job = (source, featurizer, keep_cut_off)
        converted = map_in_order(_convert, new, workers, CHUNK, _begin, job)
        for one in track(converted, "caching", len(new), show_progress):
            writer.add(one.name, one.stamp, one.result, one.rows)
        writer.header.folders.update(found.stamps)
        writer.commit()
        header = writer.header
        return BuildReport(
            header.trajectories,
            header.rows,
            header.trajectories - len(cache),
            writer.reasons(),
            sum(path.stat().st_size for path in folder.iterdir()),
            found.notes,
        )


@dataclass(frozen=True)
class _Converted:
    """The rows of a file, or the reason to set it aside."""

    name: str
    stamp: Stamp
    result: ValidationResult
    rows: NDArray[np.void] | None = None


_job: tuple[Path, Featurizer, bool]
"""The arguments of `build` in a worker process."""


def _begin(source: Path, featurizer: Featurizer, keep_cut_off: bool) -> None:
    global _job
    _job = source, featurizer, keep_cut_off


def _convert(file: tuple[str, Stamp]) -> _Converted:
    source, featurizer, keep_cut_off = _job
    name, stamp = file
    path = source / name
    try:
        data = read_text(source, name, stamp)
        trajectory = from_json(path, parse_json(path, data))
        result = validate_trajectory(Record(path, path), data, trajectory)
        if result.reason == "cut_off" and keep_cut_off:
            result = replace(result, reason=None, detail="")
        if result.reason is None:
            return _Converted(name, stamp, result, featurizer.rows(path, trajectory))
    except TrajectoryError as error:
        result = ValidationResult(path, error.reason, error.detail)
    return _Converted(name, stamp, result)
