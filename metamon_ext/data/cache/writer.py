"""Appends to a cache, commit by commit."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import orjson
from numpy.typing import NDArray

from metamon_ext.data.cache.arrays import (
    HEADER,
    INDEX,
    INDEX_FILE,
    NAMES,
    ROWS,
    UNRATED,
    Cache,
    Header,
)
from metamon_ext.data.cache.files import Stamp, folder_of
from metamon_ext.data.cache.filter import seconds
from metamon_ext.data.cache.source import path_digest, short_digest
from metamon_ext.data.trajectory import SET_ASIDE
from metamon_ext.data.validation import ValidationResult
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.files import LOCK, lock_folder

COMMIT_BYTES = 16 * 2**20
"""Bytes of rows between commits. A killed build loses at most these."""


class CacheWriter:
    """The only writer of a cache, which is locked until the block ends.

    If the block raises, everything since the last commit is removed.

    Args:
        fresh: The header of a new cache. An existing cache must have the same definition, source
            and rules.

    Raises:
        UserError: The folder is another cache, is not a cache, or is being built.
        RunStopped: The disk is full.
    """

    def __init__(self, folder: Path, fresh: Header) -> None:
        self.folder = folder
        self.header = fresh

    def __enter__(self) -> CacheWriter:
        with ExitStack() as stack:
            try:
                self._check_folder()
                stack.enter_context(lock_folder(self.folder))
                self._open()
            except OSError as error:
                raise cannot_write(self.folder, error) from None
            self._lock = stack.pop_all()
        return self

    def _check_folder(self) -> None:
        """A new cache needs a folder that is empty but for a lock, or a killed build."""
        if not self.folder.exists() or (self.folder / HEADER).exists():
            return
        if any(path.suffix != ".tmp" and path.name != LOCK for path in self.folder.iterdir()):
            raise UserError(f"{self.folder} is neither empty nor a cache. Choose another folder.")

    def _open(self) -> None:
        old = Header.read(self.folder) if (self.folder / HEADER).exists() else None
        if old and (old.trajectories or old.set_aside_bytes):  # an empty cache is replaced
            self._continue(old)
        else:
            self.header.write(self.folder)
        self._files = {name: (self.folder / name).open("ab") for name in self._sizes()}
        self._cut()
        self.cache = Cache(self.folder)
        self._contents = set(self.cache.index["content"].tolist())
        self._uncommitted = 0
        text = (self.folder / SET_ASIDE).read_bytes()
        self._set_aside = {line["name"]: line for line in map(orjson.loads, text.splitlines())}

    def _continue(self, old: Header) -> None:
        """Continue an existing cache with the same settings."""
        old.require(self.folder, self.header.definition, self.header.row_dtype)
        for what in ("source", "keep_cut_off"):
            theirs, ours = getattr(old, what), getattr(self.header, what)
            if theirs != ours:
                raise UserError(
                    f"{self.folder} was built with {what} {theirs}, not {ours}. "
                    "Choose another folder."
                )
        self.header = old

    def _sizes(self) -> dict[str, int]:
        header = self.header
        return {
            ROWS: header.rows * header.row_dtype.itemsize,
            INDEX_FILE: header.trajectories * INDEX.itemsize,
            NAMES: header.names_bytes,
            SET_ASIDE: header.set_aside_bytes,
        }

    def _cut(self) -> None:
        """Remove everything after the valid sizes of the header. Raises OSError."""
        for name, size in self._sizes().items():
            if (self.folder / name).stat().st_size > size:
                os.truncate(self.folder / name, size)

    def is_set_aside(self, name: str, stamp: Stamp) -> bool:
        """Whether this version of a file was set aside before."""
        line = self._set_aside.get(_readable(name))
        return line is not None and [line["size"], line["place"]] == [*stamp]

    def add(
        self,
        name: str,
        stamp: Stamp,
        result: ValidationResult,
        rows: NDArray[np.void] | None = None,
    ) -> None:
        """Append the rows of a source file, or the reason to set it aside."""
        content = short_digest(result.digest)
        if rows is not None and content in self._contents:
            result = replace(result, reason="duplicate", detail="as an earlier file")
        if rows is None or result.date is None or result.reason is not None:
            line = {"name": _readable(name), "size": stamp.size, "place": stamp.mark}
            line |= {"reason": result.reason, "detail": result.detail}
            self._set_aside[_readable(name)] = line
            self.header.set_aside_bytes += self._append(
                SET_ASIDE, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
            )
            return
        self._contents.add(content)
        data = rows.tobytes()
        record = np.zeros((), INDEX)
        record["path"], record["content"] = path_digest(name), content
        record["size"], record["mark"] = stamp
        record["rows"], record["checksum"] = len(rows), zlib.crc32(data)
        record["date"], record["won"] = seconds(result.date), result.outcome == "WIN"
        record["rating"] = UNRATED if result.rating is None else result.rating
        record["folder"] = _index_of(self.header.folders, folder_of(name))
        record["format"] = _index_of(self.header.formats, result.format)
        record["name"] = len(os.fsencode(name))
        self._append(ROWS, data)
        self._append(INDEX_FILE, record.tobytes())
        self.header.names_bytes += self._append(NAMES, os.fsencode(name))
        self.header.rows += len(rows)
        self.header.trajectories += 1
        self.header.index_checksum = zlib.crc32(record.tobytes(), self.header.index_checksum)
        if self._uncommitted > COMMIT_BYTES:
            self.commit()

    def _append(self, name: str, data: bytes) -> int:
        try:
            self._uncommitted += len(data)
            return self._files[name].write(data)
        except OSError as error:
            raise self._stopped(error) from None

    def commit(self) -> None:
        """Make everything that was added permanent."""
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            self.header.write(self.folder)
        except OSError as error:
            raise self._stopped(error) from None
        self._uncommitted = 0

    def _stopped(self, error: OSError) -> RunStopped:
        kept = Header.read(self.folder).trajectories
        return RunStopped(
            f"{self.folder}: {error.strerror}. {kept:,} trajectories are in the cache. Run the "
            "command again to resume."
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # the buffers that a full disk did not take
                file.close()
        if kind is not None:
            self.header = Header.read(self.folder)
            with contextlib.suppress(OSError):
                self._cut()
        self._lock.close()

    def reasons(self) -> dict[str, int]:
        """Reason -> number of files set aside, without those that are valid since."""
        lines = list(self._set_aside.values())
        taken = Cache(self.folder).index["path"]
        digests = np.array([path_digest(line["name"]) for line in lines], np.uint64)
        left = ~np.isin(digests, taken)
        counts = Counter(lines[i]["reason"] for i in np.flatnonzero(left).tolist())
        return dict(counts.most_common())


def _index_of(known: dict[str, int] | list[str], name: str) -> int:
    """The index of a name in a table of the header, to which new names are added."""
    if name not in known:
        if isinstance(known, dict):
            known[name] = 0
        else:
            known.append(name)
    return list(known).index(name)


def _readable(name: str) -> str:
    """A path as valid UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
