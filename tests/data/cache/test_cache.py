"""A cache gives what its files hold, goes on after any end, and is refused when it does not fit."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.cli import main
from metamon_ext.data.cache import source as cache_source
from metamon_ext.data.cache import writer as cache_writer
from metamon_ext.data.cache.arrays import (
    HEADER,
    INDEX,
    INDEX_FILE,
    ROWS,
    Cache,
    Header,
)
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.filter import CacheFilter
from metamon_ext.data.cache.source import TICK, open_cache
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import (
    Trajectory,
    TrajectoryName,
    read_trajectory,
    trajectory_files,
    write_trajectory,
)
from metamon_ext.errors import RunStopped, UserError
from tests.conftest import ROOT
from tests.support.interruptions import is_running, kill_when, small_disk, wait_until_ended
from tests.support.states import make_battle, make_name, make_state, write_battle


class Plain:
    """Rows that are easily told: the Pokémon that the opponent has left, and the action."""

    row = np.dtype([("left", "<u4"), ("action", "i1")])

    def __init__(self, reward: str = "win") -> None:
        self.definition: dict[str, Any] = {"featurizer": "plain", "reward": reward}

    def rows(self, path: Path, trajectory: Trajectory) -> np.ndarray:
        left = [state["opponents_remaining"] for state in trajectory.states]
        return np.array(list(zip(left, trajectory.actions, strict=True)), self.row)

    def restore(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"left": rows["left"], "action": rows["action"]}

    def reference(self, path: Path) -> dict[str, np.ndarray]:
        return self.restore(self.rows(path, read_trajectory(path)))


class Slow(Plain):
    """So that a build can be killed in the middle."""

    def rows(self, path: Path, trajectory: Trajectory) -> np.ndarray:
        time.sleep(0.03)
        return super().rows(path, trajectory)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty battles of 1 to 20 decisions, whose folders have long been as they are."""
    for number in range(20):
        write_battle(tmp_path / "data", number)
    age(tmp_path / "data")
    return tmp_path / "data"


def age(root: Path) -> None:
    """Make the folders older than a tick."""
    long_ago = time.time_ns() - 10 * TICK
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(folder, ns=(long_ago, long_ago))


def test_a_cache_holds_every_trajectory_in_order(source: Path, tmp_path: Path) -> None:
    report = build(source, tmp_path / "c.mmap", Plain(), workers=2)
    cache = open_cache(tmp_path / "c.mmap", Plain())
    files = list(trajectory_files(source))
    assert (report.trajectories, report.added, report.set_aside) == (20, 20, {})
    assert report.rows == sum(range(2, 22))
    assert [cache.path(i) for i in range(len(cache))] == files
    for i, file in enumerate(files):
        trajectory = read_trajectory(file)
        assert cache[i]["action"].tolist() == trajectory.actions
        assert cache.is_intact(i)


def test_a_second_build_changes_nothing_and_lists_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "c.mmap"
    build(source, folder, Plain())
    before = contents(folder)

    scandir = os.scandir

    def refuse(path: str) -> Any:
        assert not Path(path).is_relative_to(source), f"{path} was listed"
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(cache_source.os, "scandir", refuse)
        assert build(source, folder, Plain()).added == 0
        open_cache(folder, Plain())
    assert contents(folder) == before


