"""Is a cache what its source files say, value for value?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from metamon_ext.data.cache import Cache, Featurizer
from metamon_ext.data.cache_source import changed


@dataclass
class VerifyReport:
    """How many trajectories were checked against their checksums and the time stamps of their
    files, how many were compared value for value, and what is wrong, a line each."""

    trajectories: int = 0
    compared: int = 0
    values: int = 0
    faults: list[str] = field(default_factory=list)


def verify(
    folder: Path, featurizer: Featurizer, every: int = 100, show_progress: bool = False
) -> VerifyReport:
    """Check all of a cache, and compare every Nth trajectory with the loader that knows no cache.

    Raises UserError for a cache that cannot be opened or is one of something else.
    """
    cache = Cache(folder)
    cache.header.refuse(folder, featurizer.definition)
    report = VerifyReport()
    stderr = Console(stderr=True)
    hidden = not (show_progress and stderr.is_terminal)
    for i in track(range(len(cache)), "verifying", console=stderr, disable=hidden):
        report.trajectories += 1
        trouble = changed(cache, i)
        if not cache.is_whole(i):
            trouble = f"{cache.name(i)}: its rows are damaged"
        elif not trouble and i % every == 0:
            ours, theirs = featurizer.restore(cache[i]), featurizer.reference(cache.path(i))
            trouble = difference(ours, theirs)
            trouble = trouble and f"{cache.name(i)}: {trouble}"
            report.compared += 1
            report.values += sum(array.size for array in theirs.values())
        if trouble:
            report.faults.append(trouble)
    return report


def difference(ours: dict[str, NDArray[Any]], theirs: dict[str, NDArray[Any]]) -> str:
    """The first value in which arrays differ, in words; nothing where they are the same."""
    if ours.keys() != theirs.keys():
        return f"arrays {sorted(ours)} in the cache, {sorted(theirs)} from the loader"
    for name, array in ours.items():
        other = theirs[name]
        if (array.dtype, array.shape) != (other.dtype, other.shape):
            return (
                f"{name} is {array.dtype} {array.shape}, and {other.dtype} {other.shape} from "
                "the loader"
            )
        unequal = np.argwhere((array != other) & ~((array != array) & (other != other)))
        if len(unequal):
            place = tuple(unequal[0].tolist())
            return f"{name}{list(place)} is {array[place]}, and {other[place]} from the loader"
    return ""
