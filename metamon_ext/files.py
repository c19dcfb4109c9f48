"""Files that are written completely or not at all, and folders that one run writes at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from errno import ENOTDIR
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from metamon_ext.errors import UserError, cannot_write

LOCK = ".lock"
"""The file in a locked folder that names its holder. It stays there, empty, for the next run."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to it if the block ends well.

    Otherwise it is removed. A killed process leaves at most a hidden `.tmp` file.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_json(content, indented=True))


def to_json(content: Any, indented: bool = False) -> bytes:
    """JSON of what orjson takes, and of integers of any size, such as a seed of 128 bits."""
    try:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 if indented else None)
    except orjson.JSONEncodeError:
        text = json.dumps(content, indent=2 if indented else None, default=asdict)
        return text.encode()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and keep every other run out of it until the block ends.

    The operating system releases the lock when its holder ends, however it ends. Readers are not
    kept out.

    Raises:
        UserError: another run holds the lock, or the folder cannot be written.
    """
    file = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _holder(file)  # older versions of filelock truncate the file as they try
        lock = FileLock(file)
        lock.acquire(timeout=0)
    except Timeout:
        holder = _holder(file) or before or "it has not left its process id"
        raise UserError(
            f"{folder} is in use by another run ({holder}): wait for it to end, or choose another "
            "folder"
        ) from None
    except FileExistsError:
        raise cannot_write(folder, NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))) from None
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        with contextlib.suppress(OSError):  # a full disk does not matter here
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


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
