"""A data set as finished arrays in one large memory-mapped file.

`CACHE.mmap/` holds

    header           JSON: what the arrays depend on, and how far the other files count
    rows.bin         a structured row a state, trajectory after trajectory
    index.bin        an INDEX record a trajectory, in the same order
    names.bin        the names of the source files, one after the other
    set_aside.jsonl  the files that were not taken, with their reasons

All but the header only grow, and the header is replaced as a whole when what it counts has reached
the disk. So what a killed build left half-done is behind the end, where the next build cuts it
off, and whoever has a cache open while it grows goes on with what it held when it was opened.

The source files stay the truth: a cache that they or the definition of its arrays have moved away
from is refused, and can be deleted at any time.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import numpy as np
import orjson
from numpy.typing import NDArray

from metamon_ext.data.cache.files import Stamp
from metamon_ext.data.trajectory import Trajectory
from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write
from metamon_ext.settings import split_options

VERSION = 2
HEADER, ROWS, INDEX_FILE = "header", "rows.bin", "index.bin"
NAMES = "names.bin"
UNRATED = -(2**31)
UNRATED_COUNTS_AS = 1000
"""As in Metamon's filters."""
TOLD = 3
"""How many differences a refusal names."""

INDEX = np.dtype(
    [
        ("path", "<u8"),  # digest of the path below the source
        ("content", "<u8"),  # digest of the unpacked JSON
        ("place", "<i8"),  # with `size` (bytes) the file's Stamp when it was read
        ("date", "<i8"),  # s since 1970, of the battle, without a time zone
        ("rows", "<u4"),
        ("checksum", "<u4"),  # CRC-32 of the rows
        ("size", "<u4"),
        ("rating", "<i4"),
        ("folder", "<u4"),  # place in the header's `folders`
        ("format", "<u2"),  # place in the header's `formats`
        ("name", "<u2"),  # bytes of the path in names.bin
        ("won", "?"),
    ],
    align=True,
)


class Featurizer(Protocol):
    """Makes the rows of a trajectory, and gives them back as a learner takes them.

    It is sent to other processes, so it can be pickled.
    """

    @property
    def definition(self) -> dict[str, Any]:
        """All that the rows depend on, as JSON takes it."""

    @property
    def row(self) -> np.dtype[np.void]:
        """The type of a row."""

    def rows(self, path: Path, trajectory: Trajectory) -> NDArray[np.void]:
        """The rows of a trajectory. Raises TrajectoryError where it cannot be observed."""

    def restore(self, rows: NDArray[np.void]) -> dict[str, NDArray[Any]]:
        """The arrays that a learner is given, from the rows of one trajectory."""

    def reference(self, path: Path) -> dict[str, NDArray[Any]]:
        """The same arrays by the way that knows nothing of a cache."""


@dataclass
class Header:
    """What `header` holds.

    `source` is the folder that was read, `row` the type of a row as [name, dtype, shape] a field,
    `folders` the time stamp of every folder and archive below the source (0: to be listed again),
    and `index_checksum` the CRC-32 of index.bin. The counts say how much of each file is valid.
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
        """Of a cache that holds nothing yet."""
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
        return np.dtype([(name, dtype, tuple(shape)) for name, dtype, shape in self.row])

    @classmethod
    def read(cls, folder: Path) -> Header:
        """Raises UserError for what is no cache, or one of another version of its layout."""
        try:
            content = orjson.loads((folder / HEADER).read_bytes())
            header = cls(**content)
            if header.version == VERSION:
                assert header.row_dtype.itemsize > 0
                return header
        except OSError as error:
            raise UserError(f"{folder}: no cache ({error.strerror})") from None
        except (ValueError, TypeError, AssertionError) as error:
            raise UserError(f"{folder}: a damaged header ({error}); delete the cache") from None
        raise UserError(f"{folder}: a cache of another version; delete it and build it again")

    def refuse(self, folder: Path, definition: dict[str, Any], row: np.dtype[np.void]) -> None:
        """Raise UserError where the rows are not those of this definition and type."""
        ours: dict[str, Any] = orjson.loads(orjson.dumps(definition))
        told = _differences(self.definition, ours)
        if told:
            raise UserError(
                f"{folder}: a cache of something else: {'; '.join(told[:TOLD])}"
                + f"; and {len(told) - TOLD} more" * (len(told) > TOLD)
                + _other_reward(self.definition, ours)
                + "; build another one for this"
            )
        if self.row_dtype != row:
            raise UserError(f"{folder}: a damaged header (its rows are others); delete the cache")

    def write(self, folder: Path) -> None:
        with atomic_write(folder / HEADER) as temporary, open(temporary, "wb") as file:
            file.write(orjson.dumps(self))
            file.flush()
            os.fsync(file.fileno())


class Cache:
    """An open cache: `cache[i]` are the rows of trajectory i, a view of the file.

    A process that it is sent to (spawned or forked) maps the files for itself; nothing but pages
    that are looked at is ever in memory, and those only for as long as nothing else wants it.

    Raises UserError where the files are damaged or shorter than the header says. Whether the cache
    still fits its source is asked in `metamon_ext.data.cache.source`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = Header.read(folder)
        try:
            self._map()
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: damaged ({error}); delete the cache") from None
        sound = (
            zlib.crc32(self.index.view(np.uint8).data) == self.header.index_checksum
            and self.starts[-1] == self.header.rows
            and int(self.index["name"].sum(dtype=np.int64)) == self.header.names_bytes
            and (not len(self.index) or self.index["format"].max() < len(self.header.formats))
        )
        if not sound:
            raise UserError(f"{folder}: a damaged index; delete the cache and build it again")

    def _map(self) -> None:
        header = self.header
        self.index = _mapped(self.folder / INDEX_FILE, INDEX, header.trajectories)
        self.rows = _mapped(self.folder / ROWS, header.row_dtype, header.rows)
        _mapped(self.folder / NAMES, np.dtype("u1"), header.names_bytes)  # long enough?
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
        """The path of a trajectory's file below the source."""
        if self._name_ends is None:
            self._name_ends = np.cumsum(self.index["name"], dtype=np.int64)
        length = int(self.index["name"][i])
        with open(self.folder / NAMES, "rb") as file:
            file.seek(int(self._name_ends[i]) - length)
            return os.fsdecode(file.read(length))

    def path(self, i: int) -> Path:
        """The file that a trajectory was read from. In an archive there is none: this names it."""
        return Path(self.header.source, self.name(i))

    def stamp(self, i: int) -> Stamp:
        """Of the file that a trajectory was read from."""
        record = self.index[i]
        return Stamp(int(record["size"]), int(record["place"]))

    def is_whole(self, i: int) -> bool:
        """Do the rows of a trajectory have their checksum?"""
        return zlib.crc32(self[i].tobytes()) == self.index["checksum"][i]


