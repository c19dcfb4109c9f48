"""A folder that one run writes at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path

from filelock import FileLock, Timeout

from metamon_ext.errors import UserError, cannot_write

LOCK = ".lock"
"""The file in a locked folder that names its holder. It stays there, empty, for the next run."""


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
