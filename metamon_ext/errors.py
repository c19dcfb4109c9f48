"""Errors that a user can act on. Each message is one line."""

import errno
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


class UserError(Exception):
    """Invalid input. The message is one line that names the input, its value and the fix.

    `metamon-ext` prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class RunStopped(UserError):
    """A run stopped for a reason other than its input: a full disk, or a worker that died.

    Finished work is kept, and the same command resumes the run.
    """

    exit_code = 1


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """The error to raise for a path that cannot be written.

    It is a RunStopped if the disk is full or failing, else a UserError.
    """
    problem = f"Cannot write {path}: {error.strerror or error}"
    if error.errno in NO_ROOM:
        return RunStopped(f"{problem}. Free disk space, then run the command again.")
    return UserError(f"{problem}. Choose another folder.")


def in_one_line(error: Exception) -> str:
    """The first 40 words of another library's error message."""
    return " ".join(str(error).split()[:40])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or an empty string if no known name is similar."""
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    near = near or [one for one in by_lower if one.startswith(name.lower())][:1]
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def first_few(items: Sequence[str], separator: str = ", ") -> str:
    """The first three items, and the number of the others."""
    more = f" and {len(items) - 3:,} more" if len(items) > 3 else ""
    return separator.join(items[:3]) + more
