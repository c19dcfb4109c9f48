"""Audit a dataset before training: validate each battle and count every problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.quarantine import Quarantine
from metamon_ext.data.replays.readers import Records
from metamon_ext.data.replays.sources import data_files, holds_many, records, sample
from metamon_ext.data.validation import ValidationResult, validate
from metamon_ext.terminal import track

PROBE = 1000
"""How many records are checked first: the dataset may consist of placeholders."""


def audit(
    paths: Iterable[Path],
    workers: int = 1,
    show_progress: bool = False,
    sample_size: int | None = None,
    quarantine: Path | None = None,
    forbid_usernames: bool = False,
) -> AuditReport:
    """Validate trajectories and raw replays.

    If a sample of `PROBE` records contains only placeholders, the report is on this sample.

    Args:
        paths: Files, archives, and folders of them.
        workers: Processes.
        sample_size: Validate about this many battles. None: all.
        quarantine: A folder to which invalid files are moved.
        forbid_usernames: Reject battles with real names or chat.

    Raises:
        UserError: A path does not exist or has no data, or the quarantine cannot be written.
    """
    paths = list(paths)
    notes: list[str] = []
    files = data_files(paths, notes, quarantine)
    aside = Quarantine(quarantine, paths) if quarantine is not None else None
    report = only_placeholders(map(validate, sample(paths, PROBE)))
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
        for result in validate_all(found, workers, show_progress, total):
            if forbid_usernames and result.reason is None and (result.people or result.chats):
                detail = ", ".join((*result.people, *["chat"] * result.chats))
                result = replace(result, reason="usernames", detail=detail)
            report.add(result)
            if aside is not None:
                aside.add(result)
    if not report.files:
        next(files, None)  # raises if there is nothing to read
    report.notes += notes
    return report


def only_placeholders(results: Iterable[ValidationResult]) -> AuditReport | None:
    """The report on a sample of placeholders, or None if there is any other record."""
    report = AuditReport(sampled=True)
    for result in results:
        report.add(result)
        if result.reason != "empty_log":
            return None
    return report if report.files else None


def validate_all(
    sources: Iterable[Any],
    workers: int = 1,
    show_progress: bool = False,
    total: int | None = None,
    validate: Callable[[Any], ValidationResult] = validate,
) -> Iterator[ValidationResult]:
    """Validate many battles in parallel, in order, and mark duplicates.

    Args:
        sources: What `validate` takes.
        total: The number of sources, if known, for the progress bar.

    Raises:
        RunStopped: A worker process died.
    """
    seen: set[bytes] = set()
    results = map_in_order(validate, sources, workers)
    for result in track(results, "validating", total, show_progress):
        if result.digest in seen:
            detail = "the same content as an earlier file"
            result = replace(result, reason="duplicate", detail=detail)
        elif result.digest:
            seen.add(result.digest)
        yield result
