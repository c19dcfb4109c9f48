"""Verify a cache against its source files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from metamon_ext.data.cache.arrays import Cache, Featurizer
from metamon_ext.data.cache.source import change_of, compare
from metamon_ext.terminal import track


@dataclass
class VerifyReport:
    """How many trajectories were checked, how many of them (and how many values) were compared
    with their files, and the problems, one line each."""

    trajectories: int = 0
    compared: int = 0
    values: int = 0
    faults: list[str] = field(default_factory=list)


def verify(
    folder: Path, featurizer: Featurizer, every: int = 100, show_progress: bool = False
) -> VerifyReport:
    """Check all checksums and source files of a cache, and compare every Nth trajectory.

    Raises UserError if the cache cannot be opened, or was built with another featurizer.
    """
    cache = Cache(folder)
    cache.header.require(folder, featurizer.definition, featurizer.row)
    report = VerifyReport()
    for i in track(range(len(cache)), "verifying", len(cache), show_progress):
        report.trajectories += 1
        problem = change_of(cache, i)
        if not cache.is_intact(i):
            problem = f"{cache.name(i)}: corrupt rows"
        elif not problem and i % every == 0:
            problem, values = compare(cache, i, featurizer)
            problem = problem and f"{cache.name(i)}: {problem}"
            report.compared += 1
            report.values += values
        if problem:
            report.faults.append(problem)
    return report
