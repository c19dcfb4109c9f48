"""The one process that may change a cache: appending to it, commit by commit."""

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
    seconds,
)
from metamon_ext.data.cache.files import Stamp, folder_of
from metamon_ext.data.cache.source import path_digest
from metamon_ext.data.judge import Verdict
from metamon_ext.data.trajectory import SET_ASIDE
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.files import LOCK, lock_folder

COMMIT_BYTES = 16 * 2**20
"""A killed build loses at most so many bytes of rows."""


class CacheWriter:
    """A cache that is being built, locked against everybody else who would build it.

    `fresh` is the header of a new cache; one that is there must agree with it in definition,
    source and rules. What is added counts from the next commit on. A block that ends badly takes
    everything since the last commit off the disk again.

    Raises UserError for a folder that is no such cache or is being built by somebody else, and
    RunStopped when the disk is full.
    """

    def __init__(self, folder: Path, fresh: Header) -> None:
        self.folder = folder
        self.header = fresh

    def __enter__(self) -> CacheWriter:
        with ExitStack() as stack:
            try:
                self._refuse_foreign()
                stack.enter_context(lock_folder(self.folder))
                self._open()
            except OSError as error:
                raise cannot_write(self.folder, error) from None
            self._lock = stack.pop_all()
        return self

    def _refuse_foreign(self) -> None:
        """A folder without a header may hold nothing but what a killed build or a lock left."""
        if not self.folder.exists() or (self.folder / HEADER).exists():
            return
        if any(path.suffix != ".tmp" and path.name != LOCK for path in self.folder.iterdir()):
            raise UserError(
                f"{self.folder} holds something that is no cache: name another --output"
            )

    def _open(self) -> None:
        old = Header.read(self.folder) if (self.folder / HEADER).exists() else None
        if old and (old.trajectories or old.set_aside_bytes):  # of nothing: it may become anything
            self._take_over(old)
        else:
            self.header.write(self.folder)
        self._files = {name: (self.folder / name).open("ab") for name in self._sizes()}
        self._cut()
        self.cache = Cache(self.folder)
        self._contents = set(self.cache.index["content"].tolist())
        self._uncommitted = 0
        text = (self.folder / SET_ASIDE).read_bytes()
        self._set_aside = {line["name"]: line for line in map(orjson.loads, text.splitlines())}

    def _take_over(self, old: Header) -> None:
        """Go on with the cache that is there, if it is of the same kind."""
        old.refuse(self.folder, self.header.definition, self.header.row_dtype)
        for what in ("source", "keep_cut_off"):
            theirs, ours = getattr(old, what), getattr(self.header, what)
            if theirs != ours:
                raise UserError(
                    f"{self.folder}: built with {what} {theirs}, not {ours}: name another --output"
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
        """Take off what the header does not count. Raises OSError."""
        for name, size in self._sizes().items():
            if (self.folder / name).stat().st_size > size:
                os.truncate(self.folder / name, size)

    def is_set_aside(self, name: str, stamp: Stamp) -> bool:
        """Was this file, as it is, set aside before?"""
        line = self._set_aside.get(_readable(name))
        return line is not None and Stamp(line["size"], line["place"]) == stamp

    def add(
        self, name: str, stamp: Stamp, verdict: Verdict, rows: NDArray[np.void] | None = None
    ) -> None:
        """Append the rows of a file of the source, or the reason why it has none."""
        content = int.from_bytes(verdict.digest[:8], "little")
        if rows is not None and content in self._contents:
            verdict = replace(verdict, reason="duplicate", detail="as a file before it")
        if rows is None or verdict.date is None or verdict.reason is not None:
            line = {"name": _readable(name), **stamp._asdict()}
            line |= {"reason": verdict.reason, "detail": verdict.detail}
            self._set_aside[_readable(name)] = line
            self.header.set_aside_bytes += self._append(
                SET_ASIDE, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
            )
            return
        self._contents.add(content)
        data = rows.tobytes()
        record = np.zeros((), INDEX)
        record["path"], record["content"] = path_digest(name), content
        record["size"], record["place"] = stamp
        record["rows"], record["checksum"] = len(rows), zlib.crc32(data)
        record["date"], record["won"] = seconds(verdict.date), verdict.outcome == "WIN"
        record["rating"] = UNRATED if verdict.rating is None else verdict.rating
        record["folder"] = _place(self.header.folders, folder_of(name))
        record["format"] = _place(self.header.formats, verdict.format)
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
        """From here on everything that was added counts."""
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
            f"{self.folder}: {error.strerror}; {kept:,} trajectories are in it, and the same "
            "command goes on from there"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk did not take
                file.close()
        if kind is not None:
            self.header = Header.read(self.folder)
            with contextlib.suppress(OSError):
                self._cut()
        self._lock.close()

    def reasons(self) -> dict[str, int]:
        """How many files are set aside for which reason; not those that were mended since."""
        lines = list(self._set_aside.values())
        taken = Cache(self.folder).index["path"]
        digests = np.array([path_digest(line["name"]) for line in lines], np.uint64)
        left = ~np.isin(digests, taken)
        counts = Counter(lines[i]["reason"] for i in np.flatnonzero(left).tolist())
        return dict(counts.most_common())


def _place(known: dict[str, int] | list[str], name: str) -> int:
    """Where a name comes in a header's table, which gets it if it is new."""
    if name not in known:
        if isinstance(known, dict):
            known[name] = 0
        else:
            known.append(name)
    return list(known).index(name)


def _readable(name: str) -> str:
    """A path as JSON takes it, whatever its bytes are."""
    return os.fsencode(name).decode(errors="backslashreplace")
