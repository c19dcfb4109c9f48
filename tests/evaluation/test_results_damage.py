"""A damaged results file is read or refused in one line, whichever byte it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.errors import UserError
from metamon_ext.evaluation.results import read_tournament
from tests.support.battles import result_of


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, schedule: Callable[..., list[BattleSpec]]
) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "results.sqlite"
    with ResultStore(path) as store:
        for i, spec in enumerate(schedule("a", "b", 8, pairs=True)):
            store.add(spec, result_of(spec, score=(1.0, 0.0, 0.5, None)[i % 4]))
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
