"""The source files of a cache: in folders, or in tar archives as Metamon downloads them.

The name of a file is its path below the source. The name of an archive's member has two slashes
after the archive: `gen1ou.tar//gen1ou/NAME.json.lz4`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from metamon_ext.data.trajectory import (
    MAX_UNPACKED_BYTES,
    TrajectoryError,
    decompress,
    unpack,
)

ARCHIVE = ".tar"
LONGEST_PATH, LONGEST_NAME = 4096, 255
"""Bytes, as on Linux. Archives have no limit."""


class Stamp(NamedTuple):
    """Identifies a version of a file: its size in bytes, and as `mark` its time stamp in ns.

    For a member of an archive, `mark` is its offset.
    """

    size: int
    mark: int


def in_archive(archive: str, member: str) -> str:
    """The name of an archive's member."""
    return f"{archive}//{member}"


def archive_of(name: str) -> str:
    """The archive of a file, or an empty string if it is in a folder."""
    archive, inside, _ = name.partition("//")
    return archive if inside else ""


def folder_of(name: str) -> str:
    """The folder or archive of a file. The source itself is an empty string."""
    return archive_of(name) or name.rpartition("/")[0]


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file in a folder, zeros if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return Stamp(0, 0)
    return Stamp(status.st_size, status.st_mtime_ns)


def read_text(source: Path, name: str, stamp: Stamp) -> bytes:
    """The JSON of a file. Raises TrajectoryError as `unpack` does, and `bad_name`."""
    path = source / name
    too_long = len(os.fsencode(path.name)) > LONGEST_NAME or len(os.fsencode(name)) > LONGEST_PATH
    if too_long or "\0" in name:
        raise TrajectoryError(path, "bad_name", "no file can have this name")
    archive = archive_of(name)
    if not archive:
        return unpack(path)
    if stamp.size > MAX_UNPACKED_BYTES:
        raise TrajectoryError(path, "too_big", f"{stamp.size:,} bytes")
    try:
        with open(source / archive, "rb") as file:
            file.seek(stamp.mark)
            data = file.read(stamp.size)
    except OSError as error:
        raise TrajectoryError(path, "unreadable", error.strerror or "cannot be read") from None
    return decompress(path, data)


@contextmanager
def as_file(source: Path, name: str, stamp: Stamp) -> Iterator[Path]:
    """A path for reading a file: of an archive's member a temporary copy.

    Raises TrajectoryError as `read_text` does.
    """
    if not archive_of(name):
        yield source / name
        return
    with tempfile.TemporaryDirectory(prefix="metamon-ext-") as folder:
        path = Path(folder, Path(name).name.removesuffix(".lz4"))
        path.write_bytes(read_text(source, name, stamp))
        yield path
