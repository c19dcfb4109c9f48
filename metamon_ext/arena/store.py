"""The battles of a run: one SQLite file that only grows, with a battle in it once or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from metamon_ext.arena.battle import OVER_TURN_LIMIT, BattleResult
from metamon_ext.arena.schedule import BattleSpec, Player
from metamon_ext.database import DatabaseLocked, connect, reading, wait_while_locked
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder

T = TypeVar("T")
Row = tuple[Any, ...]

SCHEMA = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE players (
    id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE, name TEXT, description TEXT,
    registered INTEGER
);
CREATE TABLE conditions (
    id INTEGER PRIMARY KEY, battle_format TEXT, teams_id TEXT, turn_limit INTEGER, simulator TEXT,
    UNIQUE (battle_format, teams_id, turn_limit, simulator)
);
CREATE TABLE battles (
    key TEXT PRIMARY KEY, score REAL, reason TEXT, turns INTEGER, a_decisions INTEGER,
    b_decisions INTEGER, a_invalid INTEGER, b_invalid INTEGER, digest TEXT,
    player_a INTEGER REFERENCES players, player_b INTEGER REFERENCES players,
    conditions INTEGER REFERENCES conditions,
    pair INTEGER, mirrored INTEGER, seed INTEGER, team_a TEXT, team_b TEXT
) WITHOUT ROWID;
"""
OLD_VERSION = """
CREATE TEMP VIEW players AS
    SELECT p1 AS id, p1 AS fingerprint, p1 AS name, '{}' AS description, 0 AS registered
    FROM main.battles UNION SELECT p2, p2, p2, '{}', 0 FROM main.battles;
CREATE TEMP VIEW conditions AS
    SELECT DISTINCT battle_format AS id, battle_format, '' AS teams_id, 0 AS turn_limit,
        '' AS simulator FROM main.battles;
CREATE TEMP VIEW battles AS
    SELECT key,
        CASE outcome WHEN 'unfinished' THEN NULL WHEN 'tie' THEN 0.5
            WHEN 'p1' THEN 1.0 - mirrored WHEN 'p2' THEN mirrored + 0.0 ELSE outcome END AS score,
        reason, turns,
        CASE mirrored WHEN 0 THEN p1_decisions ELSE p2_decisions END AS a_decisions,
        CASE mirrored WHEN 0 THEN p2_decisions ELSE p1_decisions END AS b_decisions,
        CASE mirrored WHEN 0 THEN p1_invalid ELSE p2_invalid END AS a_invalid,
        CASE mirrored WHEN 0 THEN p2_invalid ELSE p1_invalid END AS b_invalid,
        digest,
        CASE mirrored WHEN 0 THEN p1 ELSE p2 END AS player_a,
        CASE mirrored WHEN 0 THEN p2 ELSE p1 END AS player_b,
        battle_format AS conditions, pair, mirrored, pair AS seed,
        CASE mirrored WHEN 0 THEN p1_team ELSE p2_team END AS team_a,
        CASE mirrored WHEN 0 THEN p2_team ELSE p1_team END AS team_b
    FROM main.battles;
"""
"""Lets a file of metamon_ext 0.1, which kept outcomes by seat, be read like one of today."""


@dataclass(frozen=True)
class BattleRow(BattleResult):
    """A result together with what was played (see `BattleSpec`); players and teams by name.

    In a mirrored battle `player_a` sat in p2. Finished battles with the same `seed` are a mirrored
    pair. `teams_id` is a hash of the team set.
    """

    player_a: str
    player_b: str
    battle_format: str
    teams_id: str
    turn_limit: int
    simulator: str
    pair: int
    mirrored: int
    seed: int
    team_a: str
    team_b: str

    @classmethod
    def of(cls, spec: BattleSpec, result: BattleResult) -> BattleRow:
        """The row of a battle that has just been played."""
        a, b = spec.p1_team.name, spec.p2_team.name
        if spec.mirrored:
            a, b = b, a
        return cls(
            **asdict(result),
            player_a=spec.player_a.name,
            player_b=spec.player_b.name,
            battle_format=spec.battle_format,
            teams_id=spec.teams_id,
            turn_limit=spec.turn_limit,
            simulator=spec.simulator,
            pair=spec.pair,
            mirrored=spec.mirrored,
            seed=spec.seed,
            team_a=a,
            team_b=b,
        )


