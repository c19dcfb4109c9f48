"""The journal of a download: which battles are written, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.data.audit import PROBE
from metamon_ext.data.audit_report import AuditReport, placeholder_message
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import StageJournal, atomic_write

JOURNAL, OLD_JOURNAL = ".download.jsonl", ".download.sqlite"
NOT_REQUESTED = frozenset(("low_rating", "other_format", "same_name"))
"""Why a valid battle is not kept."""


@dataclass(frozen=True)
class Prepared:
    """A record as a raw replay for `path` below the output folder, or the reason against it."""

    where: str
    path: Path = Path()
    data: bytes = b""
    reason: str = ""
    detail: str = ""


class DownloadJournal:
    """Writes battles, counts them, and remembers both for a resumed download.

    Raises:
        UserError: The journal is corrupt, or belongs to a download with other settings.
        RunStopped: The last `PROBE` records are no battles.
    """

    def __init__(self, output_dir: Path, settings: dict[str, Any]) -> None:
        self.output_dir = output_dir
        self.report = AuditReport()
        self._written: set[str] = set()
        self._invalid_in_a_row = self._empty_in_a_row = 0
        if (output_dir / OLD_JOURNAL).exists():
            raise UserError(f"{output_dir} is of an older version. Choose another folder.")
        self._journal = StageJournal(
            output_dir / JOURNAL, settings, lambda line: self._count(**line)
        )
        self._stop_without_battles()

    @property
    def kept(self) -> int:
        """The number of battles written."""
        return self.report.usable_files

    def add(self, record: Prepared) -> None:
        """Write a battle, or count why not."""
        name, reason, detail = record.path.stem, record.reason, record.detail
        if not reason and name in self._written:
            reason, detail = "same_name", f"as {name}"
        elif not reason:
            path = self.output_dir / record.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(record.data)
        line = {"where": record.where, "reason": reason, "detail": detail}
        line = {"name": name, "where": record.where} if not reason else line
        self._journal.add(line)
        self._count(**line)
        self._stop_without_battles()

    def _count(self, where: str, name: str = "", reason: str = "", detail: str = "") -> None:
        self.report.count(f"{where}: {detail}", reason or None)
        if not reason:
            self._written.add(name)
        is_battle = not reason or reason in NOT_REQUESTED
        self._invalid_in_a_row = 0 if is_battle else self._invalid_in_a_row + 1
        self._empty_in_a_row = self._empty_in_a_row + 1 if reason == "empty_log" else 0

    def _stop_without_battles(self) -> None:
        if self._invalid_in_a_row < PROBE:
            return
        self.close()
        if self._empty_in_a_row >= PROBE:
            raise RunStopped(placeholder_message(self._empty_in_a_row))
        reasons = ", ".join(f"{key} {n:,}" for key, n in self.report.reasons.most_common())
        raise RunStopped(
            f"The last {self._invalid_in_a_row:,} records are no battles ({reasons}). Stopped."
        )

    def close(self) -> None:
        """Close the journal file."""
        self._journal.close()
