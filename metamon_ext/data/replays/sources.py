"""Where battles are: in files of their own, and in files of many, read one battle at a time.

`.json`, `.json.gz` and `.json.lz4` hold one battle, or a list of battles. `.jsonl` and `.ndjson`
(also `.gz`) hold one a line, `.parquet` one a row, `.tar` (also `.tar.gz`, `.tar.lz4`) one a
member, which may be a list too. No file is ever unpacked all at once, and no battle larger than
`MAX_UNPACKED_BYTES` is, nor a replay that is larger than `MAX_REPLAY_BYTES`.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, count, islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import lz4.frame
import orjson

from metamon_ext.data.replays.json_list import begins_list, list_elements
from metamon_ext.data.trajectory import (
    EXTENSIONS,
    MAX_UNPACKED_BYTES,
    TrajectoryError,
    decompress,
    is_ours,
    is_trajectory_file,
    unpack,
    why_unreadable,
)
from metamon_ext.errors import UserError
from metamon_ext.walk import Reached, Walk, some_files

MAX_REPLAY_BYTES = 2**23
"""A turn takes half a kilobyte of a log and the simulator ends a battle at 1,000 turns."""
MAX_ROW_GROUP = 2**31
"""Parquet is unpacked by the row group: about the largest that anybody writes."""
JSON_ENDINGS = (*EXTENSIONS, ".json.gz")
OWN_FILE = tuple(f"_{outcome}{ending}" for outcome in ("WIN", "LOSS") for ending in EXTENSIONS)
"""How the name of a trajectory ends, which has a file of its own."""
HEAD = 64
"""Bytes that are read to tell a list of battles from one battle."""
REPLAY_COLUMNS = frozenset(
    """id format formatid log uploadtime rating winner
    battle_id gamemode text month_year elo""".split()  # noqa: SIM905
)
"""What is read of a parquet file: of the columns of Metamon's raw replays and of PokéChamp's."""


@dataclass(frozen=True)
class Record:
    """One battle. `where` names it for people: the file, and the place in it where it holds many.

    `data` is what stands there, as its name's ending says compressed or not; None for a whole file.
    """

    file: Path
    where: Path
    data: bytes | None = None

    def text(self) -> bytes:
        """The battle's JSON. Raises TrajectoryError: `unreadable` or `too_big`."""
        packed_replay = self.where.name.lower().endswith(".gz")
        most = MAX_REPLAY_BYTES if packed_replay else MAX_UNPACKED_BYTES
        if self.data is None:
            return unpack(self.file, most)
        return decompress(self.where, self.data, most)


Records = Iterator[Record | TrajectoryError]
"""What cannot be read comes as the error that names it, and what is behind it still comes."""


def records(file: Path, at_most: int | None = None) -> Records:
    """The battles in one file, or `at_most` so many, from all over it where that takes no time.

    A file without any gives one TrajectoryError, `no_records`.
    """
    name = file.name.lower()
    read = next((READERS[ending] for ending in READERS if name.endswith(ending)), _json)
    found = islice(read(file, at_most), at_most)
    first = next(found, None) or TrajectoryError(file, "no_records", "there is no battle in it")
    yield from chain([first], found)


def holds_many(file: Path) -> bool:
    """Is this a file of many battles, by its name or by how it begins?"""
    if not file.name.lower().endswith(JSON_ENDINGS):
        return True
    return next(records(file, 1)).where != file


def data_files(
    paths: Iterable[Path], notes: list[str] | None = None, separate: Path | None = None
) -> Iterator[Path]:
    """The files among `paths`, and in folders and below all that may hold battles, each once.

    `notes` is extended by sentences on what was left out. Raises UserError where a path is not
    there or holds none, and where a link leads to the folder `separate`.
    """
    paths = list(paths)
    files = [path for path in paths if path.is_file()]
    folders = [path for path in paths if path not in files]
    walk = Walk(folders, _is_data_file, is_ours, separate, files)
    yield from walk
    for path in walk.empty:
        raise UserError(
            f"{path}: no .json.lz4 or .json file in it or below, nor any of "
            + ", ".join(ending for ending in READERS if ending not in EXTENSIONS)
        )
    if notes is not None:
        notes += walk.notes


