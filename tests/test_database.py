"""Results files as a killed run, another program or a read-only disk leaves them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from metamon_ext import database
from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.recorded import recorded
from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.arena.teams import Team
from metamon_ext.cli import main
from metamon_ext.data.trajectory import RESULTS, TrajectoryName
from metamon_ext.database import DatabaseLocked
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.evaluation.results import read_tournament
from tests.conftest import ROOT, cli_command
from tests.support.battles import player, result_of

BATTLES = 40
TEAM = Team("team", "")

DIES_IN_A_COMMIT = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
if sys.argv[2] == "wal":  # what is committed is in the -wal file only
    with db:
        db.execute("UPDATE battles SET turns = 7")
db.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
db.execute("BEGIN")
db.execute("UPDATE battles SET score = 0, reason = ?", ("x" * 2000,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def spec(number: int) -> BattleSpec:
    battle = (player("a"), player("b"), number, 0, number, TEAM, TEAM)
    return BattleSpec(*battle, "gen1ou", 1, "teams", 1000, "0")


def result(number: int) -> BattleResult:
    return result_of(spec(number), "a", turns=5)


def killed(folder: Path, mode: str = "delete") -> Path:
    """A results file whose writer was killed in the middle of a commit: `a` has won them all."""
    with ResultStore(folder / RESULTS) as store:
        for number in range(BATTLES):
            store.add(spec(number), result(number))
    (folder / ".lock").unlink()
    path = folder / RESULTS
    died = subprocess.run([sys.executable, "-c", DIES_IN_A_COMMIT, path, mode])
    assert died.returncode == -signal.SIGKILL
    journal = Path(f"{path}-{'wal' if mode == 'wal' else 'journal'}")
    assert journal.stat().st_size > 1000
    if mode == "delete":
        assert b"x" * 1000 in path.read_bytes(), "nothing of the commit has reached the file"
    return path


def assert_all_are_read(path: Path, mode: str = "delete") -> None:
    rows = read_results(path)
    assert [row.score for row in rows] == [1.0] * BATTLES
    assert {row.turns for row in rows} == {7 if mode == "wal" else 5}
    assert len(read_tournament(path.parent).games) == BATTLES


@pytest.mark.parametrize("mode", ["delete", "wal"])
class TestKilledInACommit:
    def test_readers_see_the_state_before(self, tmp_path: Path, mode: str) -> None:
        assert_all_are_read(killed(tmp_path, mode), mode)

    def test_the_filter_has_all_records(self, tmp_path: Path, mode: str) -> None:
        killed(tmp_path, mode)
        battle = f"metamon-gen1ou-{int(spec(3).key, 16)}"
        name = TrajectoryName(battle, None, "a", "b", datetime(2026, 1, 2), "WIN")
        record = recorded(tmp_path)(tmp_path / name.filename)
        assert record is not None and record.turns == (7 if mode == "wal" else 5)

    def test_a_writer_continues(self, tmp_path: Path, mode: str) -> None:
        path = killed(tmp_path, mode)
        with ResultStore(path) as store:
            store.add(spec(BATTLES), result(BATTLES))
            assert len(store.rows()) == BATTLES + 1

    def test_a_read_only_folder_is_read_from_a_copy(self, mode: str) -> None:
        with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
            folder = Path(name)
            folder.chmod(0o755)
            path = killed(folder, mode)
            before = {file.name: file.read_bytes() for file in folder.iterdir()}
            for file in folder.iterdir():
                file.chmod(0o444)
            folder.chmod(0o555)
            try:
                as_a_user(lambda: assert_all_are_read(path, mode))
                assert before.items() <= {f.name: f.read_bytes() for f in folder.iterdir()}.items()
            finally:
                folder.chmod(0o755)


def as_a_user(check: Callable[[], None]) -> None:
    """Call in a process that permission bits bind: root is not bound by them."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        check()
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A results file of one battle that another connection has locked."""
    path = tmp_path / RESULTS
    with ResultStore(path) as store:
        store.add(spec(0), result(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield path, other


def test_a_locked_file_is_waited_for(locked: tuple[Path, sqlite3.Connection]) -> None:
    path, other = locked
    reader = subprocess.Popen(
        cli_command(["calculate_elo", "--tournament_dir", path.parent, "--json"]),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stderr is not None
    notice = reader.stderr.readline()
    assert "is locked by another program. Waiting up to 30 s" in notice
    other.execute("COMMIT")
    assert (reader.wait(), reader.stderr.read()) == (0, "")


def test_one_notice_and_one_line_where_a_file_stays_locked(
    locked: tuple[Path, sqlite3.Connection],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(database, "NOTICE_AFTER", 0.01)
    monkeypatch.setattr(database, "PATIENCE", 0.02)
    path, _ = locked
    data = tmp_path / "data" / "gen1ou"
    data.mkdir(parents=True)
    (data / "x.json").write_text("{}")
    for command in (
        ("calculate_elo", "--tournament_dir", path.parent),
        ("visualize_results", "--tournament_dir", path.parent),
        ("filter", "--input_dir", data.parent, "--output_dir", tmp_path / "out"),
        (
            *("generate_selfplay_data", "--model", "random", "--num_battles", 1),
            *("--output_dir", path.parent, "--team_set", "sample"),
        ),
        (
            *("play", "--p1", "random", "--p2", "random", "--battles", 1),
            *("--output_dir", path.parent, "--resume"),
        ),
    ):
        assert main([str(part) for part in command]) == 2
        notice, error = capsys.readouterr().err.splitlines()
        assert notice == f"{path} is locked by another program. Waiting up to 0.02 s."
        assert error.startswith(f"metamon-ext: {path} is still locked by another program")
    assert not (tmp_path / "out").exists()


def test_a_run_whose_file_becomes_locked_stops_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "NOTICE_AFTER", 0.01)
    monkeypatch.setattr(database, "PATIENCE", 0.02)
    path = tmp_path / RESULTS
    with ResultStore(path) as store:
        store.add(spec(0), result(0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for use in (
                lambda: store.add(spec(1), result(1)),
                store.drop_failed,
                store.rows,
                store.players,
            ):
                with pytest.raises(RunStopped, match="still locked"):
                    use()
            with pytest.raises(DatabaseLocked):
                read_results(path)
        store.add(spec(1), result(1))  # nothing of the first attempt is left open
    assert len(read_results(path)) == 2


@pytest.mark.parametrize("place", [".", "data", "data/part"])
@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be read" * 30])
def test_the_filter_does_not_judge_beside_records_that_it_cannot_read(
    tmp_path: Path, place: str, content: bytes
) -> None:
    (tmp_path / "data" / "part").mkdir(parents=True)
    (tmp_path / place / RESULTS).write_bytes(content)
    with pytest.raises(UserError, match=r"results\.sqlite is not a results file \("):
        recorded(tmp_path / "data")
