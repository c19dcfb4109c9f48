"""Building a cache, or adding to it what is new in its source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import Featurizer, Header
from metamon_ext.data.cache.files import ARCHIVE, Stamp, read_text, stamp_of
from metamon_ext.data.cache.source import path_digests, refuse_changed, refuse_vanished, scan
from metamon_ext.data.cache.writer import CacheWriter
from metamon_ext.data.judge import Verdict, judge_decoded
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.replays.sources import Record
from metamon_ext.data.trajectory import TrajectoryError, decode
from metamon_ext.errors import UserError
from metamon_ext.terminal import track

CHUNK = 16


@dataclass(frozen=True)
class BuildReport:
    """What is in a cache after a build.

    `added` of the trajectories were not in it before; `set_aside` counts, by reason, the files of
    the source that are not in it; `bytes` is its size on the disk; `notes` are sentences on
    what was left out.
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
    """Make a cache of all trajectories below `source`, or add those that it lacks.

    Every file is judged as by the audit, and a bad one is set aside with its reason;
    `keep_cut_off` takes battles that were cut off. A killed build is gone on with, and gives the
    same bytes as one that was not. Only folders that have changed are listed again.

    Raises UserError for a source that cannot be read, a cache that does not fit it, and one that
    another process is building, and when a worker dies;
    RunStopped when the disk is full.
    """
    source = source.resolve()
    if not source.is_dir():
        hint = ": give the folder that it is in" if source.suffix == ARCHIVE else ""
        raise UserError(f"{source}: no folder of trajectories{hint}")
    if folder.resolve().is_relative_to(source):
        raise UserError(f"{folder} lies in its own source: put it beside")
    with CacheWriter(folder, Header.empty(source, keep_cut_off, featurizer)) as writer:
        cache = writer.cache
        found = scan(source, cache.header.folders, folder)
        refuse_vanished(cache, found)
        listed = [i for i, name in enumerate(cache.header.folders) if name in found.listed]
        perhaps = np.flatnonzero(np.isin(cache.index["folder"], listed)).tolist()
        refuse_changed(cache, perhaps)
        known = np.isin(path_digests(found.names), cache.index["path"])
        unknown = [found.names[i] for i in np.flatnonzero(~known).tolist()]
        # A file is looked at before it is read: what changes meanwhile is found out later.
        stamped = ((name, found.members.get(name) or stamp_of(source / name)) for name in unknown)
        new = [one for one in stamped if not writer.is_set_aside(*one)]
        job = (source, featurizer, keep_cut_off)
        made = map_in_order(_make, new, workers, CHUNK, _begin, job)
        for one in track(made, "caching", len(new), show_progress):
            writer.add(one.name, one.stamp, one.verdict, one.rows)
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
class _Made:
    """A file as a worker gives it back; without rows where it is to be set aside."""

    name: str
    stamp: Stamp
    verdict: Verdict
    rows: NDArray[np.void] | None = None


_job: tuple[Path, Featurizer, bool]
"""Of a worker process: the source, how rows are made, and whether cut-off battles are kept."""


def _begin(source: Path, featurizer: Featurizer, keep_cut_off: bool) -> None:
    global _job
    _job = source, featurizer, keep_cut_off


def _make(file: tuple[str, Stamp]) -> _Made:
    source, featurizer, keep_cut_off = _job
    name, stamp = file
    path = source / name
    try:
        data = read_text(source, name, stamp)
        trajectory = decode(path, data)
        verdict = judge_decoded(Record(path, path), data, trajectory)
        if verdict.reason == "cut_off" and keep_cut_off:
            verdict = replace(verdict, reason=None, detail="")
        if verdict.reason is None:
            return _Made(name, stamp, verdict, featurizer.rows(path, trajectory))
    except TrajectoryError as error:
        verdict = Verdict(path, error.reason, error.detail)
    return _Made(name, stamp, verdict)
