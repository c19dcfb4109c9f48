"""SQLite files in any state: in use, left behind by a killed run, or damaged.

A run that is killed in the middle of a commit leaves a journal (`-journal` or `-wal`) beside its
file. SQLite rolls that commit back as it opens the file, which needs write permission for the file
and its folder.
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
"""Seconds to wait for a file that another program has locked, once that has been said."""
NOTICE_AFTER = 1.0
"""Seconds to wait before: a run that writes locks its file for milliseconds at a time."""
JOURNALS = ("-journal", "-wal")


class DatabaseLocked(UserError):
    """A file was locked by another program for longer than `PATIENCE`."""


def connect(path: Path, create: bool = False) -> sqlite3.Connection:
    """Open a file that is there (or make one, with `create`), after rolling back what a killed run
    left.

    Raises:
        DatabaseLocked: another program has locked it.
        sqlite3.DatabaseError: it cannot be read, or is no SQLite file.
    """
    mode = "rwc" if create else "rw"  # where writing is not allowed SQLite opens it to read
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=NOTICE_AFTER)
    try:
        wait_while_locked(path, db, lambda: db.execute("SELECT COUNT(*) FROM sqlite_master"))
    except BaseException:
        db.close()
        raise
    return db


def wait_while_locked(path: Path, db: sqlite3.Connection, action: Callable[[], T]) -> T:
    """What `action` returns. Where the file is locked, say so, wait up to `PATIENCE`, try again.

    Raises:
        DatabaseLocked: it is still locked after that.
    """
    try:
        return action()
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
    print(
        f"{path} is locked by another program: waiting up to {PATIENCE:g} s for it", file=sys.stderr
    )
    db.execute(f"PRAGMA busy_timeout = {round(1000 * PATIENCE)}")
    try:
        return action()
    except sqlite3.OperationalError as error:
        if not _is_locked(error):
            raise
        raise DatabaseLocked(
            f"{path} is still locked by another program after {PATIENCE:g} s: "
            "end that program, then try again"
        ) from None
    finally:
        db.execute(f"PRAGMA busy_timeout = {round(1000 * NOTICE_AFTER)}")


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that is there, to be read.

    Where a killed run's journal cannot be rolled back in place, since the folder or the file is
    read-only, a temporary copy is read.

    Raises:
        DatabaseLocked: another program has locked it.
        UserError: it cannot be read, or is no SQLite file.
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
            raise UserError(f"{path} cannot be read: {in_one_line(error)}") from None
        raise UserError(
            f"{path} is not a results file ({in_one_line(error)}): move it away, or name another "
            "folder"
        ) from None


@contextmanager
def _copy_of(path: Path) -> Iterator[Path]:
    """A copy of a file and of its journals, of which SQLite wants the names to match."""
    with tempfile.TemporaryDirectory(prefix="metamon_ext-") as folder:
        copy = Path(folder, path.name)
        try:
            # Journals first: what they roll back in a copy, they may have rolled back already.
            for journal in JOURNALS:
                if (there := Path(f"{path}{journal}")).exists():
                    shutil.copyfile(there, f"{copy}{journal}")
            shutil.copyfile(path, copy)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read: {error.strerror or error} ({error.filename})"
            ) from None
        yield copy