def test_only_what_is_new_is_added(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"
    build(source, folder, Plain())
    rows = (folder / ROWS).read_bytes()
    write_battle(source, 20)
    write_battle(source / "deeper", 21)
    assert len(open_cache(folder, Plain())) == 20  # it fits what it holds
    assert build(source, folder, Plain()).added == 2
    assert (folder / ROWS).read_bytes().startswith(rows)
    cache = open_cache(folder, Plain())
    assert {cache.path(i) for i in range(22)} == set(trajectory_files(source))


def test_a_file_that_comes_within_a_tick_of_the_listing_is_found(
    source: Path, tmp_path: Path
) -> None:
    stamp = time.time_ns()
    os.utime(source / "gen1ou", ns=(stamp, stamp))
    build(source, tmp_path / "c.mmap", Plain())
    write_battle(source, 20)
    os.utime(source / "gen1ou", ns=(stamp, stamp))  # what a coarse clock would say
    assert build(source, tmp_path / "c.mmap", Plain()).added == 1


def test_bad_files_are_set_aside_and_counted_once(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"
    broken = write_battle(source, 30)
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-9])
    states, actions = make_battle(40)
    states[-1] = make_state()
    write_trajectory(source / "gen1ou", make_name(31), states, actions)
    shutil.copy(next(trajectory_files(source)), source / "gen1ou" / make_name(99).filename)
    wanted = {"unreadable": 1, "cut_off": 1, "duplicate": 1}
    for _ in range(2):
        report = build(source, folder, Plain())
        assert (report.trajectories, report.set_aside) == (20, wanted)
    broken.write_bytes(whole)
    report = build(source, folder, Plain())
    assert (report.trajectories, report.set_aside) == (21, {"cut_off": 1, "duplicate": 1})


def test_cut_off_battles_are_kept_when_asked_for(tmp_path: Path) -> None:
    states, actions = make_battle(5)
    states[-1] = make_state()
    write_trajectory(tmp_path / "data" / "gen1ou", make_name(), states, actions)
    build(tmp_path / "data", tmp_path / "c.mmap", Plain(), keep_cut_off=True)
    assert len(Cache(tmp_path / "c.mmap")) == 1
    with pytest.raises(UserError, match="keep_cut_off"):
        build(tmp_path / "data", tmp_path / "c.mmap", Plain())


