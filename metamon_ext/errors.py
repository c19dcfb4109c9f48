"""What a user can get wrong, said in one line."""

import errno
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
