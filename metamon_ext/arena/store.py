"""The results of a run: one SQLite file, a battle in it once or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from metamon_ext.arena.battle import TURN_LIMIT, BattleResult
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.database import DatabaseLocked, connect, reading, wait_while_locked
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder

T = TypeVar("T")


@dataclass(frozen=True)
class BattleRow(BattleResult):
    """A result together with what was played. Who sat where is in `p1` and `p2`."""

    battle_format: str
    p1: str
    p2: str
    pair: int
    mirrored: int
    seed: str
    p1_team: str
    p2_team: str

    @classmethod
    def of(cls, spec: BattleSpec, result: BattleResult) -> BattleRow:
        return cls(
            **asdict(result),
            battle_format=spec.battle_format,
            p1=spec.p1,
            p2=spec.p2,
            pair=spec.pair,
            mirrored=spec.mirrored,
            seed=f"{spec.seed:016x}",
            p1_team=spec.p1_team.name,
            p2_team=spec.p2_team.name,
        )


_COLUMNS = [field.name for field in fields(BattleRow)]


class ResultStore:
    """Results by battle key, and the settings that they were played under.

    A new file is made where there is none. An existing one is continued with `resume`, provided
    that it was made under the same settings; without `resume` it is refused. Its folder is locked
    until `close`: one run writes it at a time.

    Raises:
        UserError: the settings differ, the file is not ours or is locked, another run uses the
            folder, or the folder cannot be written.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool) -> None:
        self.path = path
        if path.exists() and not resume:
            raise UserError(f"{path} holds a run already: add --resume, or choose another folder")
        with ExitStack() as stack:
            stack.enter_context(lock_folder(path.parent))
            try:
                self._db = stack.enter_context(closing(connect(path, create=True)))
                self._prepare(settings)
            except sqlite3.OperationalError as error:
                raise UserError(f"cannot write {path} ({error}): choose another folder") from None
            except sqlite3.DatabaseError:
                raise UserError(f"{path} is not a results file: choose another folder") from None
            self._open = stack.pop_all()

    def _do(self, action: Callable[[], T]) -> T:
        """What `action` returns on the open file. Raises RunStopped where it fails."""
        try:
            return wait_while_locked(self.path, self._db, action)
        except DatabaseLocked as error:
            raise RunStopped(f"{error} (play with --resume)") from None
        except sqlite3.DatabaseError as error:
            raise RunStopped(
                f"cannot write {self.path} ({error}): make room, then run it again "
                "(play with --resume)"
            ) from None

    def _prepare(self, settings: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        facts = {"created": now, "settings": json.dumps(settings, sort_keys=True)}
        wait_while_locked(self.path, self._db, lambda: self._create(facts))
        recorded, settings = json.loads(self._fact("settings")), json.loads(facts["settings"])
        for name in sorted(recorded.keys() | settings.keys()):
            if recorded.get(name) != settings.get(name):
                raise UserError(
                    f"{self.path} was played with {name} = {recorded.get(name)!r}, "
                    f"not {settings.get(name)!r}: use the same, or choose another folder"
                )

    def _create(self, facts: dict[str, str]) -> None:
        with self._db:
            self._db.execute("CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT)")
            columns = ", ".join(_COLUMNS[1:])
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS battles (key TEXT PRIMARY KEY, {columns})"
            )
            self._db.executemany("INSERT OR IGNORE INTO run VALUES (?, ?)", facts.items())

    def _fact(self, name: str) -> str:
        query = "SELECT value FROM run WHERE name = ?"
        found = wait_while_locked(self.path, self._db, lambda: self._db.execute(query, (name,)))
        return found.fetchone()[0]

    @property
    def created(self) -> datetime:
        """When the run was begun, in UTC: the date of everything that it writes."""
        return datetime.fromisoformat(self._fact("created")).replace(tzinfo=None)

    def missing(self, specs: Iterable[BattleSpec]) -> list[BattleSpec]:
        """The battles that have no result yet."""
        known = {key for (key,) in self._do(lambda: self._db.execute("SELECT key FROM battles"))}
        return [spec for spec in specs if spec.key not in known]

    def add(self, spec: BattleSpec, result: BattleResult) -> None:
        """Keep a result. Raises RunStopped where the disk is full, or the file stays locked."""
        row = astuple(BattleRow.of(spec, result))
        marks = ", ".join("?" * len(row))
        self._change(f"INSERT OR IGNORE INTO battles ({', '.join(_COLUMNS)}) VALUES ({marks})", row)

    def forget_trouble(self) -> int:
        """Drop the results of battles that trouble has ended, so that they are played again.

        A battle over the turn limit would end so again and stays. Returns how many were dropped.
        """
        return self._change(
            "DELETE FROM battles WHERE outcome = 'unfinished' AND reason NOT LIKE ?",
            (f"{TURN_LIMIT}%",),
        )

    def _change(self, statement: str, values: tuple[Any, ...]) -> int:
        """Commit one change. Returns how many rows it changed."""

        def change() -> int:
            with self._db:
                return self._db.execute(statement, values).rowcount

        return self._do(change)

    def rows(self) -> Iterator[BattleRow]:
        """All results, in the order of their keys."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM battles ORDER BY key"
        return (BattleRow(*row) for row in self._do(lambda: self._db.execute(query).fetchall()))

    def close(self) -> None:
        """Close the file and release the folder."""
        self._open.close()


def read_results(path: Path) -> list[BattleRow]:
    """The results of a finished or running run. Raises UserError if there is no such file."""
    query = f"SELECT {', '.join(_COLUMNS)} FROM battles ORDER BY key"
    return [BattleRow(*row) for row in query_results(path, query)]


def query_results(path: Path, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows that an SQL query gets from `battles`, which has the fields of a `BattleRow`.

    Raises UserError if there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there are no results at {path}")
    with reading(path) as db:
        yield from wait_while_locked(path, db, lambda: db.execute(query))
