"""Bad files are put where training does not see them; nothing is ever deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import orjson

from metamon_ext.data.judge import Verdict
from metamon_ext.data.trajectory import QUARANTINED
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import atomic_write, lock_folder


class Quarantine:
    """`folder/{reason}/` gets the bad files, with the folders that they were in below `paths`.

    Of a link to a file the link is moved, and keeps leading to the same file. What is in a folder
    that a link leads to is moved out of that folder, as if the folder itself were in `paths`.

    Bad records of archives, lists, JSON lines and parquet stay where they are:
    `folder/records.jsonl` lists them when the `with` block ends. Raises UserError for a folder
    inside of `paths`, around them, in use by another audit, or that cannot be written.
    """

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        self.folder = folder
        self.paths = list(paths)
        self._listed: list[bytes] = []
        self._locked = False
        self._lock = ExitStack()
        target = folder.resolve()
        for path in map(Path.resolve, self.paths):
            if target.is_relative_to(path) or path.is_relative_to(target):
                raise UserError(f"{folder} and {path} lie in each other: use a separate folder")

    def add(self, verdict: Verdict) -> None:
        """Put away what has a reason; the rest stays."""
        if verdict.reason is None:
            return
        if not self._locked:  # a folder is made only where there is something to put away
            self._lock.enter_context(lock_folder(self.folder))
            self._locked = True
        try:
            if verdict.path == verdict.file and os.path.lexists(verdict.file):
                self._move(verdict.file, verdict.reason)
                return
        except OSError as error:
            raise UserError(f"cannot move {verdict.file}: {error.strerror or error}") from None
        line = {"where": str(verdict.path), "reason": verdict.reason, "detail": verdict.detail}
        printable = {key: text.encode(errors="replace").decode() for key, text in line.items()}
        self._listed.append(orjson.dumps(printable) + b"\n")

    def _move(self, file: Path, reason: str) -> None:
        root = next((path for path in self.paths if path in file.parents), file.parent)
        target = self.folder / reason / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        free = (target.with_name(f"{number}~{target.name}") for number in count(2))
        while os.path.lexists(target):
            target = next(free)
        if file.is_symlink():
            target.symlink_to(file.parent.resolve() / os.readlink(file))
            file.unlink()
        else:
            shutil.move(file, target)

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._write_list()

    def _write_list(self) -> None:
        if not self._listed:
            return
        try:
            with atomic_write(self.folder / QUARANTINED) as temporary:
                temporary.write_bytes(b"".join(self._listed))
        except OSError as error:
            raise cannot_write(self.folder / QUARANTINED, error) from None
