"""Move invalid files out of a dataset. Nothing is deleted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import orjson

from metamon_ext.data.trajectory import QUARANTINED
from metamon_ext.data.validation import ValidationResult
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import atomic_write, lock_folder, require_separate


class Quarantine:
    """Moves invalid files to `folder/{reason}/`, with their folders below `paths`.

    A symbolic link is moved, not its target, and keeps leading to the same file. Files behind a
    link to a folder are moved as if that folder were in `paths`. Invalid records of larger files
    stay: `folder/records.jsonl` lists them when the `with` block ends.

    Raises:
        UserError: The folder overlaps one of `paths`, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        self.folder = folder
        self.paths = list(paths)
        self._listed: list[bytes] = []
        self._locked = False
        self._lock = ExitStack()
        for path in self.paths:
            require_separate(folder, path)

    def add(self, result: ValidationResult) -> None:
        """Move or list a battle if it is invalid."""
        if result.reason is None:
            return
        if not self._locked:  # no folder is created for a dataset without problems
            self._lock.enter_context(lock_folder(self.folder))
            self._locked = True
        try:
            if result.path == result.file and os.path.lexists(result.file):
                self._move(result.file, result.reason)
                return
        except OSError as error:
            raise UserError(f"Cannot move {result.file}: {error.strerror or error}.") from None
        line = {"where": str(result.path), "reason": result.reason, "detail": result.detail}
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
            if not self._listed:
                return
            try:
                with atomic_write(self.folder / QUARANTINED) as temporary:
                    temporary.write_bytes(b"".join(self._listed))
            except OSError as error:
                raise cannot_write(self.folder / QUARANTINED, error) from None
