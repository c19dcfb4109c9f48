"""Is a cache what its source files say, value for value?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from metamon_ext.data.cache.arrays import Cache, Featurizer
from metamon_ext.data.cache.source import changed, difference, with_reference
from metamon_ext.terminal import track


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
    cache.header.refuse(folder, featurizer.definition, featurizer.row)
    report = VerifyReport()
    for i in track(range(len(cache)), "verifying", len(cache), show_progress):
        report.trajectories += 1
        trouble = changed(cache, i)
        if not cache.is_whole(i):
            trouble = f"{cache.name(i)}: its rows are damaged"
        elif not trouble and i % every == 0:
            ours, theirs = with_reference(cache, i, featurizer)
            trouble = difference(ours, theirs)
            trouble = trouble and f"{cache.name(i)}: {trouble}"
            report.compared += 1
            report.values += sum(array.size for array in theirs.values())
        if trouble:
            report.faults.append(trouble)
    return report
