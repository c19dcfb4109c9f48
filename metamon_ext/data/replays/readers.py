"""Readers of battles, one at a time: JSON files and JSON lines.

No file is read into memory at once, and no battle larger than `MAX_UNPACKED_BYTES`, or
`MAX_REPLAY_BYTES` for a raw replay in a larger file, is uncompressed.
"""

from __future__ import annotations

import gzip
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

import lz4.frame

from metamon_ext.data.replays.json_list import begins_list, list_elements
from metamon_ext.data.trajectory import (
    EXTENSIONS,
    MAX_UNPACKED_BYTES,
    TrajectoryError,
    decompress,
    unpack,
    why_unreadable,
)

MAX_REPLAY_BYTES = 2**23
"""A turn takes 0.5 KB of a log, and the simulator ends a battle at 1,000 turns."""
TRAJECTORY_ENDINGS = tuple(f"_{outcome}{end}" for outcome in ("WIN", "LOSS") for end in EXTENSIONS)
"""Files with these endings contain one battle, so they need not be opened to find out."""
HEAD = 64
"""Bytes that are read to distinguish a list of battles from one battle."""


@dataclass(frozen=True)
class Record:
    """One battle.

    Attributes:
        file: The file that contains it.
        where: The file, and the position in a file of many battles, for messages.
        data: Its bytes, compressed if `where` ends in .lz4 or .gz. None: the content of the file.
    """

    file: Path
    where: Path
    data: bytes | None = None

    def text(self) -> bytes:
        """The JSON of the battle. Raises TrajectoryError: `unreadable` or `too_big`."""
        packed_replay = self.where.name.lower().endswith(".gz")
        most = MAX_REPLAY_BYTES if packed_replay else MAX_UNPACKED_BYTES
        if self.data is None:
            return unpack(self.file, most)
        return decompress(self.where, self.data, most)


Records = Iterator[Record | TrajectoryError]
"""An unreadable record comes as an error that names it, and the next records still follow."""


def read_json(file: Path, at_most: int | None) -> Records:
    """The battle in a JSON file, or those of its list."""
    one = Record(file, file)
    if file.name.endswith(TRAJECTORY_ENDINGS):
        yield one
        return
    try:
        if file.name.lower().endswith(".json") and not begins_list(_first_bytes(file)):
            yield one
            return
        packed = open_packed(file)
    except OSError:
        yield one  # reading it will raise the right error
        return
    with packed:
        yield from one_or_many(file, file, one, packed)


def _first_bytes(file: Path) -> bytes:
    """The first bytes on disk. This is three times as fast as a stream."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # do not wait for a pipe
    try:
        return os.read(descriptor, HEAD)
    finally:
        os.close(descriptor)


def one_or_many(
    file: Path, where: Path, one: Record | TrajectoryError, packed: IO[bytes]
) -> Records:
    """The elements of a list, or `one` if the content of `packed` is not a list."""
    try:
        stream = unpacked(where.name, packed)
        head = stream.read(HEAD)
    except Exception:  # of three libraries; reading `one` will raise the right error
        head = b""
    if not begins_list(head):
        yield one
        return
    number = 0
    try:
        for number, text in enumerate(list_elements(head, stream, MAX_REPLAY_BYTES), 1):
            position = Path(f"{where}:{number}")
            if text is None:
                yield TrajectoryError(position, "too_big", f"more than {MAX_REPLAY_BYTES:,} bytes")
            else:
                yield Record(file, position, text)
    except Exception as error:
        yield unreadable(Path(f"{where}:{number + 1}"), error) if number else one


def read_lines(file: Path, at_most: int | None) -> Records:
    """The battles of a file with one a line; `at_most` of them from the whole file."""
    try:
        with open_unpacked(file) as stream:
            size = file.stat().st_size
            packed = file.name.lower().endswith(".gz")
            spread = at_most is not None and stream.seekable() and not packed
            for number in count(1):
                start = stream.tell()
                if spread and at_most and start < (goal := size * (number - 1) // at_most):
                    stream.seek(goal)
                    stream.readline(MAX_REPLAY_BYTES)
                    start = stream.tell()
                line = stream.readline(MAX_REPLAY_BYTES + 1)
                if start == 0:
                    line = line.removeprefix(BOM_UTF8)
                if not line:
                    return
                where = Path(f"{file}:{f'byte {start}' if spread else number}")
                if len(line) > MAX_REPLAY_BYTES:
                    detail = f"a line of more than {MAX_REPLAY_BYTES:,} bytes"
                    yield TrajectoryError(where, "too_big", detail)
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(MAX_REPLAY_BYTES)
                elif not line.isspace():
                    yield Record(file, where, line)
    except Exception as error:
        yield unreadable(file, error)


@contextmanager
def open_unpacked(file: Path) -> Iterator[IO[bytes]]:
    """Open a file as a stream of its uncompressed content."""
    with open_packed(file) as packed:
        yield unpacked(file.name, packed)


def open_packed(file: Path) -> IO[bytes]:
    """Open a regular file. Raises OSError, also for a pipe, which would block."""
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise OSError("not a file")
    return file.open("rb")


def unpacked(name: str, packed: IO[bytes]) -> IO[bytes]:
    """The uncompressed content of a stream, by the end of its file's name."""
    stream: Any = packed
    if name.lower().endswith((".gz", ".tgz")):
        stream = gzip.GzipFile(fileobj=packed)
    elif name.lower().endswith(".lz4"):
        stream = lz4.frame.open(packed)
    text: IO[bytes] = stream
    return text


def unreadable(where: Path, error: Exception) -> TrajectoryError:
    """Any error of a library as a TrajectoryError."""
    return TrajectoryError(where, "unreadable", why_unreadable(where, error))
