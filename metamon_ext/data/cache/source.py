"""The source files of a cache: which are new, changed or removed."""

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
from metamon_ext.data.replays.archives import archive_members
from metamon_ext.data.trajectory import TrajectoryError, is_trajectory_file
from metamon_ext.data.validation import content_digest
from metamon_ext.errors import UserError
from metamon_ext.walk import Identity, Visited, parents_of, target_status

Arrays = dict[str, NDArray[Any]]

TICK = 2_000_000_000
"""The coarsest resolution of time stamps, in ns. A folder that changed more recently may change
again without a new time stamp."""
CHECKED, COMPARED = 1000, 3
"""How many files are checked for changes, and how many are read and compared, when a cache is
opened."""


def open_cache(folder: Path, featurizer: Featurizer) -> Cache:
    """Open a cache for a learner.

    Lists a source folder only if it has changed. New source files are no error.

    Raises:
        UserError: The cache was built with another featurizer, a source file was removed, one of
            `CHECKED` files has changed, or one of `COMPARED` files gives other arrays.
    """
    cache = Cache(folder)
    cache.header.require(folder, featurizer.definition, featurizer.row)
    source = Path(cache.header.source)
    check_removed(cache, scan(source, cache.header.folders))
    if not len(cache):
        raise UserError(f"{folder} is an empty cache.")
    start = np.random.default_rng().integers(len(cache))  # another sample at every start
    sample = np.linspace(start, start + len(cache), min(CHECKED, len(cache)), endpoint=False)
    some = np.unique(sample.astype(np.int64) % len(cache)).tolist()
    check_changed(cache, some)
    for i in some[:: max(1, len(some) // COMPARED)][:COMPARED]:
        problem, _ = compare(cache, i, featurizer)
        if problem:
            raise UserError(
                f"{folder}: {cache.name(i)} now gives other arrays ({problem}). "
                "Delete the cache and rebuild it."
            )
    return cache


@dataclass(frozen=True)
class Scan:
    """The result of listing a source.

    Attributes:
        stamps: Folder or archive -> time stamp (0: too recent to rely on).
        listed: The folders and archives that were listed.
        names: The files in these, ascending.
        members: The stamps of files in archives.
        notes: Sentences on skipped files.
    """

    stamps: dict[str, int]
    listed: frozenset[str]
    names: list[str]
    members: dict[str, Stamp]
    notes: list[str]


def scan(source: Path, known: Mapping[str, int], separate: Path | None = None) -> Scan:
    """List the folders and archives below a source that have changed.

    Paths are relative to the source, which is "" itself. Links are followed, and nothing is listed
    twice: known links come before new ones.

    Args:
        known: Folder or archive -> time stamp of an earlier scan.
        separate: A folder that must not be reached, such as the cache.

    Raises:
        UserError: A folder or archive cannot be read, or a link leads to `separate`.
    """
    return _Scanner(source, known, Visited(separate)).scan()


class _Scanner:
    def __init__(self, source: Path, known: Mapping[str, int], visited: Visited) -> None:
        self.source = source
        self.known = known
        self.visited = visited
        self.stamps: dict[str, int] = {}
        self.listed: set[str] = set()
        self.names: list[str] = []
        self.members: dict[str, Stamp] = {}
        self.links: list[str] = []
        """Links to folders and archives, which are visited after everything else."""
        self.children: dict[str, list[str]] = {}
        for folder in known:
            if folder:
                parent = str(PurePosixPath(folder).parent)
                self.children.setdefault("" if parent == "." else parent, []).append(folder)

    def scan(self) -> Scan:
        self._below("")
        parents = parents_of(self.source)
        while self.links:
            link = min(self.links, key=lambda name: (name not in self.known, name))
            self.links.remove(link)
            self._below(link, parents)
        names = sorted([*self.names, *self.members])
        notes = self.visited.notes
        return Scan(self.stamps, frozenset(self.listed), names, self.members, notes)

    def _below(self, start: str, parents: Collection[Identity] = ()) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                status = os.stat(self.source / folder)
                if self.visited.enter(folder, status, parents if folder == start else ()):
                    waiting += self._list(folder, status)
            except OSError as error:
                raise UserError(
                    f"{self.source / folder}: {error.strerror}. The cache needs it."
                ) from None

    def _list(self, folder: str, status: os.stat_result) -> list[str]:
        """Record the files in a folder or archive that has changed. Returns its subfolders."""
        stamp = status.st_mtime_ns
        self.stamps[folder] = stamp if time.time_ns() - stamp > TICK else 0
        if stamp == self.known.get(folder):
            children = self.children.get(folder, [])
            links = [name for name in children if (self.source / name).is_symlink()]
            self.links += links
            return [name for name in children if name not in links]
        self.listed.add(folder)
        if stat.S_ISREG(status.st_mode):
            for member, *stamp_fields in archive_members(self.source / folder):
                self.members[in_archive(folder, member)] = Stamp(*stamp_fields)
            return []
        prefix = f"{folder}/" if folder else ""
        with os.scandir(self.source / folder) as entries:
            return [folder for entry in entries for folder in self._sort(entry, prefix)]

    def _sort(self, entry: os.DirEntry[str], prefix: str) -> list[str]:
        """Record a file or a link. Returns a folder or archive, to be visited next."""
        name, linked = prefix + entry.name, entry.is_symlink()
        status = target_status(entry.path) if linked else None
        if linked and status is None:
            if not entry.name.startswith("."):
                self.names.append(name)  # its target is unknown
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
    """8 bytes of BLAKE2b of a name, as in the index."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def short_digest(digest: bytes) -> int:
    """The first 8 bytes of a content digest, as in the index."""
    return int.from_bytes(digest[:8], "little")


def path_digests(names: Iterable[str]) -> np.ndarray:
    """`path_digest` of each name."""
    return np.fromiter(map(path_digest, names), dtype=np.uint64)


def check_removed(cache: Cache, found: Scan) -> None:
    """Raise UserError if a file of the cache is missing from a listed folder."""
    folders = list(cache.header.folders)
    listed = [
        i for i, name in enumerate(folders) if name in found.listed or name not in found.stamps
    ]
    if not listed:
        return
    here = np.flatnonzero(np.isin(cache.index["folder"], listed))
    gone = here[~np.isin(cache.index["path"][here], path_digests(found.names))]
    if len(gone):
        one = cache.name(int(gone[0]))
        raise UserError(
            f"{cache.folder}: {len(gone):,} of its source files are missing, such as {one}. "
            "Delete the cache and rebuild it."
        )


def check_changed(cache: Cache, trajectories: Iterable[int]) -> None:
    """Raise UserError if the file of one of these trajectories has changed."""
    for i in trajectories:
        if problem := change_of(cache, i):
            raise UserError(f"{cache.folder}: {problem}. Delete the cache and rebuild it.")


def change_of(cache: Cache, i: int) -> str:
    """How the content of a trajectory's file has changed, or an empty string.

    The file is read only if its stamp, or the time stamp of its archive, has changed.
    """
    source, name, before = Path(cache.header.source), cache.name(i), cache.stamp(i)
    archive = archive_of(name)
    if archive:
        same = 0 != stamp_of(source / archive).mark == cache.header.folders.get(archive)
    else:
        same = stamp_of(source / name) == before
    try:
        if same:
            return ""
        digest = content_digest(read_text(source, name, before))
        if short_digest(digest) == cache.index["content"][i]:
            return ""
    except TrajectoryError as error:
        return f"{name} can no longer be read ({error.detail})"
    return f"{name} has changed"


def compare(cache: Cache, i: int, featurizer: Featurizer) -> tuple[str, int]:
    """The first difference of trajectory i from its file, and how many values were compared."""
    with as_file(Path(cache.header.source), cache.name(i), cache.stamp(i)) as path:
        reference = featurizer.reference(path)
    values = sum(array.size for array in reference.values())
    return difference(featurizer.restore(cache[i]), reference), values


def difference(ours: Arrays, theirs: Arrays) -> str:
    """The first value in which arrays differ, or an empty string if they are equal."""
    if ours.keys() != theirs.keys():
        return f"arrays {sorted(ours)} in the cache, {sorted(theirs)} in the file"
    for name, array in ours.items():
        other = theirs[name]
        if (array.dtype, array.shape) != (other.dtype, other.shape):
            types = f"{array.dtype} {array.shape}, not {other.dtype} {other.shape}"
            return f"{name} is {types}"
        unequal = np.argwhere((array != other) & ~((array != array) & (other != other)))
        if len(unequal):
            index = tuple(unequal[0].tolist())
            return f"{name}{list(index)} is {array[index]}, not {other[index]}"
    return ""
