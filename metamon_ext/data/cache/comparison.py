"""What a benchmark compares: a cache, and reading the files of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same arrays of the same files, on one core.

    `trajectory` and `their_trajectory` draw a whole one at random and give its length in steps;
    `batch` and `their_batch` make a batch of slices and give its size; `read` is their reading of
    one file. `parts` are what `trajectory` or `batch` consists of, each to be timed by itself.
    """

    theirs: str
    trajectory: Callable[[], int]
    their_trajectory: Callable[[], int]
    batch: Callable[[], int]
    their_batch: Callable[[], int]
    read: Callable[[Path], object]
    parts: dict[str, Callable[[], object]]