_RESULT = [field.name for field in fields(BattleResult)]
_PLAYERS = ["player_a", "player_b"]
_CONDITIONS = ["battle_format", "teams_id", "turn_limit", "simulator"]
_BATTLE = ["pair", "mirrored", "seed", "team_a", "team_b"]
_SELECT = (
    f"SELECT {', '.join([*_RESULT, *_PLAYERS, *_CONDITIONS, *_BATTLE])} "
    "FROM battles JOIN conditions ON conditions.id = battles.conditions ORDER BY key"
)


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
            if _is_old(self._db):
                raise UserError(
                    f"{self.path} was written by metamon_ext 0.1. It can be read and rated, but "
                    "not added to: choose another folder."
                )
            if not _tables(self._db):
                self._db.executescript(f"BEGIN; {SCHEMA}")
                now = datetime.now(timezone.utc).isoformat(timespec="seconds")
                self._db.execute("INSERT INTO run VALUES ('created', ?)", (now,))
            elif not {"run", "players", "conditions", "battles"} <= _tables(self._db):
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
        values = {name: getattr(row, name) for name in [*_RESULT, *_BATTLE]} | {
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
        values = tuple(getattr(row, name) for name in _CONDITIONS)
        if (known := self._ids.get(values)) is not None:
            return known
        self._change(
            f"INSERT OR IGNORE INTO conditions ({', '.join(_CONDITIONS)}) VALUES (?, ?, ?, ?)",
            values,
        )
        where = " AND ".join(f"{name} = ?" for name in _CONDITIONS)
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
        return self._do(lambda: _rows(self._db))

    def players(self) -> dict[str, dict[str, Any]]:
        """Name -> what the policy was (`PolicyRef.describe`), of all players of the file."""
        return self._do(lambda: dict(_players(self._db).values()))


def _no_room(path: Path, error: sqlite3.DatabaseError) -> str:
    return f"Cannot write {path} ({error}): make room, then run it again"


def read_results(path: Path) -> list[BattleRow]:
    """The battles of a finished or running run, in the order of their keys.

    Raises UserError if there is no such file, or it cannot be read.
    """
    with open_results(path) as db:
        return wait_while_locked(path, db, lambda: _rows(db))


@contextmanager
def open_results(path: Path) -> Iterator[sqlite3.Connection]:
    """A results file of this or of an older version, to be queried as `SCHEMA` describes it.

    Raises UserError if there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there are no results at {path}")
    with reading(path) as db:
        if wait_while_locked(path, db, lambda: _is_old(db)):
            db.executescript(OLD_VERSION)
        try:
            yield db
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} is damaged: a value of {error} is in it") from None


def query_results(path: Path, query: str) -> Iterator[Row]:
    """The rows that an SQL query gets from a results file (see `open_results`)."""
    with open_results(path) as db:
        yield from wait_while_locked(path, db, lambda: db.execute(query))


def player_names(path: Path) -> dict[Any, str]:
    """Id of a player in a results file -> its name, which no other player of the file has."""
    with open_results(path) as db:
        return {id_: name for id_, (name, _) in _players(db).items()}


def _rows(db: sqlite3.Connection) -> list[BattleRow]:
    names = {id_: name for id_, (name, _) in _players(db).items()}
    first, second = len(_RESULT), len(_RESULT) + 1
    found = []
    for row in db.execute(_SELECT):
        values = list(row)
        values[first], values[second] = names[row[first]], names[row[second]]
        found.append(BattleRow(*values))
    return found


def _players(db: sqlite3.Connection) -> dict[Any, tuple[str, dict[str, Any]]]:
    """Id -> name and description. Where two have one name, as two checkpoints under one path have,
    the one that was registered last keeps it; the others get a part of their fingerprint."""
    query = "SELECT id, name, fingerprint, description FROM players ORDER BY registered"
    rows = db.execute(query).fetchall()
    latest = {name: id_ for id_, name, _, _ in rows}
    return {
        id_: (name if latest[name] == id_ else f"{name}@{fingerprint[:8]}", json.loads(description))
        for id_, name, fingerprint, description in rows
    }


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _is_old(db: sqlite3.Connection) -> bool:
    columns = {row[1] for row in db.execute("PRAGMA main.table_info(battles)")}
    return {"p1", "outcome"} <= columns
