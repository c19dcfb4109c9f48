"""The two ways of loading data that a benchmark compares: a cache, and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Comparison:
    """Two ways of loading the same arrays on one core.

    Attributes:
        theirs: The name of the way without a cache.
        trajectory: Loads a random trajectory and returns its steps. So does `their_trajectory`.
        batch: Loads a batch of slices and returns its size. So does `their_batch`.
        read: Reads one file without a cache.
        parts: The parts of `trajectory` or `batch`, to be timed separately.
    """

    theirs: str
    trajectory: Callable[[], int]
    their_trajectory: Callable[[], int]
    batch: Callable[[], int]
    their_batch: Callable[[], int]
    read: Callable[[Path], object]
    parts: dict[str, Callable[[], object]]
