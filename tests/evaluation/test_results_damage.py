"""A damaged results file is read or refused in one line, whichever byte it was."""

from __future__ import annotations

import sqlite3
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.arena.store import BattleRow, read_results
from metamon_ext.errors import UserError
from metamon_ext.evaluation.results import read_tournament

COLUMNS = [field.name for field in fields(BattleRow)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "results.sqlite"
    battle = dict.fromkeys(COLUMNS, 1) | {"reason": "", "battle_format": "gen1ou", "seed": "0"}
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE battles ({', '.join(COLUMNS)})")
        for i in range(8):
            outcome = ("p1", "p2", "tie", "unfinished")[i % 4]
            row = battle | {"key": f"{i}", "outcome": outcome, "p1": "a", "p2": "b", "pair": i // 2}
            db.execute(
                f"INSERT INTO battles VALUES ({','.join('?' * len(COLUMNS))})", [*row.values()]
            )
    db.close()
    return path.read_bytes()


# Most of the pages are empty; the rows are at the end of theirs.
@settings(max_examples=400, deadline=None)
@given(
    places=st.lists(st.integers(0, 2**16) | st.integers(-600, -1), min_size=1),
    byte=st.binary(min_size=1, max_size=1),
)
def test_no_damage_breaks_the_readers(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, places: list[int], byte: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    content = bytearray(whole)
    for place in places:
        content[place % len(content)] = byte[0]
    (folder / "results.sqlite").write_bytes(content)
    for read in (lambda: read_tournament(folder), lambda: read_results(folder / "results.sqlite")):
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error)
