"""The files that contain battles, and how each kind is read.

`.json`, `.json.gz` and `.json.lz4` contain one battle, or a list of battles. `.jsonl` and `.ndjson`
(also `.gz`) have one a line, `.parquet` one a row, and `.tar` (also `.tar.gz`, `.tar.lz4`) one a
member, which may be a list too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from metamon_ext.data.replays.archives import JSON_ENDINGS, read_rows, read_tar
from metamon_ext.data.replays.readers import Records, read_json, read_lines
from metamon_ext.data.trajectory import EXTENSIONS, TrajectoryError, is_ours, is_trajectory_file
from metamon_ext.errors import UserError
from metamon_ext.walk import Visited, Walk, some_files

READERS: dict[str, Callable[[Path, int | None], Records]] = {
    **dict.fromkeys(JSON_ENDINGS, read_json),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), read_lines),
    ".parquet": read_rows,
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.lz4"), read_tar),
}
"""Ending of a file name -> its reader."""


def records(file: Path, at_most: int | None = None) -> Records:
    """The battles in a file, or a sample of `at_most`.

    A file without battles yields one TrajectoryError, `no_records`.
    """
    name = file.name.lower()
    read = next((READERS[ending] for ending in READERS if name.endswith(ending)), read_json)
    found = islice(read(file, at_most), at_most)
    first = next(found, None) or TrajectoryError(file, "no_records", "contains no battle")
    yield from chain([first], found)


def holds_many(file: Path) -> bool:
    """Whether a file contains many battles, by its name or its first record."""
    if not file.name.lower().endswith(JSON_ENDINGS):
        return True
    return next(records(file, 1)).where != file


def data_files(
    paths: Iterable[Path], notes: list[str] | None = None, separate: Path | None = None
) -> Iterator[Path]:
    """The files among `paths`, and all files below folders that may contain battles, each once.

    Args:
        notes: Extended by sentences on the skipped files.
        separate: A folder that must not be reached, such as the output.

    Raises:
        UserError: A path does not exist or has no data, or a link leads to `separate`.
    """
    paths = list(paths)
    files = [path for path in paths if path.is_file()]
    folders = [path for path in paths if path not in files]
    walk = Walk(folders, _is_data_file, is_ours, separate, files)
    yield from walk
    for path in walk.empty:
        others = ", ".join(ending for ending in READERS if ending not in EXTENSIONS)
        raise UserError(f"{path} contains no .json.lz4 or .json file, nor any of {others}.")
    if notes is not None:
        notes += walk.notes


def _is_data_file(name: str) -> bool:
    return is_trajectory_file(name, tuple(READERS))


def sample(paths: list[Path], size: int) -> Records:
    """About `size` battles from all `paths`, without listing large folders completely.

    Raises UserError if a path does not exist.
    """
    visited = Visited()
    for path in paths:
        share = max(1, size // len(paths))
        files = [path] if path.is_file() else some_files(path, _is_data_file, visited)
        files = list(islice(files, share))
        for file in files:
            yield from records(file, max(1, share // len(files)))
