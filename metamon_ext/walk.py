"""Every file below a folder, each once, following symbolic links.

Links to files and to folders are followed, also out of the folder. A file that can be reached in
several ways is listed once, by its own path if that is below the folder, else by a link. A link to
a parent of the folder is a cycle and is not followed.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from metamon_ext.errors import UserError, first_few

Identity = tuple[int, int]
"""Device and inode: the same for all paths of one file or folder."""
NameFilter = Callable[[str], bool]


class Visited:
    """The folders that a walk has listed, and the files that it has reached through links.

    `skipped` are the paths by which it reached one of them again.
    """

    def __init__(self, separate: Path | None = None) -> None:
        self._folders: set[Identity] = set()
        self._files: set[Identity] = set()
        self._separate = separate
        self._forbidden = _identity(os.stat(separate)) if separate and separate.exists() else None
        self.skipped: list[str] = []

    def enter(
        self, folder: str, status: os.stat_result, parents: Collection[Identity] = ()
    ) -> bool:
        """Whether to list a folder: it has not been listed, and is not one of the `parents`.

        Raises UserError for the folder `separate`.
        """
        identity = _identity(status)
        if identity == self._forbidden:
            raise UserError(f"{folder} leads to {self._separate}. Choose a separate output folder.")
        if identity in self._folders or identity in parents:
            return self._skip(folder)
        self._folders.add(identity)
        return True

    @property
    def took_links(self) -> bool:
        """Whether a link has led to a file. If not, `take` is true for every file."""
        return bool(self._files)

    def take(self, path: str, device: int, inode: int) -> bool:
        """Whether to list a file: no link has led to it before."""
        return self._skip(path) if (device, inode) in self._files else True

    def take_linked(self, path: str, status: os.stat_result, is_wanted: NameFilter) -> bool:
        """Whether to list the target of a link: it is not listed by another path."""
        folder, name = os.path.split(os.path.realpath(path))
        listed = is_wanted(name) and _identity(os.stat(folder)) in self._folders
        if listed or _identity(status) in self._files:
            return self._skip(path)
        self._files.add(_identity(status))
        return True

    @property
    def notes(self) -> list[str]:
        """A sentence that names the skipped paths, if there are any."""
        if not self.skipped:
            return []
        return [f"Skipped, because another path leads to the same file: {first_few(self.skipped)}."]

    def _skip(self, path: str) -> bool:
        self.skipped.append(path)
        return False


class Walk(Iterator[Path]):
    """The files below `roots` that a name filter accepts, in a fixed order.

    Broken links come last, whatever their names. Iterating raises UserError if a folder cannot be
    listed, or if a link leads to `separate`.

    Args:
        roots: The folders to walk.
        is_wanted: The name filter.
        is_known: Names that `notes` does not mention when they are skipped. None: all.
        separate: A folder that must not be reached, such as the output.
        files: Files that are listed too, whatever their names.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        is_wanted: NameFilter,
        is_known: NameFilter | None = None,
        separate: Path | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        self._roots, self._is_wanted, self._is_known = list(roots), is_wanted, is_known
        self._separate = separate
        self._links = deque((file, str(file)) for file in files)
        self._found: Counter[Path] = Counter()
        self._others: Counter[str] = Counter()
        self._visited: Visited | None = None
        self._files = self._walk()

    def __next__(self) -> Path:
        return next(self._files)

    @property
    def empty(self) -> list[Path]:
        """After the walk: the roots without any file."""
        return [root for root in self._roots if not self._found[root]]

    @property
    def notes(self) -> list[str]:
        """Sentences on the files that were skipped."""
        notes = self._visited.notes if self._visited else []
        if self._others:
            counts = ", ".join(f"{n:,} {ending}" for ending, n in self._others.most_common())
            notes.append(f"Skipped because of their names: {counts}.")
        return notes

    def _walk(self) -> Iterator[Path]:
        try:
            self._visited = Visited(self._separate)
            for root in self._roots:
                yield from self._below(root, str(root), self._visited)
            broken: list[Path] = []
            while self._links:
                yield from self._follow(*self._links.popleft(), self._visited, broken)
            yield from broken
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}") from None

    def _below(
        self, root: Path, start: str, visited: Visited, parents: Collection[Identity] = ()
    ) -> Iterator[Path]:
        """The files in a folder and below it. Links are queued, so that real paths come first."""
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            status = os.stat(folder)
            if not visited.enter(folder, status, parents if folder == start else ()):
                self._found[root] += 1
                continue
            prefix = os.path.join(folder, "")
            files, folders, links = [], [], []
            is_wanted, look_up = self._is_wanted, visited.took_links
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_symlink():
                        links.append(prefix + name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(prefix + name)
                    elif not is_wanted(name):
                        self._count_other(name)
                    elif not look_up or visited.take(prefix + name, status.st_dev, entry.inode()):
                        files.append(prefix + name)
            self._found[root] += len(files)
            yield from map(Path, sorted(files))
            waiting += sorted(folders, reverse=True)
            self._links += [(root, link) for link in sorted(links)]

    def _follow(
        self, root: Path, link: str, visited: Visited, broken: list[Path]
    ) -> Iterator[Path]:
        """The files that a link leads to. A root that is a file comes here too."""
        name = os.path.basename(link)
        status = target_status(link)
        if status is None:
            if not name.startswith("."):  # editors make hidden broken links as locks
                self._found[root] += 1
                broken.append(Path(link))
        elif stat.S_ISDIR(status.st_mode):
            yield from self._below(root, link, visited, parents_of(root))
        elif link != str(root) and not self._is_wanted(name):
            self._count_other(name)
        else:
            self._found[root] += 1
            if visited.take_linked(link, status, self._is_wanted):
                yield Path(link)

    def _count_other(self, name: str) -> None:
        if self._is_known is None or self._is_known(name):
            return
        ending = os.path.splitext(name)[1].lower() or "without an ending"
        if not name.startswith("."):
            self._others[ending] += 1
        elif self._is_wanted(name.lstrip("._")):
            self._others[f"hidden {ending}"] += 1


def some_files(root: Path, is_wanted: NameFilter, visited: Visited) -> Iterator[Path]:
    """The files below a folder in the order of the disk, one from each subfolder in turn.

    A sample of a large folder need not list all of it. Raises UserError if a folder cannot be
    listed.
    """
    folders: deque[tuple[int, Iterator[os.DirEntry[str]]]] = deque()

    def enter(folder: str, parents: Collection[Identity] = ()) -> None:
        status = os.stat(folder)
        if visited.enter(folder, status, parents):
            folders.append((status.st_dev, os.scandir(folder)))

    try:
        enter(str(root))
        parents = parents_of(root)
        while folders:
            device, entries = folders[0]
            entry = next(entries, None)
            if entry is None:
                folders.popleft()
                continue
            folders.rotate(-1)
            if entry.is_symlink():
                status = target_status(entry.path)
                if status is None:
                    if not entry.name.startswith("."):
                        yield Path(entry.path)
                elif stat.S_ISDIR(status.st_mode):
                    enter(entry.path, parents)
                elif is_wanted(entry.name) and visited.take_linked(entry.path, status, is_wanted):
                    yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                enter(entry.path)
            elif is_wanted(entry.name) and visited.take(entry.path, device, entry.inode()):
                yield Path(entry.path)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None


def print_notes(notes: Sequence[str]) -> None:
    """Print notes on skipped files to standard error."""
    for note in notes:
        print(note.encode(errors="replace").decode(), file=sys.stderr)


def parents_of(root: Path) -> set[Identity]:
    """All folders that contain `root`."""
    return {_identity(os.stat(folder)) for folder in Path(os.path.realpath(root)).parents}


def target_status(link: str) -> os.stat_result | None:
    """The status of a link's target, or None if the link is broken."""
    try:
        return os.stat(link)
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
