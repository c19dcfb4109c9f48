"""Does a cache still fit the files that it was built from, and which files are new?"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import Cache, Featurizer
from metamon_ext.data.cache.files import (
    ARCHIVE,
    Stamp,
    archive_of,
    as_file,
    in_archive,
    read_text,
    stamp_of,
)
from metamon_ext.data.replays.sources import archive_members
from metamon_ext.data.trajectory import TrajectoryError, is_trajectory_file
from metamon_ext.errors import UserError
from metamon_ext.walk import Identity, Reached, folders_around, status_behind

Arrays = dict[str, NDArray[Any]]

TICK = 2_000_000_000
"""ns. A folder that changed so short a time ago may change again without a new time stamp: the
coarsest file systems count in two seconds."""
LOOKED_AT = 1000
COMPARED = 3
"""How many of its files are looked at, and how many compared with the loader that knows no cache,
when a cache is opened."""


def open_cache(folder: Path, featurizer: Featurizer) -> Cache:
    """Open a cache for somebody who wants the rows of `featurizer`.

    Refused are another definition; a source with files gone; and, of up to LOOKED_AT files, any
    that has changed; and of COMPARED of them, any that the loader that knows no cache reads
    otherwise today. A source folder is listed only if it has changed. Files that the cache does
    not have yet are no fault.

    Raises UserError, naming what does not fit.
    """
    cache = Cache(folder)
    cache.header.refuse(folder, featurizer.definition, featurizer.row)
    source = Path(cache.header.source)
    refuse_vanished(cache, scan(source, cache.header.folders))
    if not len(cache):
        raise UserError(f"{folder}: an empty cache")
    start = np.random.default_rng().integers(len(cache))  # another sample at every start
    sample = np.linspace(start, start + len(cache), min(LOOKED_AT, len(cache)), endpoint=False)
    some = np.unique(sample.astype(np.int64) % len(cache)).tolist()
    refuse_changed(cache, some)
    for i in some[:: max(1, len(some) // COMPARED)][:COMPARED]:
        trouble = difference(*with_reference(cache, i, featurizer))
        if trouble:
            raise UserError(
                f"{folder}: {cache.name(i)} gives other arrays today than it holds ({trouble}); "
                "delete the cache and build it again"
            )
    return cache


@dataclass(frozen=True)
class Scan:
    """What was found below a source.

    `stamps` are the time stamps of all folders and archives (0: too fresh to rely on), `names` the
    files in those that were `listed`, ascending, `members` the stamps of those in archives.
    `notes` are sentences on what was left out.
    """

    stamps: dict[str, int]
    listed: frozenset[str]
    names: list[str]
    members: dict[str, Stamp]
    notes: list[str]


def scan(source: Path, known: Mapping[str, int], separate: Path | None = None) -> Scan:
    """List the folders and archives below a source whose time stamps are not the known ones.

    Paths are relative to the source, with "" for itself. Links are followed, and nothing is listed
    twice: a link that is known goes before one that is not. Raises UserError for what cannot be
    read, and where a link leads to `separate`.
    """
    return _Scanner(source, known, Reached(separate)).scan()


class _Scanner:
    def __init__(self, source: Path, known: Mapping[str, int], reached: Reached) -> None:
        self.source = source
        self.known = known
        self.reached = reached
        self.stamps: dict[str, int] = {}
        self.listed: set[str] = set()
        self.names: list[str] = []
        self.members: dict[str, Stamp] = {}
        self.links: list[str] = []
        """To folders and archives, which are looked at when all that is no link has been."""
        self.children: dict[str, list[str]] = {}
        for folder in known:
            if folder:
                parent = str(PurePosixPath(folder).parent)
                self.children.setdefault("" if parent == "." else parent, []).append(folder)

    def scan(self) -> Scan:
        self._below("")
        around = folders_around(self.source)
        while self.links:
            link = min(self.links, key=lambda name: (name not in self.known, name))
            self.links.remove(link)
            self._below(link, around)
        names = sorted([*self.names, *self.members])
        notes = self.reached.notes
        return Scan(self.stamps, frozenset(self.listed), names, self.members, notes)

    def _below(self, start: str, around: Collection[Identity] = ()) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                status = os.stat(self.source / folder)
                if self.reached.enter(folder, status, around if folder == start else ()):
                    waiting += self._look(folder, status)
            except OSError as error:
                raise UserError(
                    f"{self.source / folder}: {error.strerror}, and a cache needs it"
                ) from None

    def _look(self, folder: str, status: os.stat_result) -> list[str]:
        """Note what is in a folder or archive if it is new. Returns the folders to be looked at."""
        stamp = status.st_mtime_ns
        self.stamps[folder] = stamp if time.time_ns() - stamp > TICK else 0
        if stamp == self.known.get(folder):
            children = self.children.get(folder, [])
            links = [name for name in children if (self.source / name).is_symlink()]
            self.links += links
            return [name for name in children if name not in links]
        self.listed.add(folder)
        if stat.S_ISREG(status.st_mode):
            for member, *place in archive_members(self.source / folder):
                self.members[in_archive(folder, member)] = Stamp(*place)
            return []
        prefix = f"{folder}/" if folder else ""
        with os.scandir(self.source / folder) as entries:
            return [folder for entry in entries for folder in self._sort(entry, prefix)]

    def _sort(self, entry: os.DirEntry[str], prefix: str) -> list[str]:
        """Note a file or a link. Returns what else is to be looked at: a folder or an archive."""
        name, linked = prefix + entry.name, entry.is_symlink()
        status = status_behind(entry.path) if linked else None
        if linked and status is None:
            if not entry.name.startswith("."):
                self.names.append(name)  # nothing says what it led to
                self.stamps[prefix.rstrip("/")] = 0
            return []
        folder = stat.S_ISDIR(status.st_mode) if status else entry.is_dir(follow_symlinks=False)
        if folder or (is_trajectory_file(entry.name, (ARCHIVE,)) and entry.is_file()):
            if not linked:
                return [name]
            self.links.append(name)
        elif is_trajectory_file(entry.name):
            self.names.append(name)
        return []


def path_digest(name: str) -> int:
    """8 bytes of BLAKE2b of a path below the source."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def content_digest(data: bytes) -> int:
    """The first 8 bytes of a verdict's digest of a file's unpacked JSON."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest()[:8], "little")


def path_digests(names: Iterable[str]) -> np.ndarray:
    return np.fromiter(map(path_digest, names), dtype=np.uint64)


def refuse_vanished(cache: Cache, found: Scan) -> None:
    """Raise UserError where a file of the cache is no longer in a folder that was listed."""
    folders = list(cache.header.folders)
    looked = [
        i for i, name in enumerate(folders) if name in found.listed or name not in found.stamps
    ]
    if not looked:
        return
    here = np.flatnonzero(np.isin(cache.index["folder"], looked))
    gone = here[~np.isin(cache.index["path"][here], path_digests(found.names))]
    if len(gone):
        one = cache.name(int(gone[0]))
        raise UserError(
            f"{cache.folder}: {len(gone):,} of its files are gone, {one} for one; delete the "
            "cache and build it again"
        )


def refuse_changed(cache: Cache, trajectories: Iterable[int]) -> None:
    """Raise UserError for the first of these trajectories whose file is not what it was."""
    for i in trajectories:
        trouble = changed(cache, i)
        if trouble:
            raise UserError(f"{cache.folder}: {trouble}; delete the cache and build it again")


def changed(cache: Cache, i: int) -> str:
    """What is new about the file of a trajectory, in words; nothing where it holds the same text.

    A file whose stamp is what it was is believed, and so is all of an archive that has the time
    stamp that it had; any other is read.
    """
    source, name, before = Path(cache.header.source), cache.name(i), cache.stamp(i)
    archive = archive_of(name)
    if archive:
        same = 0 != stamp_of(source / archive).place == cache.header.folders.get(archive)
    else:
        same = stamp_of(source / name) == before
    try:
        if same or content_digest(read_text(source, name, before)) == cache.index["content"][i]:
            return ""
    except TrajectoryError as error:
        return f"{name} cannot be read any more ({error.detail})"
    return f"{name} has changed"


def with_reference(cache: Cache, i: int, featurizer: Featurizer) -> tuple[Arrays, Arrays]:
    """The arrays of a trajectory, and those that the loader gives which knows no cache."""
    with as_file(Path(cache.header.source), cache.name(i), cache.stamp(i)) as path:
        return featurizer.restore(cache[i]), featurizer.reference(path)


def difference(ours: Arrays, theirs: Arrays) -> str:
    """The first value in which arrays differ, in words; nothing where they are the same."""
    if ours.keys() != theirs.keys():
        return f"arrays {sorted(ours)} in the cache, {sorted(theirs)} from the loader"
    for name, array in ours.items():
        other = theirs[name]
        if (array.dtype, array.shape) != (other.dtype, other.shape):
            return (
                f"{name} is {array.dtype} {array.shape}, and {other.dtype} {other.shape} from "
                "the loader"
            )
        unequal = np.argwhere((array != other) & ~((array != array) & (other != other)))
        if len(unequal):
            place = tuple(unequal[0].tolist())
            return f"{name}{list(place)} is {array[place]}, and {other[place]} from the loader"
    return ""
