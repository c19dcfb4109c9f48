"""The battles of a run: one SQLite file that only grows, with a battle in it once or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from metamon_ext.arena.battle import OVER_TURN_LIMIT, BattleResult
from metamon_ext.arena.rows import (
    BATTLE_COLUMNS,
    CONDITION_COLUMNS,
    RESULT_COLUMNS,
    SCHEMA,
    BattleRow,
    Row,
    is_old,
    players_of,
    rows_of,
    tables_of,
)
from metamon_ext.arena.schedule import BattleSpec, Player
from metamon_ext.database import DatabaseLocked, connect, wait_while_locked
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder

T = TypeVar("T")


class ResultStore:
    """The battles of a run, in `results.sqlite` or another file, made where there is none.

    It can gain players, pairings and battles at any time. Its folder is locked until `close` (or
    the end of a `with` block): one run writes it at a time.

    Raises:
        UserError: the file is not ours, of an older version or locked, another run uses the folder,
            or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ids: dict[Any, int] = {}
        with ExitStack() as stack:
            stack.enter_context(lock_folder(path.parent))
            try:
                self._db = stack.enter_context(closing(connect(path, create=True)))
                wait_while_locked(path, self._db, self._create)
            except sqlite3.OperationalError as error:
                if "disk" in str(error):
                    raise RunStopped(_no_room(path, error)) from None
                raise UserError(f"Cannot write {path} ({error}): choose another folder") from None
            except sqlite3.DatabaseError:
                raise UserError(f"{path} is not a results file: choose another folder") from None
            self._open = stack.pop_all()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the folder."""
        self._open.close()

    def _create(self) -> None:
        with self._db:
            if is_old(self._db):
                raise UserError(
                    f"{self.path} was written by metamon_ext 0.1. It can be read and rated, but "
                    "not added to: choose another folder."
                )
            if not tables_of(self._db):
                self._db.executescript(f"BEGIN; {SCHEMA}")
                now = datetime.now(timezone.utc).isoformat(timespec="seconds")
                self._db.execute("INSERT INTO run VALUES ('created', ?)", (now,))
            elif not {"run", "players", "conditions", "battles"} <= tables_of(self._db):
                raise sqlite3.DatabaseError("other tables")

    def _do(self, action: Callable[[], T]) -> T:
        """Return what `action` returns on the open file. Raises RunStopped where it fails."""
        try:
            return wait_while_locked(self.path, self._db, action)
        except DatabaseLocked as error:
            raise RunStopped(f"{error} (the same command resumes the run)") from None
        except sqlite3.DatabaseError as error:
            raise RunStopped(_no_room(self.path, error)) from None

    def _all(self, query: str, values: Row = ()) -> list[Row]:
        return self._do(lambda: self._db.execute(query, values).fetchall())

    def _change(self, statement: str, values: Row) -> int:
        """Commit one change. Returns how many rows it changed."""

        def change() -> int:
            with self._db:
                return self._db.execute(statement, values).rowcount

        return self._do(change)

    @property
    def created(self) -> datetime:
        """When the file was made, in UTC: the date of everything that the run writes."""
        ((created,),) = self._all("SELECT value FROM run WHERE name = 'created'")
        return datetime.fromisoformat(created).replace(tzinfo=None)

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings of a workflow that makes one thing, such as a dataset.

        Raises UserError, which names the difference, if the file was begun with others.
        """
        text = json.dumps(settings, sort_keys=True)
        self._change("INSERT OR IGNORE INTO run VALUES ('settings', ?)", (text,))
        ((kept,),) = self._all("SELECT value FROM run WHERE name = 'settings'")
        recorded, settings = json.loads(kept), json.loads(text)
        for name in sorted(recorded.keys() | settings.keys()):
            if recorded.get(name) != settings.get(name):
                raise UserError(
                    f"{self.path} was played with {name} = {recorded.get(name)!r}, "
                    f"not {settings.get(name)!r}: use the same, or choose another folder"
                )

    def register(self, players: Iterable[Player]) -> None:
        """Give these players, which a fingerprint identifies, the names that results show."""
        for player in players:
            self._change(
                "INSERT INTO players (fingerprint, name, description, registered) VALUES "
                "(?, ?, ?, (SELECT 1 + COALESCE(MAX(registered), 0) FROM players)) "
                "ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name, "
                "description = excluded.description, registered = excluded.registered",
                (player.fingerprint, player.name, json.dumps(player.policy.describe())),
            )

    def add(self, spec: BattleSpec, result: BattleResult) -> None:
        """Keep a result. Raises RunStopped where the disk is full, or the file stays locked."""
        row = BattleRow.of(spec, result)
        values = {name: getattr(row, name) for name in [*RESULT_COLUMNS, *BATTLE_COLUMNS]} | {
            "player_a": self._player_id(spec.player_a),
            "player_b": self._player_id(spec.player_b),
            "conditions": self._conditions_id(row),
        }
        marks = ", ".join("?" * len(values))
        self._change(
            f"INSERT OR IGNORE INTO battles ({', '.join(values)}) VALUES ({marks})",
            tuple(values.values()),
        )

    def _player_id(self, player: Player) -> int:
        if (known := self._ids.get(player.fingerprint)) is not None:
            return known
        query = "SELECT id FROM players WHERE fingerprint = ?"
        if not (found := self._all(query, (player.fingerprint,))):
            self.register([player])
            found = self._all(query, (player.fingerprint,))
        return self._ids.setdefault(player.fingerprint, found[0][0])

    def _conditions_id(self, row: BattleRow) -> int:
        values = tuple(getattr(row, name) for name in CONDITION_COLUMNS)
        if (known := self._ids.get(values)) is not None:
            return known
        names = ", ".join(CONDITION_COLUMNS)
        self._change(f"INSERT OR IGNORE INTO conditions ({names}) VALUES (?, ?, ?, ?)", values)
        where = " AND ".join(f"{name} = ?" for name in CONDITION_COLUMNS)
        ((found,),) = self._all(f"SELECT id FROM conditions WHERE {where}", values)
        return self._ids.setdefault(values, found)

    def drop_failed(self) -> int:
        """Drop the battles that have failed, so that they are played again. Returns how many.

        A battle over the turn limit would end so again, and stays.
        """
        return self._change(
            "DELETE FROM battles WHERE score IS NULL AND reason NOT LIKE ?",
            (f"{OVER_TURN_LIMIT}%",),
        )

    def resume(self) -> dict[str, BattleRow]:
        """Drop the battles that have failed. Returns the others by key: what a run starts from."""
        self.drop_failed()
        return {row.key: row for row in self.rows()}

    def rows(self) -> list[BattleRow]:
        """All battles, in the order of their keys."""
        return self._do(lambda: rows_of(self._db))

    def players(self) -> dict[str, dict[str, Any]]:
        """Name -> what the policy was (`PolicyRef.describe`), of all players of the file."""
        return self._do(lambda: dict(players_of(self._db).values()))


def _no_room(path: Path, error: sqlite3.DatabaseError) -> str:
    return f"Cannot write {path} ({error}): make room, then run it again"