def _is_data_file(name: str) -> bool:
    return is_trajectory_file(name, tuple(READERS))


def sample(paths: list[Path], size: int) -> Records:
    """About `size` battles from all over `paths`, without listing all that is there first.

    Raises UserError where a path is not there.
    """
    reached = Reached()
    for path in paths:
        share = max(1, size // len(paths))
        files = [path] if path.is_file() else some_files(path, _is_data_file, reached)
        files = list(islice(files, share))
        for file in files:
            yield from records(file, max(1, share // len(files)))


def _json(file: Path, at_most: int | None) -> Records:
    one = Record(file, file)
    if file.name.endswith(OWN_FILE):  # millions of them, and only their reader opens them
        yield one
        return
    try:
        if file.name.lower().endswith(".json") and not begins_list(_first_bytes(file)):
            yield one
            return
        packed = _open_packed(file)
    except OSError:
        yield one  # its reader says what is wrong with it
        return
    with packed:
        yield from _one_or_many(file, file, one, packed)


def _first_bytes(file: Path) -> bytes:
    """Of a file as it is on the disk. A stream takes three times as long, for millions of files."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
    try:
        return os.read(descriptor, HEAD)
    finally:
        os.close(descriptor)


def _one_or_many(
    file: Path, where: Path, one: Record | TrajectoryError, packed: IO[bytes]
) -> Records:
    """`one`, or the elements of the list where its text is a list."""
    try:
        stream = _unpacked(where.name, packed)
        head = stream.read(HEAD)
    except Exception:  # of three libraries; the reader of `one` says what is wrong with it
        head = b""
    if not begins_list(head):
        yield one
        return
    number = 0
    try:
        for number, text in enumerate(list_elements(head, stream, MAX_REPLAY_BYTES), 1):
            place = Path(f"{where}:{number}")
            if text is None:
                yield TrajectoryError(place, "too_big", f"more than {MAX_REPLAY_BYTES:,} bytes")
            else:
                yield Record(file, place, text)
    except Exception as error:
        yield _unreadable(Path(f"{where}:{number + 1}"), error) if number else one


def _lines(file: Path, at_most: int | None) -> Records:
    try:
        with _open(file) as stream:
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
        yield _unreadable(file, error)


def _members(file: Path, at_most: int | None) -> Records:
    try:
        for archive, member in _headers(file):
            where = Path(f"{file}/{member.name}")
            if not is_trajectory_file(where.name, JSON_ENDINGS):
                continue
            content = archive.extractfile(member)
            assert content is not None
            if member.size > MAX_UNPACKED_BYTES:
                too_big = TrajectoryError(where, "too_big", f"{member.size:,} bytes")
                yield from _one_or_many(file, where, too_big, content)
            else:
                data = content.read()
                yield from _one_or_many(file, where, Record(file, where, data), BytesIO(data))
    except Exception as error:  # tarfile lets through whatever its parsers stumble over
        yield _unreadable(file, error)


def archive_members(file: Path) -> Iterator[tuple[str, int, int]]:
    """The trajectory files in a `.tar` file: the name of each, its size, and where it begins.

    Only the headers are read. Raises UserError for a damaged archive.
    """
    try:
        for _, member in _headers(file):
            if is_trajectory_file(PurePosixPath(member.name).name):
                if member.issparse():
                    raise ValueError(f"{member.name} is in pieces (a sparse file)")
                yield member.name, member.size, member.offset_data
    except Exception as error:
        raise UserError(f"{_unreadable(file, error)}; download or pack it again") from None


def _headers(file: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with _open(file) as stream, tarfile.open(fileobj=_Careful(stream), mode="r:") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members = []  # it would keep them all
            if member.isreg():
                yield archive, member


class _Careful:
    """A stream that refuses to be read in pieces that only a forged header asks for."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_UNPACKED_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def _rows(file: Path, at_most: int | None) -> Records:
    parquet = need_pyarrow()
    try:
        _open_packed(file).close()
        metadata = parquet.read_metadata(file)
        names = [name for name in metadata.schema.to_arrow_schema().names if name in REPLAY_COLUMNS]
        if not names:
            yield TrajectoryError(file, "not_a_replay", "has no column of a replay")
            return
        # A text that a million rows share is kept once, not a million times.
        groups = range(metadata.num_row_groups)
        step = max(1, -(-len(groups) // at_most)) if at_most else 1
        share = max(1, at_most // len(groups[::step])) if at_most and groups else None
        with parquet.ParquetFile(file, read_dictionary=names) as table:
            for group in groups[::step]:
                size = metadata.row_group(group).total_byte_size
                if not 0 <= size <= min(MAX_ROW_GROUP, 2**26 + 1000 * file.stat().st_size):
                    where = Path(f"{file}:group {group}")
                    yield TrajectoryError(where, "too_big", f"unpacks to {size:,} bytes")
                    continue
                batches = table.iter_batches(64, row_groups=[group], columns=names)
                rows = ((batch, row) for batch in batches for row in range(batch.num_rows))
                for number, (batch, row) in enumerate(islice(rows, share), 1):
                    where = Path(f"{file}:group {group} row {number}")
                    try:
                        cells = {name: batch.column(name)[row] for name in names}
                        if sum(map(_size, cells.values())) > MAX_REPLAY_BYTES:
                            detail = f"more than {MAX_REPLAY_BYTES:,} bytes"
                            yield TrajectoryError(where, "too_big", detail)
                            continue
                        content = {name: cell.as_py() for name, cell in cells.items()}
                        yield Record(file, where, orjson.dumps(content, default=str))
                    except (ValueError, TypeError) as error:
                        yield _unreadable(where, error)
    except Exception as error:  # Arrow's errors have no common parent
        yield _unreadable(file, error)


def _size(cell: Any) -> int:
    """Bytes of a text in an Arrow column, without a copy of it; 0 for anything else."""
    value: Any = getattr(cell, "value", None)  # of one that is shared
    buffer = value.as_buffer() if hasattr(value, "as_buffer") else None
    return buffer.size if buffer is not None else 0


def need_pyarrow() -> Any:
    """`pyarrow.parquet`, or one line that says how to get it."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError('parquet needs pyarrow: pip install "metamon_ext[data]"') from None
    return pyarrow.parquet


@contextmanager
def _open(file: Path) -> Iterator[IO[bytes]]:
    with _open_packed(file) as packed:
        yield _unpacked(file.name, packed)


def _open_packed(file: Path) -> IO[bytes]:
    if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
        raise OSError("not a file")
    return file.open("rb")


def _unpacked(name: str, packed: IO[bytes]) -> IO[bytes]:
    """The text of a file with such a name."""
    stream: Any = packed
    if name.lower().endswith((".gz", ".tgz")):
        stream = gzip.GzipFile(fileobj=packed)
    elif name.lower().endswith(".lz4"):
        stream = lz4.frame.open(packed)
    text: IO[bytes] = stream
    return text


def _unreadable(where: Path, error: Exception) -> TrajectoryError:
    return TrajectoryError(where, "unreadable", why_unreadable(where, error))


READERS: dict[str, Callable[[Path, int | None], Records]] = {
    ".json": _json,
    ".json.lz4": _json,
    ".json.gz": _json,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".jsonl.gz": _lines,
    ".ndjson.gz": _lines,
    ".parquet": _rows,
    ".tar": _members,
    ".tar.gz": _members,
    ".tgz": _members,
    ".tar.lz4": _members,
}
"""A file's ending -> what reads it."""
