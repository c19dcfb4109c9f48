"""SQLite files in any state: in use, left by a killed run, or corrupt.

A run that is killed during a commit leaves a journal (`-journal` or `-wal`) next to its file.
SQLite rolls that commit back when it opens the file. This needs write permission for the file and
its folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from metamon_ext.errors import UserError, in_one_line

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds to wait for a locked file after the notice."""
NOTICE_AFTER = 1.0
"""Seconds to wait before the notice. A running workflow locks its file for milliseconds."""
JOURNALS = ("-journal", "-wal")


class DatabaseLocked(UserError):
    """Another program has locked a file for longer than `PATIENCE`."""


def connect(path: Path, create: bool = False) -> sqlite3.Connection:
    """Open an existing file, or a new one with `create`. Roll back what a killed run left.

    Raises:
        DatabaseLocked: Another program has locked the file.
        sqlite3.DatabaseError: The file cannot be read, or is not an SQLite file.
    """
    mode = "rwc" if create else "rw"  # SQLite opens a read-only file for reading
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=NOTICE_AFTER)
    try:
        wait_while_locked(path, db, lambda: db.execute("SELECT COUNT(*) FROM sqlite_master"))
    except BaseException:
        db.close()
        raise
    return db


def wait_while_locked(path: Path, db: sqlite3.Connection, action: Callable[[], T]) -> T:
    """Run `action` and return its result. If the file is locked, print a notice and wait.

    Raises:
        DatabaseLocked: The file is still locked after `PATIENCE` seconds.
    """
    try:
        return action()
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
    print(f"{path} is locked by another program. Waiting up to {PATIENCE:g} s.", file=sys.stderr)
    db.execute(f"PRAGMA busy_timeout = {round(1000 * PATIENCE)}")
    try:
        return action()
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
        raise DatabaseLocked(
            f"{path} is still locked by another program after {PATIENCE:g} s. "
            "End that program, then run the command again."
        ) from None
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(1000 * NOTICE_AFTER)}")


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading an existing file.

    If a killed run's journal cannot be rolled back because the file or its folder is read-only,
    the connection is to a temporary copy.

    Raises:
        DatabaseLocked: Another program has locked the file.
        UserError: The file cannot be read, or is not an SQLite file.
    """
    try:
        try:
            db = connect(path)
        except sqlite3.OperationalError:
            with _copy_of(path) as copy, closing(connect(copy)) as db:
                yield db
        else:
            with closing(db):
                yield db
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if "unable to open" in str(error):
            raise UserError(f"Cannot read {path}: {in_one_line(error)}.") from None
        raise UserError(
            f"{path} is not a results file ({in_one_line(error)}). Move it, or choose another "
            "folder."
        ) from None


@contextmanager
def _copy_of(path: Path) -> Iterator[Path]:
    """A copy of a file and its journals, with matching names as SQLite requires."""
    with tempfile.TemporaryDirectory(prefix="metamon_ext-") as folder:
        copy = Path(folder, path.name)
        try:
            # Journals first: rolling back a commit twice is harmless, missing one is not.
            for journal in JOURNALS:
                if (there := Path(f"{path}{journal}")).exists():
                    shutil.copyfile(there, f"{copy}{journal}")
            shutil.copyfile(path, copy)
        except OSError as error:
            raise UserError(
                f"Cannot read {path}: {error.strerror or error} ({error.filename})."
            ) from None
        yield copy