class TestRefused:
    """Whatever no longer fits says so, and names what does not."""

    @pytest.fixture
    def folder(self, source: Path, tmp_path: Path) -> Path:
        build(source, tmp_path / "c.mmap", Plain())
        return tmp_path / "c.mmap"

    def test_another_definition(self, source: Path, folder: Path) -> None:
        for use in (open_cache, verify, lambda *args: build(source, *args)):
            with pytest.raises(UserError, match="reward win, not margin"):
                use(folder, Plain("margin"))

    def test_what_differs_is_named_and_no_more_than_is_read(self, tmp_path: Path) -> None:
        header = Header({"x": "a", "d": {"scale": 1, "code": "c" * 999}}, "", False, [], {}, [])
        other = {"x": "b", "d": {"scale": 2, "code": "d" * 999}, "y": 1, "z": 2}
        with pytest.raises(UserError) as told:
            header.require(tmp_path, other, np.dtype([]))
        assert str(told.value) == (
            f"{tmp_path} was built with x a, not b; y None, not 1; z None, not 2; "
            "and 2 more differences. Build another cache."
        )
        with pytest.raises(UserError, match=r"d\.scale 1, not 2\. Build another"):
            header.require(tmp_path, {"x": "a", "d": {**header.definition["d"], "scale": 2}}, None)

    def test_the_same_definition_with_other_results(self, folder: Path) -> None:
        class Changed(Plain):
            def rows(self, path: Path, trajectory: Trajectory) -> np.ndarray:
                rows = super().rows(path, trajectory)
                rows["left"] += 1
                return rows

        with pytest.raises(UserError, match="now gives other arrays"):
            open_cache(folder, Changed())

    def test_another_source(self, source: Path, folder: Path) -> None:
        moved = source.rename(source.with_name("moved"))
        with pytest.raises(UserError, match=str(source)):
            open_cache(folder, Plain())
        with pytest.raises(UserError, match="built with source"):
            build(moved, folder, Plain())

    @pytest.mark.parametrize("aged", [True, False])
    def test_a_file_that_changed(self, source: Path, folder: Path, aged: bool) -> None:
        file = next(trajectory_files(source))
        stamp = file.stat()
        other = write_battle(folder.parent / "other", 50).read_bytes()
        file.write_bytes(other)
        if aged:  # the size alone gives it away
            os.utime(file, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
        with pytest.raises(UserError, match="has changed"):
            open_cache(folder, Plain())
        assert verify(folder, Plain()).faults == [f"gen1ou/{file.name} has changed"]
        write_battle(source, 51)
        with pytest.raises(UserError, match="has changed"):
            build(source, folder, Plain())

    def test_a_file_that_was_touched_is_none(self, source: Path, folder: Path) -> None:
        for file in trajectory_files(source):
            os.utime(file)
        assert len(open_cache(folder, Plain())) == 20

    def test_a_file_that_is_gone(self, source: Path, folder: Path) -> None:
        gone = list(trajectory_files(source))[7]
        gone.unlink()
        for use in (open_cache, lambda *args: build(source, *args)):
            with pytest.raises(
                UserError, match=f"1 of its source files are missing, such as gen1ou/{gone.name}"
            ):
                use(folder, Plain())

    def test_a_source_without_trajectories(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        build(tmp_path / "empty", tmp_path / "e.mmap", Plain())
        with pytest.raises(UserError, match="empty"):
            open_cache(tmp_path / "e.mmap", Plain())

    def test_an_empty_cache_may_become_one_of_anything(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        build(tmp_path / "empty", tmp_path / "e.mmap", Plain())
        assert build(source, tmp_path / "e.mmap", Plain("margin")).trajectories == 20
        assert len(open_cache(tmp_path / "e.mmap", Plain("margin"))) == 20

    def test_a_cache_is_no_data_to_audit(self, folder: Path, capsys: pytest.CaptureFixture) -> None:
        assert main(["audit", str(folder)]) == 2
        assert "no .json.lz4 or .json file" in capsys.readouterr().err

    def test_a_benchmark_of_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        (tmp_path / "empty").mkdir()
        assert main(["benchmark", "data", str(tmp_path / "empty")]) == 2
        assert f"{tmp_path / 'empty'}: no trajectory" in capsys.readouterr().err

    @pytest.mark.parametrize("where", ["data/c.mmap", "data", "full"])
    def test_a_place_for_something_else(self, source: Path, tmp_path: Path, where: str) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.tex").write_text("...")
        with pytest.raises(UserError, match=r"own source|nor a cache"):
            build(source, tmp_path / where, Plain())
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


class TestDamage:
    @pytest.fixture
    def folder(self, source: Path, tmp_path: Path) -> Path:
        build(source, tmp_path / "c.mmap", Plain())
        return tmp_path / "c.mmap"

    def test_rows_are_checked_one_trajectory_at_a_time(self, folder: Path) -> None:
        cache = Cache(folder)
        place = int(cache.starts[4]) * cache.rows.dtype.itemsize
        flip(folder / ROWS, place)
        assert [i for i in range(20) if not cache.is_intact(i)] == [4]
        assert verify(folder, Plain()).faults == [f"{cache.name(4)}: corrupt rows"]

    def test_rows_that_are_whole_and_wrong_are_found_by_comparison(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = Cache(folder)
        flip(folder / ROWS, int(cache.starts[4]) * cache.rows.dtype.itemsize)
        monkeypatch.setattr(Cache, "is_intact", lambda *_: True)
        report = verify(folder, Plain(), every=2)
        assert report.compared == 10
        assert len(report.faults) == 1
        assert cache.name(4) in report.faults[0] and "left[0]" in report.faults[0]

    @settings(max_examples=60, deadline=None)
    @given(
        name=st.sampled_from([HEADER, INDEX_FILE]),
        where=st.floats(0, 1, exclude_max=True),
        change=st.integers(1, 255),
    )
    def test_no_damage_crashes_or_goes_unnoticed(
        self, name: str, where: float, change: int
    ) -> None:
        """One byte of the header, or of the index: refused, or what it says is as it was."""
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            for number in range(3):
                write_battle(root / "data", number)
            folder = root / "c.mmap"
            build(root / "data", folder, Plain())
            before = Cache(folder)
            content = bytearray((folder / name).read_bytes())
            content[int(where * len(content))] ^= change
            (folder / name).write_bytes(content)
            try:
                cache = Cache(folder)
                open_cache(folder, Plain())
            except UserError:
                return
            assert [cache[i].tobytes() for i in range(3)] == [before[i].tobytes() for i in range(3)]

    @pytest.mark.parametrize("name", [ROWS, INDEX_FILE, HEADER])
    def test_a_file_that_is_too_short(self, folder: Path, name: str) -> None:
        size = (folder / name).stat().st_size
        os.truncate(folder / name, size - 1)
        with pytest.raises(UserError, match="Delete the cache"):
            Cache(folder)


def flip(path: Path, place: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


KILLED = """
import sys
from pathlib import Path
from metamon_ext.data.cache import build as cache_build
from metamon_ext.data.cache import writer as cache_writer
from tests.data.cache.test_cache import Slow
cache_writer.COMMIT_BYTES = 400
cache_build.build(Path(sys.argv[1]), Path(sys.argv[2]), Slow())
"""


def test_a_build_that_was_killed_goes_on_and_gives_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    for number in range(20, 80):
        write_battle(source, number)
    age(source)
    whole, killed = tmp_path / "whole.mmap", tmp_path / "killed.mmap"
    build(source, whole, Plain())
    seen = []
    while True:
        until = (seen[-1] if seen else 0) + 25
        ended = kill_when(
            lambda enough=until: trajectories(killed) >= enough,
            [sys.executable, "-c", KILLED, source, killed],
        )
        if not ended.killed:
            break
        seen.append(trajectories(killed))
        with open(killed / ROWS, "ab") as file:  # as if it had been in the middle of a row
            file.write(b"half a r")
        assert len(Cache(killed)) == seen[-1]
    assert ended.returncode == 0
    assert len(seen) >= 2
    assert contents(killed) == contents(whole)


WORKING = """
import multiprocessing, sys, time
from metamon_ext.data.processes import map_in_order
if __name__ == "__main__":
    results = map_in_order(abs, range(100_000), workers=2, chunk=1)
    next(results)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


def test_workers_end_with_the_process_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "working.py").write_text(WORKING)
    command = [sys.executable, str(tmp_path / "working.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    wait_until_ended(lambda: any(map(is_running, workers)))


def trajectories(folder: Path) -> int:
    try:
        return Header.read(folder).trajectories
    except UserError:
        return 0


def test_a_second_build_at_the_same_time_is_refused(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"

    class Meddling(Plain):
        def rows(self, path: Path, trajectory: Trajectory) -> np.ndarray:
            with pytest.raises(UserError, match="in use by another run"):
                build(source, folder, Plain())
            return super().rows(path, trajectory)

    assert build(source, folder, Meddling()).added == 20
    assert build(source, folder, Plain()).added == 0


@pytest.mark.parametrize("committed_before", [False, True])
def test_a_full_disk_is_told_and_leaves_no_half_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed_before: bool
) -> None:
    folder = tmp_path / "c.mmap"
    if committed_before:
        monkeypatch.setattr(cache_writer, "COMMIT_BYTES", 300)
    with small_disk(1000), pytest.raises(RunStopped, match=r"in the cache\. Run the command"):
        build(source, folder, Plain())
    header = Header.read(folder)
    assert (header.trajectories > 0) == committed_before
    assert (folder / ROWS).stat().st_size == header.rows * Plain.row.itemsize
    assert (folder / INDEX_FILE).stat().st_size == header.trajectories * INDEX.itemsize
    assert {path.suffix for path in folder.iterdir()} == {"", ".bin", ".jsonl"}
    assert len(Cache(folder)) == header.trajectories
    assert build(source, folder, Plain()).trajectories == 20


def test_a_cache_can_be_sent_to_another_process(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "c.mmap", Plain())
    cache = open_cache(tmp_path / "c.mmap", Plain())
    sent = pickle.dumps(cache)
    write_battle(source, 20)
    build(source, tmp_path / "c.mmap", Plain())
    arrived = pickle.loads(sent)
    assert len(sent) < 1500 and len(arrived) == 20  # a path, and how far it counted
    assert all(np.array_equal(arrived[i], cache[i]) for i in range(20))


RATINGS = (None, 1000, 1234, 1600)
DATES = tuple(datetime(2024, 5, 31) + timedelta(hours=12 * n) for n in range(4))


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    root = tmp_path_factory.mktemp("filter")
    chance = random.Random(0)
    for number in range(60):
        battle_format = chance.choice(["gen1ou", "gen4ou"])
        outcome = chance.choice(["WIN", "LOSS"])
        states, actions = make_battle(number + 1, outcome, format=battle_format)
        name = make_name(
            battle_id=f"metamon-{battle_format}-{number}",
            rating=chance.choice(RATINGS),
            date=chance.choice(DATES),
            outcome=outcome,
        )
        write_trajectory(root / "data" / battle_format, name, states, actions)
    build(root / "data", root / "c.mmap", Plain())
    return Cache(root / "c.mmap")


class TestFilter:
    @settings(max_examples=100, deadline=None)
    @given(
        formats=st.none() | st.lists(st.sampled_from(["gen1ou", "gen4ou", "gen9ou"]), min_size=1),
        wins_losses_both=st.sampled_from(["wins", "losses", "both"]),
        min_rating=st.none() | st.integers(900, 1700),
        max_rating=st.none() | st.integers(900, 1700),
        min_date=st.none() | st.sampled_from(DATES),
        max_date=st.none() | st.sampled_from(DATES),
    )
    def test_what_passes_is_what_the_names_say(self, rated: Cache, **limits: Any) -> None:
        if limits["formats"] is not None:
            limits["formats"] = tuple(limits["formats"])
        wanted = CacheFilter(**limits)

        def passes(file: Path) -> bool:
            name = TrajectoryName.parse(file.name)
            outcomes = {"WIN": "wins", "LOSS": "losses"}
            rating = 1000 if name.rating is None else name.rating
            return (
                (wanted.formats is None or file.parent.name in wanted.formats)
                and wanted.wins_losses_both in ("both", outcomes[name.outcome])
                and (wanted.min_rating is None or rating >= wanted.min_rating)
                and (wanted.max_rating is None or rating <= wanted.max_rating)
                and (wanted.min_date is None or name.date >= wanted.min_date)
                and (wanted.max_date is None or name.date <= wanted.max_date)
            )

        expected = [i for i in range(len(rated)) if passes(rated.path(i))]
        if expected:
            assert wanted.select(rated).tolist() == expected
        else:
            with pytest.raises(UserError, match="none of 60 trajectories passes"):
                wanted.select(rated)

    def test_a_filter_is_written_behind_the_name(self) -> None:
        text = "formats=gen1ou,gen4ou&min_rating=1500&max_date=2024-05-31&wins_losses_both=wins"
        assert CacheFilter.parse(text) == CacheFilter(
            ("gen1ou", "gen4ou"), "wins", min_rating=1500, max_date=datetime(2024, 5, 31)
        )
        assert CacheFilter.parse("") == CacheFilter()

    @pytest.mark.parametrize(
        "text", ["rating=3", "min_rating=high", "min_date=31.5.24", "wins_losses_both=x", "gen1ou"]
    )
    def test_what_is_no_filter_is_refused(self, text: str) -> None:
        with pytest.raises(UserError, match="Known filters: formats, wins_losses_both"):
            CacheFilter.parse(text)


def test_the_commands(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "c.mmap"

    def run(*words: object) -> tuple[int, str]:
        code = main(["cache", *map(str, words)])
        output = capsys.readouterr()
        return code, output.err if code == 2 else output.out

    code, answer = run("build", source, "--output", folder, "--workers", 1)
    assert code == 0 and answer.startswith("20 trajectories")
    code, answer = run("verify", folder, "--every", 5)
    assert code == 0 and "4 compared value for value" in answer
    flip(folder / ROWS, 0)
    code, answer = run("verify", folder)
    assert code == 1 and "corrupt" in answer
    code, answer = run("build", source, "--output", folder, "--reward_function", "MarginReward")
    assert code == 2 and "reward_function WinLossReward, not" in answer
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, answer = run(
        "build", source, "--output", folder, "--obs_space", "DefaultObservationSpace"
    )
    assert code == 2 and "Metamon is not installed here" in answer
