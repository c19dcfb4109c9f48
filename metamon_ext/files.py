"""Atomic writes, folder locks, and the stage journal that makes a workflow resumable."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from errno import ENOTDIR
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from metamon_ext.errors import UserError, cannot_write

LOCK = ".lock"
"""The lock file of a folder. It names the current holder, and stays there, empty, afterwards."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` if the block succeeds.

    If the block raises, the temporary file is removed. A killed process leaves at most a hidden
    `.tmp` file.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file, or a copy where the file system has no such links."""
    with atomic_write(target) as temporary:
        try:
            os.link(source.resolve(), temporary)  # not a link to a symbolic link
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_json(content, indented=True))


def to_json(content: Any, indented: bool = False) -> bytes:
    """Encode JSON with orjson, or with `json` for integers beyond 64 bits, such as a seed."""
    try:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 if indented else None)
    except orjson.JSONEncodeError:
        text = json.dumps(content, indent=2 if indented else None, default=asdict)
        return text.encode()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create a folder if needed, and lock it against other runs until the block ends.

    The operating system releases the lock when the process ends, even if it is killed. Readers are
    not blocked.

    Raises:
        UserError: Another run holds the lock, or the folder cannot be written.
    """
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _holder(file)  # older versions of filelock truncate the file as they try
        lock = FileLock(file)
        lock.acquire(timeout=0)
    except Timeout:
        holder = _holder(file) or before or "it did not record its process id"
        raise UserError(
            f"{folder} is in use by another run ({holder}). Wait for it to end, or choose another "
            "folder."
        ) from None
    except FileExistsError:
        raise cannot_write(folder, NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))) from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        with contextlib.suppress(OSError):  # on a full disk the lock works without this note
            file.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):
            os.truncate(file, 0)
        lock.release()


def _holder(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def require_separate(output: Path, source: Path) -> None:
    """Raise UserError if one of two folders contains the other."""
    one, other = output.resolve(), source.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UserError(f"{output} and {source} overlap. Choose a separate output folder.")


class StageJournal:
    """The journal of a resumable stage: one JSON line for each finished item.

    Write the files of an item first, then its line. If a run is killed in between, or while it
    writes the line, the next run removes the incomplete line and processes the item again. The
    first line holds the settings, which cannot change within a journal.

    Args:
        path: The journal file, created if missing. The caller holds the folder's lock.
        settings: Whatever the results of an item depend on.
        replay: Called with each complete line of earlier runs, in order.

    Raises:
        UserError: The file cannot be written, is corrupt, or has other settings.
    """

    def __init__(
        self, path: Path, settings: dict[str, Any], replay: Callable[[dict[str, Any]], None]
    ) -> None:
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise cannot_write(path.parent, error) from None
        try:
            complete = self._read(path, settings, replay)
            self._file.truncate(complete)
            if not complete:
                self.add(settings)
        except BaseException:
            self.close()
            raise

    def _read(self, path: Path, settings: dict[str, Any], replay: Callable[..., None]) -> int:
        """Replay the complete lines, and return their size in bytes."""
        complete = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                if complete:
                    replay(orjson.loads(line))
                else:
                    _require_same(path.parent, json.loads(line), settings)  # orjson rounds seeds
            except (TypeError, ValueError, KeyError, AttributeError):
                raise UserError(f"Corrupt journal {path}. Choose another folder.") from None
            complete += len(line)
        return complete

    def add(self, item: Any) -> None:
        """Append a line. Raises OSError if the disk is full."""
        self._file.write(to_json(item) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # what a full disk did not take
            self._file.close()

    def __enter__(self) -> StageJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _require_same(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    changed = [
        f"{key} {old.get(key)!r}, not {value!r}"
        for key, value in new.items()
        if old.get(key) != value
    ]
    if changed:
        raise UserError(f"{folder} has a run with {'; '.join(changed)}. Choose another folder.")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
