"""Is a set of battles fit to train on? Each is judged, and every fault counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.judge import Verdict, judge
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.quarantine import Quarantine
from metamon_ext.data.replays.sources import Records, data_files, holds_many, records, sample
from metamon_ext.terminal import track

PROBE = 1000
"""Records that are looked at before all others: are they nothing but placeholders?"""


def audit(
    paths: Iterable[Path],
    workers: int = 1,
    show_progress: bool = False,
    sample_size: int | None = None,
    quarantine: Path | None = None,
    forbid_usernames: bool = False,
) -> AuditReport:
    """Judge trajectories and raw replays: files, archives, and folders of them.

    Where a look at `PROBE` records from all over `paths` finds nothing but placeholders, that is
    the report. `sample_size` judges about so many battles and no more; `quarantine` is a folder
    that bad files are moved to; `forbid_usernames` makes real names, and chat, a fault. Raises
    UserError where a path is not there or holds nothing to judge, and for a quarantine that cannot
    be written.
    """
    paths = list(paths)
    notes: list[str] = []
    files = data_files(paths, notes, quarantine)
    aside = Quarantine(quarantine, paths) if quarantine is not None else None
    report = only_placeholders(map(judge, sample(paths, PROBE)))
    if report is not None:
        return report

    report = AuditReport(sampled=sample_size is not None)
    if sample_size is None:
        known = list(files)
        total = None if any(map(holds_many, known[:PROBE])) else len(known)
        found: Records = chain.from_iterable(map(records, known))
    else:
        total = sample_size
        found = islice(sample(paths, sample_size), sample_size)
    with aside or nullcontext():
        for verdict in judge_all(found, workers, show_progress, total):
            if forbid_usernames and verdict.reason is None and (verdict.people or verdict.chats):
                detail = ", ".join((*verdict.people, *["chat"] * verdict.chats))
                verdict = replace(verdict, reason="usernames", detail=detail)
            report.add(verdict)
            if aside is not None:
                aside.add(verdict)
    if not report.files:
        next(files, None)  # says so where there is nothing to read at all
    report.notes += notes
    return report


def only_placeholders(verdicts: Iterable[Verdict]) -> AuditReport | None:
    """The report on a sample of placeholders; None at the first record that is something else."""
    report = AuditReport(sampled=True)
    for verdict in verdicts:
        report.add(verdict)
        if verdict.reason != "empty_log":
            return None
    return report if report.files else None


def judge_all(
    sources: Iterable[Any],
    workers: int = 1,
    show_progress: bool = False,
    total: int | None = None,
    judge: Callable[[Any], Verdict] = judge,
) -> Iterator[Verdict]:
    """Judge what `judge` takes on `workers` processes, in order, finding duplicates among it.

    `total` is how many there are, where that is known. Raises RunStopped when a process dies.
    """
    seen: set[bytes] = set()
    verdicts = map_in_order(judge, sources, workers)
    for verdict in track(verdicts, "judging", total, show_progress):
        if verdict.digest in seen:
            detail = "the same content as a file before it"
            verdict = replace(verdict, reason="duplicate", detail=detail)
        elif verdict.digest:
            seen.add(verdict.digest)
        yield verdict
