"""What a download has written and left out so far, so that a killed one goes on."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.data.audit import PROBE
from metamon_ext.data.audit_report import AuditReport, placeholder_words
from metamon_ext.database import connect
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import atomic_write

JOURNAL = ".download.sqlite"
COMMIT_EVERY = 200
NOT_WANTED = frozenset(("low_rating", "other_format", "same_name"))
"""Why a battle that could be read is not kept."""


@dataclass(frozen=True)
class Prepared:
    """A record's raw replay at `path` below the output, or the reason why there is none."""

    where: str
    path: Path = Path()
    data: bytes = b""
    reason: str = ""
    detail: str = ""


class Journal:
    """What a download has done so far, in one SQLite file that a killed run leaves consistent.

    A battle is written before it is counted, so that what was not counted is written again. Raises
    UserError where it cannot be read, or `settings` are not those that it began with.
    """

    def __init__(self, output_dir: Path, settings: dict[str, Any]) -> None:
        self.output_dir = output_dir
        file = output_dir / JOURNAL
        try:
            self._database = connect(file, create=True)
        except sqlite3.Error as error:
            raise UserError(f"{file} is damaged ({error}): use another folder") from None
        try:
            self._database.isolation_level = None  # transactions begin and end where we say
            self._database.execute("BEGIN EXCLUSIVE")
            self._database.execute("CREATE TABLE IF NOT EXISTS kept (id TEXT PRIMARY KEY)")
            self._database.execute("CREATE TABLE IF NOT EXISTS state (json TEXT)")
            row = self._database.execute("SELECT json FROM state").fetchone()
        except sqlite3.Error as error:
            self._database.close()
            raise UserError(f"{file} is damaged ({error}): use another folder") from None
        fresh: dict[str, Any] = {"settings": settings, "reasons": {}, "files": 0}
        state = orjson.loads(row[0]) if row else fresh
        if state["settings"] != settings:
            self._database.close()
            changed = [key for key in settings if settings[key] != state["settings"].get(key)]
            raise UserError(
                f"{output_dir} holds a download with another {' and '.join(changed)}: "
                "use another folder"
            )
        self.settings = settings
        self.barren: int = state.get("barren", 0)  # records in a row that are no battles
        self.empty: int = state.get("empty", 0)  # of these, placeholders
        self.report = AuditReport(files=state["files"], reasons=Counter(state["reasons"]))
        self._refuse_barren()

    @property
    def kept(self) -> int:
        """Battles written."""
        return self.report.usable_files

    def take(self, result: Prepared) -> None:
        """Write one battle, or count why not. Raises RunStopped when there are none for long."""
        reason, detail = result.reason, result.detail
        if not reason and self._known(result.path.stem):
            reason, detail = "same_name", f"as {result.path.stem}"
        elif not reason:
            path = self.output_dir / result.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(result.data)
            self._database.execute("INSERT INTO kept VALUES (?)", (result.path.stem,))
        self.report.count(f"{result.where}: {detail}", reason or None)
        is_battle = not reason or reason in NOT_WANTED
        self.barren = 0 if is_battle else self.barren + 1
        self.empty = self.empty + 1 if reason == "empty_log" else 0
        if self.report.files % COMMIT_EVERY == 0 or self.barren >= PROBE:
            self.commit()
        self._refuse_barren()

    def _refuse_barren(self) -> None:
        if self.barren < PROBE:
            return
        self.close()
        if self.empty >= PROBE:
            raise RunStopped(placeholder_words(self.empty))
        reasons = ", ".join(f"{key} {n:,}" for key, n in self.report.reasons.most_common())
        raise RunStopped(f"the last {self.barren:,} records are no battles ({reasons}): stopped")

    def _known(self, battle: str) -> bool:
        question = "SELECT 1 FROM kept WHERE id = ?"
        return self._database.execute(question, (battle,)).fetchone() is not None

    def commit(self) -> None:
        """From here a killed run goes on."""
        state = {
            "settings": self.settings,
            "files": self.report.files,
            "reasons": dict(self.report.reasons),
            "barren": self.barren,
            "empty": self.empty,
        }
        self._database.execute("DELETE FROM state")
        self._database.execute("INSERT INTO state VALUES (?)", (orjson.dumps(state).decode(),))
        self._database.execute("COMMIT")
        self._database.execute("BEGIN EXCLUSIVE")

    def close(self) -> None:
        """Forget what was not committed."""
        self._database.close()
