"""Readers of battles in tar archives and parquet files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import orjson

from metamon_ext.data.replays.readers import (
    MAX_REPLAY_BYTES,
    Record,
    Records,
    one_or_many,
    open_packed,
    open_unpacked,
    unreadable,
)
from metamon_ext.data.trajectory import (
    EXTENSIONS,
    MAX_UNPACKED_BYTES,
    TrajectoryError,
    is_trajectory_file,
)
from metamon_ext.errors import UserError

JSON_ENDINGS = (*EXTENSIONS, ".json.gz")
MAX_ROW_GROUP = 2**31
"""Bytes. Parquet is uncompressed by the row group, and writers rarely make larger ones."""
REPLAY_COLUMNS = frozenset(
    """id format formatid log uploadtime rating winner
    battle_id gamemode text month_year elo""".split()  # noqa: SIM905
)
"""The columns that are read of a parquet file: those of Metamon's raw replays and PokéChamp's."""


def read_tar(file: Path, at_most: int | None) -> Records:
    """The battles in the members of a tar archive."""
    try:
        for archive, member in _headers(file):
            where = Path(f"{file}/{member.name}")
            if not is_trajectory_file(where.name, JSON_ENDINGS):
                continue
            content = archive.extractfile(member)
            assert content is not None
            if member.size > MAX_UNPACKED_BYTES:
                too_big = TrajectoryError(where, "too_big", f"{member.size:,} bytes")
                yield from one_or_many(file, where, too_big, content)
            else:
                data = content.read()
                yield from one_or_many(file, where, Record(file, where, data), BytesIO(data))
    except Exception as error:  # tarfile does not wrap the errors of its parsers
        yield unreadable(file, error)


def archive_members(file: Path) -> Iterator[tuple[str, int, int]]:
    """The name, size and offset of each trajectory file in a `.tar` file.

    Reads only the headers. Raises UserError for a corrupt archive.
    """
    try:
        for _, member in _headers(file):
            if is_trajectory_file(PurePosixPath(member.name).name):
                if member.issparse():
                    raise ValueError(f"{member.name} is a sparse file")
                yield member.name, member.size, member.offset_data
    except Exception as error:
        raise UserError(f"{unreadable(file, error)}. Download or pack it again.") from None


def _headers(file: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with open_unpacked(file) as stream:
        bounded: Any = _BoundedReads(stream)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            if archive.firstmember is None:  # type: ignore[attr-defined]
                return  # empty; asked for more, Python 3.10's tarfile seeks to before the start
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps them all
                if member.isreg():
                    yield archive, member


class _BoundedReads:
    """A stream that rejects the huge reads of a forged header."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_UNPACKED_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def read_rows(file: Path, at_most: int | None) -> Records:
    """The battles in a parquet file, one a row; `at_most` of them from all row groups."""
    parquet = need_pyarrow()
    try:
        open_packed(file).close()
        metadata = parquet.read_metadata(file)
        names = [name for name in metadata.schema.to_arrow_schema().names if name in REPLAY_COLUMNS]
        if not names:
            yield TrajectoryError(file, "not_a_replay", "no column of a replay")
            return
        # With read_dictionary, a text that many rows share is kept once in memory.
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
                        yield unreadable(where, error)
    except Exception as error:  # Arrow's errors have no common base class
        yield unreadable(file, error)


def _size(cell: Any) -> int:
    """Bytes of a text in an Arrow column, without copying it; 0 for anything else."""
    value: Any = getattr(cell, "value", None)  # of a dictionary scalar
    buffer = value.as_buffer() if hasattr(value, "as_buffer") else None
    return buffer.size if buffer is not None else 0


def need_pyarrow() -> Any:
    """Import `pyarrow.parquet`. Raises UserError that says how to install it."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            'Reading parquet needs pyarrow. Run pip install "metamon_ext[data]".'
        ) from None
    return pyarrow.parquet
