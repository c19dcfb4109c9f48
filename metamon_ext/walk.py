"""Every file below a folder, each once, through symbolic links.

Links are followed to files and to folders, also out of the folder that is walked. What is reached
in several ways is listed once: by its own path rather than through a link. A link to a folder
around the one that is walked is a cycle and leads nowhere.
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
"""What tells a file or folder from all others, whatever path leads to it."""
IsWanted = Callable[[str], bool]
"""Is a file of this name to be listed?"""


class Reached:
    """What a walk has reached: the folders that it listed, and the files that links led it to.

    `left_out` are the paths by which it came to one of them again.
    """

    def __init__(self, separate: Path | None = None) -> None:
        self._folders: set[Identity] = set()
        self._files: set[Identity] = set()
        self._separate = separate
        self._forbidden = _identity(os.stat(separate)) if separate and separate.exists() else None
        self.left_out: list[str] = []

    def enter(self, folder: str, status: os.stat_result, around: Collection[Identity] = ()) -> bool:
        """Is a folder to be listed, as it is neither listed already nor one of those `around`?

        Raises UserError for `separate`.
        """
        here = _identity(status)
        if here == self._forbidden:
            raise UserError(f"{folder} leads to {self._separate}: use a separate folder")
        if here in self._folders or here in around:
            return self._leave_out(folder)
        self._folders.add(here)
        return True

    @property
    def took_links(self) -> bool:
        """Did any link lead to a file? If none did, `take` is true of every file."""
        return bool(self._files)

    def take(self, path: str, device: int, inode: int) -> bool:
        """Is a file to be taken, as no link has led to it before?"""
        return self._leave_out(path) if (device, inode) in self._files else True

    def take_linked(self, path: str, status: os.stat_result, is_wanted: IsWanted) -> bool:
        """Is the file that a link leads to to be taken, as it is listed in no other way?"""
        folder, name = os.path.split(os.path.realpath(path))
        listed = is_wanted(name) and _identity(os.stat(folder)) in self._folders
        if listed or _identity(status) in self._files:
            return self._leave_out(path)
        self._files.add(_identity(status))
        return True

    @property
    def notes(self) -> list[str]:
        """A sentence on what was left out, if anything was."""
        if not self.left_out:
            return []
        return [f"Left out, as it is listed by another path: {first_few(self.left_out)}."]

    def _leave_out(self, path: str) -> bool:
        self.left_out.append(path)
        return False


class Walk(Iterator[Path]):
    """The files below `roots` whose names are wanted, in a fixed order.

    Broken links come at the end, whatever their names: nothing says what they led to. Iterating
    raises UserError where a folder cannot be listed, and where a link leads to `separate`.

    Args:
        files: are taken too, whatever their names.
        is_known: of a file that is not wanted: are `notes` to pass over it?
    """

    def __init__(
        self,
        roots: Sequence[Path],
        is_wanted: IsWanted,
        is_known: IsWanted | None = None,
        separate: Path | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        self._roots, self._is_wanted, self._is_known = list(roots), is_wanted, is_known
        self._separate = separate
        self._links = deque((file, str(file)) for file in files)
        self._found: Counter[Path] = Counter()
        self._others: Counter[str] = Counter()
        self._reached: Reached | None = None
        self._files = self._walk()

    def __next__(self) -> Path:
        return next(self._files)

    @property
    def empty(self) -> list[Path]:
        """The roots with nothing below them, once all is listed."""
        return [root for root in self._roots if not self._found[root]]

    @property
    def notes(self) -> list[str]:
        """Sentences on what was not listed."""
        notes = self._reached.notes if self._reached else []
        if self._others:
            counts = ", ".join(f"{n:,} {ending}" for ending, n in self._others.most_common())
            notes.append(f"Left out by their names: {counts}.")
        return notes

    def _walk(self) -> Iterator[Path]:
        try:
            self._reached = Reached(self._separate)
            for root in self._roots:
                yield from self._below(root, str(root), self._reached)
            broken: list[Path] = []
            while self._links:
                yield from self._follow(*self._links.popleft(), self._reached, broken)
            yield from broken
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}") from None

    def _below(
        self, root: Path, start: str, reached: Reached, around: Collection[Identity] = ()
    ) -> Iterator[Path]:
        """The files in a folder and in those below it. Links are kept for later."""
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            status = os.stat(folder)
            if not reached.enter(folder, status, around if folder == start else ()):
                self._found[root] += 1
                continue
            prefix = os.path.join(folder, "")
            files, folders, links = [], [], []
            is_wanted, look_up = self._is_wanted, reached.took_links
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_symlink():
                        links.append(prefix + name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(prefix + name)
                    elif not is_wanted(name):
                        self._pass_over(name)
                    elif not look_up or reached.take(prefix + name, status.st_dev, entry.inode()):
                        files.append(prefix + name)
            self._found[root] += len(files)
            yield from map(Path, sorted(files))
            waiting += sorted(folders, reverse=True)
            self._links += [(root, link) for link in sorted(links)]

    def _follow(
        self, root: Path, link: str, reached: Reached, broken: list[Path]
    ) -> Iterator[Path]:
        """What a link leads to, or one of the files that are taken too."""
        name = os.path.basename(link)
        status = status_behind(link)
        if status is None:
            if not name.startswith("."):  # editors lock files by hidden links to nowhere
                self._found[root] += 1
                broken.append(Path(link))
        elif stat.S_ISDIR(status.st_mode):
            yield from self._below(root, link, reached, folders_around(root))
        elif link != str(root) and not self._is_wanted(name):
            self._pass_over(name)
        else:
            self._found[root] += 1
            if reached.take_linked(link, status, self._is_wanted):
                yield Path(link)

    def _pass_over(self, name: str) -> None:
        if self._is_known is None or self._is_known(name):
            return
        ending = os.path.splitext(name)[1].lower() or "without an ending"
        if not name.startswith("."):
            self._others[ending] += 1
        elif self._is_wanted(name.lstrip("._")):
            self._others[f"hidden {ending}"] += 1


def some_files(root: Path, is_wanted: IsWanted, reached: Reached) -> Iterator[Path]:
    """Files in the order that the disk gives them, one from each folder in turn.

    Raises UserError where a folder cannot be listed.
    """
    folders: deque[tuple[int, Iterator[os.DirEntry[str]]]] = deque()

    def enter(folder: str, around: Collection[Identity] = ()) -> None:
        status = os.stat(folder)
        if reached.enter(folder, status, around):
            folders.append((status.st_dev, os.scandir(folder)))

    try:
        enter(str(root))
        around = folders_around(root)
        while folders:
            device, entries = folders[0]
            entry = next(entries, None)
            if entry is None:
                folders.popleft()
                continue
            folders.rotate(-1)
            if entry.is_symlink():
                status = status_behind(entry.path)
                if status is None:
                    if not entry.name.startswith("."):
                        yield Path(entry.path)
                elif stat.S_ISDIR(status.st_mode):
                    enter(entry.path, around)
                elif is_wanted(entry.name) and reached.take_linked(entry.path, status, is_wanted):
                    yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                enter(entry.path)
            elif is_wanted(entry.name) and reached.take(entry.path, device, entry.inode()):
                yield Path(entry.path)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None


def print_notes(notes: Sequence[str]) -> None:
    """Say on standard error what was left out."""
    for note in notes:
        print(note.encode(errors="replace").decode(), file=sys.stderr)


def folders_around(root: Path) -> set[Identity]:
    """The folders that contain `root`."""
    return {_identity(os.stat(folder)) for folder in Path(os.path.realpath(root)).parents}


def status_behind(link: str) -> os.stat_result | None:
    """Of what a link leads to; None where it is broken."""
    try:
        return os.stat(link)
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
