"""The files below the source of a cache: in folders, or in tar archives as Metamon downloads them.

A file is named by its path below the source. One in an archive is named as if the archive were a
folder, with two slashes behind it: `gen1ou.tar//gen1ou/NAME.json.lz4`.
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
"""Bytes, as on Linux. Archives know no limit."""


class Stamp(NamedTuple):
    """What tells a file from a later one of its name: its size, and its time stamp in ns; of one
    in an archive, its size and where in it the file begins."""

    size: int
    place: int


def in_archive(archive: str, member: str) -> str:
    """The name of a file in an archive."""
    return f"{archive}//{member}"


def archive_of(name: str) -> str:
    """The archive in which a file lies; nothing for one in a folder."""
    archive, inside, _ = name.partition("//")
    return archive if inside else ""


def folder_of(name: str) -> str:
    """The folder or archive in which a file lies; nothing for the source itself."""
    return archive_of(name) or name.rpartition("/")[0]


def stamp_of(path: Path) -> Stamp:
    """Of a file in a folder, zeros where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return Stamp(0, 0)
    return Stamp(status.st_size, status.st_mtime_ns)


def read_text(source: Path, name: str, stamp: Stamp) -> bytes:
    """The JSON in a file. Raises the TrajectoryErrors of `unpack`, and `bad_name`."""
    path = source / name
    too_long = len(os.fsencode(path.name)) > LONGEST_NAME or len(os.fsencode(name)) > LONGEST_PATH
    if too_long or "\0" in name:
        raise TrajectoryError(path, "bad_name", "no file could have this name")
    archive = archive_of(name)
    if not archive:
        return unpack(path)
    if stamp.size > MAX_UNPACKED_BYTES:
        raise TrajectoryError(path, "too_big", f"{stamp.size:,} bytes")
    try:
        with open(source / archive, "rb") as file:
            file.seek(stamp.place)
            data = file.read(stamp.size)
    except OSError as error:
        raise TrajectoryError(path, "unreadable", error.strerror or "cannot be read") from None
    return decompress(path, data)


@contextmanager
def as_file(source: Path, name: str, stamp: Stamp) -> Iterator[Path]:
    """A path at which a file can be read; of one in an archive, a copy for as long as the block
    lasts. Raises what `read_text` does."""
    if not archive_of(name):
        yield source / name
        return
    with tempfile.TemporaryDirectory(prefix="metamon-ext-") as folder:
        path = Path(folder, Path(name).name.removesuffix(".lz4"))
        path.write_bytes(read_text(source, name, stamp))
        yield path
