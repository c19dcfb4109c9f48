"""The rows of a results file: its tables, and how they are read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.database import reading, wait_while_locked
from metamon_ext.errors import UserError

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


RESULT_COLUMNS = [field.name for field in fields(BattleResult)]
_PLAYERS = ["player_a", "player_b"]
CONDITION_COLUMNS = ["battle_format", "teams_id", "turn_limit", "simulator"]
BATTLE_COLUMNS = ["pair", "mirrored", "seed", "team_a", "team_b"]
_SELECT = (
    f"SELECT {', '.join([*RESULT_COLUMNS, *_PLAYERS, *CONDITION_COLUMNS, *BATTLE_COLUMNS])} "
    "FROM battles JOIN conditions ON conditions.id = battles.conditions ORDER BY key"
)


def read_results(path: Path) -> list[BattleRow]:
    """The battles of a finished or running run, in the order of their keys.

    Raises UserError if there is no such file, or it cannot be read.
    """
    with open_results(path) as db:
        return wait_while_locked(path, db, lambda: rows_of(db))


@contextmanager
def open_results(path: Path) -> Iterator[sqlite3.Connection]:
    """A results file of this or of an older version, to be queried as `SCHEMA` describes it.

    Raises UserError if there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"there are no results at {path}")
    with reading(path) as db:
        if wait_while_locked(path, db, lambda: is_old(db)):
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
        return _names(db)


def _names(db: sqlite3.Connection) -> dict[Any, str]:
    return {id_: name for id_, (name, _) in players_of(db).items()}


def rows_of(db: sqlite3.Connection) -> list[BattleRow]:
    """All battles of a file, in the order of their keys."""
    names = _names(db)
    first, second = len(RESULT_COLUMNS), len(RESULT_COLUMNS) + 1
    found = []
    for row in db.execute(_SELECT):
        values = list(row)
        values[first], values[second] = names[row[first]], names[row[second]]
        found.append(BattleRow(*values))
    return found


def players_of(db: sqlite3.Connection) -> dict[Any, tuple[str, dict[str, Any]]]:
    """Id -> name and description. Where two have one name, as two checkpoints under one path have,
    the one that was registered last keeps it; the others get a part of their fingerprint."""
    query = "SELECT id, name, fingerprint, description FROM players ORDER BY registered"
    rows = db.execute(query).fetchall()
    latest = {name: id_ for id_, name, _, _ in rows}
    return {
        id_: (name if latest[name] == id_ else f"{name}@{fingerprint[:8]}", json.loads(description))
        for id_, name, fingerprint, description in rows
    }


def tables_of(db: sqlite3.Connection) -> set[str]:
    """The names of the tables of a file."""
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def is_old(db: sqlite3.Connection) -> bool:
    """Whether a file is of metamon_ext 0.1."""
    columns = {row[1] for row in db.execute("PRAGMA main.table_info(battles)")}
    return {"p1", "outcome"} <= columns
