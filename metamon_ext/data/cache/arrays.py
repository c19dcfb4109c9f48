"""The format of a cache: a dataset as arrays that are ready for training, memory-mapped.

`CACHE.mmap/` contains

    header           JSON: what the arrays depend on, and the valid size of the other files
    rows.bin         a structured row a state, trajectory after trajectory
    index.bin        an INDEX record a trajectory, in the same order
    names.bin        the names of the source files, concatenated
    set_aside.jsonl  the rejected files, with their reasons

All files but the header only grow. The header is replaced atomically after the data has reached
the disk. Whatever a killed build left after the valid size is ignored, and removed by the next
build. A process that has the cache open while it grows keeps its view.

The cache is rejected if the source files, or the spaces it was built for, have changed. It can be
deleted at any time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from metamon_ext.data.cache.files import Stamp
from metamon_ext.data.trajectory import Trajectory
from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write

VERSION = 2
HEADER, ROWS, INDEX_FILE = "header", "rows.bin", "index.bin"
NAMES = "names.bin"
UNRATED = -(2**31)
DIFFERENCES_NAMED = 3

INDEX = np.dtype(
    [
        ("path", "<u8"),  # digest of the path below the source
        ("content", "<u8"),  # digest of the uncompressed JSON
        ("mark", "<i8"),  # with `size` the Stamp of the file
        ("date", "<i8"),  # of the battle, in s since 1970, without a time zone
        ("rows", "<u4"),
        ("checksum", "<u4"),  # CRC-32 of the rows
        ("size", "<u4"),  # bytes
        ("rating", "<i4"),
        ("folder", "<u4"),  # index into the header's `folders`
        ("format", "<u2"),  # index into the header's `formats`
        ("name", "<u2"),  # bytes of the path in names.bin
        ("won", "?"),
    ],
    align=True,
)


class Featurizer(Protocol):
    """Converts trajectories to rows, and rows to the arrays of a learner. Must be picklable."""

    @property
    def definition(self) -> dict[str, Any]:
        """Whatever the rows depend on, as JSON."""

    @property
    def row(self) -> np.dtype[np.void]:
        """The type of a row."""

    def rows(self, path: Path, trajectory: Trajectory) -> NDArray[np.void]:
        """The rows of a trajectory. Raises TrajectoryError if it cannot be observed."""

    def restore(self, rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """The arrays for the learner, from the rows of one trajectory."""

    def reference(self, path: Path) -> dict[str, NDArray[Any]]:
        """The same arrays from the file, without a cache."""


@dataclass
class Header:
    """The content of `header`.

    Attributes:
        source: The folder of the source files.
        row: The type of a row, as [name, dtype, shape] of each field.
        folders: Folder or archive below the source -> time stamp (0: to be listed again).
        index_checksum: CRC-32 of index.bin.
    """

    definition: dict[str, Any]
    source: str
    keep_cut_off: bool
    row: list[list[Any]]
    folders: dict[str, int]
    formats: list[str]
    trajectories: int = 0
    rows: int = 0
    names_bytes: int = 0
    set_aside_bytes: int = 0
    index_checksum: int = 0
    version: int = VERSION

    @classmethod
    def empty(cls, source: Path, keep_cut_off: bool, featurizer: Featurizer) -> Header:
        """The header of an empty cache."""
        row = featurizer.row
        assert row.names and row.fields
        types = [(name, row.fields[name][0]) for name in row.names]
        return cls(
            definition=orjson.loads(orjson.dumps(featurizer.definition)),
            source=str(source),
            keep_cut_off=keep_cut_off,
            row=[[name, one.base.str, list(one.shape)] for name, one in types],
            folders={},
            formats=[],
        )

    @property
    def row_dtype(self) -> np.dtype[np.void]:
        """The type of a row."""
        return np.dtype([(name, dtype, tuple(shape)) for name, dtype, shape in self.row])

    @classmethod
    def read(cls, folder: Path) -> Header:
        """Read the header. Raises UserError if it is missing, corrupt or of another version."""
        try:
            header = cls(**orjson.loads((folder / HEADER).read_bytes()))
            if header.version == VERSION:
                assert header.row_dtype.itemsize > 0
                return header
        except OSError as error:
            raise UserError(f"{folder} is not a cache ({error.strerror}).") from None
        except (ValueError, TypeError, AssertionError) as error:
            raise _corrupt(folder, f"header ({error})") from None
        raise UserError(f"{folder} is a cache of another version. Delete the cache and rebuild it.")

    def require(self, folder: Path, definition: dict[str, Any], row: np.dtype[np.void]) -> None:
        """Raise UserError unless the rows have this definition and type."""
        ours: dict[str, Any] = orjson.loads(orjson.dumps(definition))
        found = _differences(self.definition, ours)
        if found:
            more = len(found) - DIFFERENCES_NAMED
            reward = self.definition.get("reward_function")
            hint = f" or pass --reward_function {reward}"
            raise UserError(
                f"{folder} was built with {'; '.join(found[:DIFFERENCES_NAMED])}"
                + (f"; and {more} more differences" if more > 0 else "")
                + ". Build another cache"
                + (hint if reward != ours.get("reward_function") else "")
                + "."
            )
        if self.row_dtype != row:
            raise _corrupt(folder, "header: row type does not match")

    def write(self, folder: Path) -> None:
        """Write the header atomically, and wait for the disk."""
        with atomic_write(folder / HEADER) as temporary, open(temporary, "wb") as file:
            file.write(orjson.dumps(self))
            file.flush()
            os.fsync(file.fileno())


class Cache:
    """An open cache: `cache[i]` are the rows of trajectory i, a view of the mapped file.

    A process that receives a pickled cache maps the files again. Only the pages in use are in
    memory. `metamon_ext.data.cache.source.open_cache` also checks the source files.

    Raises:
        UserError: The files are corrupt, or shorter than the header says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = Header.read(folder)
        try:
            self._map()
        except (OSError, ValueError) as error:
            raise _corrupt(folder, f"file ({error})") from None
        valid = (
            zlib.crc32(self.index.view(np.uint8).data) == self.header.index_checksum
            and self.starts[-1] == self.header.rows
            and int(self.index["name"].sum(dtype=np.int64)) == self.header.names_bytes
            and (not len(self.index) or self.index["format"].max() < len(self.header.formats))
        )
        if not valid:
            raise _corrupt(folder, "index")

    def _map(self) -> None:
        header = self.header
        self.index = _mapped(self.folder / INDEX_FILE, INDEX, header.trajectories)
        self.rows = _mapped(self.folder / ROWS, header.row_dtype, header.rows)
        _mapped(self.folder / NAMES, np.dtype("u1"), header.names_bytes)  # checks its size
        self._name_ends: NDArray[np.int64] | None = None
        self.starts = np.zeros(len(self.index) + 1, dtype=np.int64)
        np.cumsum(self.index["rows"], out=self.starts[1:])

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "header": self.header}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> NDArray[np.void]:
        return self.rows[self.starts[i] : self.starts[i + 1]]

    def name(self, i: int) -> str:
        """The path of trajectory i below the source."""
        if self._name_ends is None:
            self._name_ends = np.cumsum(self.index["name"], dtype=np.int64)
        length = int(self.index["name"][i])
        with open(self.folder / NAMES, "rb") as file:
            file.seek(int(self._name_ends[i]) - length)
            return os.fsdecode(file.read(length))

    def names(self) -> Iterator[str]:
        """The path of every trajectory below the source, in order."""
        with open(self.folder / NAMES, "rb") as file:
            for length in self.index["name"].tolist():
                yield os.fsdecode(file.read(length))

    def path(self, i: int) -> Path:
        """The file of trajectory i. For a member of an archive, a path that does not exist."""
        return Path(self.header.source, self.name(i))

    def stamp(self, i: int) -> Stamp:
        """The stamp of the file of trajectory i when it was read."""
        record = self.index[i]
        return Stamp(int(record["size"]), int(record["mark"]))

    def is_intact(self, i: int) -> bool:
        """Whether the rows of trajectory i match their checksum."""
        return zlib.crc32(self[i].tobytes()) == self.index["checksum"][i]


def _corrupt(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: corrupt {what}. Delete the cache and rebuild it.")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings in which two definitions differ. Nested ones come last."""
    found, nested = [], []
    for key in sorted(old.keys() | new.keys()):
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            nested += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found.append(f"{prefix}{key} {str(one)[:60]}, not {str(other)[:60]}")
    return found + nested


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` items of a file, read-only. Raises ValueError if it is too short."""
    if path.stat().st_size < count * dtype.itemsize:
        raise ValueError(f"{path.name} ends too early")
    if count == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(count,)).view(np.ndarray)