def _other_reward(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """How to train with a cache's reward function, where it is another one."""
    there = theirs.get("reward_function")
    return "" if there == ours.get("reward_function") else f"; --reward_function {there} takes this"


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """In which settings two definitions differ, in words; names first, then what is in them."""
    told, inside = [], []
    for key in sorted(there.keys() | here.keys()):
        one, other = there.get(key), here.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inside += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            told.append(f"{prefix}{key} is {str(one)[:60]} there and {str(other)[:60]} here")
    return told + inside


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """The first `count` items of a file, read-only. Raises ValueError where it is too short."""
    if path.stat().st_size < count * dtype.itemsize:
        raise ValueError(f"{path.name} ends too early")
    if count == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r", shape=(count,)).view(np.ndarray)


@dataclass(frozen=True)
class CacheFilter:
    """Which trajectories of a cache are drawn from, in Metamon's terms; None is no limit.

    `formats` are names like gen1ou, `wins_losses_both` is "wins", "losses" or "both", an unrated
    battle counts as 1000, and a date limit is included.
    """

    formats: tuple[str, ...] | None = None
    wins_losses_both: str = "both"
    min_rating: int | None = None
    max_rating: int | None = None
    min_date: datetime | None = None
    max_date: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> CacheFilter:
        """Read `formats=gen1ou,gen2ou&min_rating=1500&min_date=2024-05-31`, a date as in ISO 8601.

        Raises UserError for what cannot be understood.
        """
        try:
            given = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
            unknown = given.keys() - {field.name for field in fields(cls)}
            if unknown:
                raise ValueError(f"no filter {unknown.pop()!r}")
            wanted: dict[str, Any] = dict(given)
            for name, value in given.items():
                if name == "formats":
                    wanted[name] = tuple(value.split(","))
                elif name.endswith("_rating"):
                    wanted[name] = int(value)
                elif name.endswith("_date"):
                    wanted[name] = datetime.fromisoformat(value)
            if wanted.get("wins_losses_both", "both") not in ("wins", "losses", "both"):
                raise ValueError("wins_losses_both is wins, losses or both")
            return cls(**wanted)
        except ValueError as error:
            names = ", ".join(field.name for field in fields(cls))
            raise UserError(f"filter {text!r}: {error}; known: {names}") from None

    def select(self, cache: Cache) -> NDArray[np.int64]:
        """The trajectories that pass, ascending. Raises UserError where none does."""
        index = cache.index
        keep = np.ones(len(index), dtype=bool)
        if self.formats is not None:
            names = cache.header.formats
            wanted = [names.index(name) for name in self.formats if name in names]
            keep &= np.isin(index["format"], wanted)
        if self.wins_losses_both != "both":
            keep &= index["won"] == (self.wins_losses_both == "wins")
        rating = np.where(index["rating"] == UNRATED, UNRATED_COUNTS_AS, index["rating"])
        if self.min_rating is not None:
            keep &= rating >= self.min_rating
        if self.max_rating is not None:
            keep &= rating <= self.max_rating
        if self.min_date is not None:
            keep &= index["date"] >= seconds(self.min_date)
        if self.max_date is not None:
            keep &= index["date"] <= seconds(self.max_date)
        chosen = np.flatnonzero(keep)
        if not len(chosen):
            raise UserError(f"{cache.folder}: none of {len(index):,} trajectories passes {self}")
        return chosen


def seconds(date: datetime) -> int:
    """Since 1970, of a date without a time zone."""
    return int(np.datetime64(date.replace(tzinfo=None), "s").astype(np.int64))


def split_name(text: str) -> tuple[Path, CacheFilter]:
    """`CACHE.mmap?min_rating=1500&formats=gen1ou` -> the folder and the filter."""
    folder, query = split_options(text)
    return Path(folder), CacheFilter.parse(query)
