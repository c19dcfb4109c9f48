"""What a user can get wrong, said in one line."""

import errno
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


class UserError(Exception):
    """Bad input. The message is one line that names the thing and the cure.

    `metamon-ext` prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class RunStopped(UserError):
    """Trouble on the way that the input is not to blame for: a full disk, a worker that dies.

    What was done until then is kept, and the run can go on from there.
    """

    exit_code = 1


def cannot_write(path: Path | str, error: OSError) -> UserError:
    """What to raise where a path cannot be written: RunStopped for a disk that is full or failing,
    else that the path is bad input."""
    said = f"cannot write {path}: {error.strerror or error}"
    if error.errno in NO_ROOM:
        return RunStopped(f"{said}; make room, then run it again")
    return UserError(f"{said}; name another folder")


def in_one_line(error: Exception) -> str:
    """What an error of somebody else's says: its first 40 words."""
    return " ".join(str(error).split()[:40])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no known name is near."""
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    near = near or [one for one in by_lower if one.startswith(name.lower())][:1]
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def first_few(items: Sequence[str], separator: str = ", ") -> str:
    """The first three, and how many more there are."""
    more = f" and {len(items) - 3:,} more" if len(items) > 3 else ""
    return separator.join(items[:3]) + more
