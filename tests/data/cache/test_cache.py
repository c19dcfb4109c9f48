"""A cache gives what its files hold, goes on after any end, and is refused when it does not fit."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metamon_ext.cli import main
from metamon_ext.data.cache import source as cache_source
from metamon_ext.data.cache import writer as cache_writer
from metamon_ext.data.cache.arrays import (
    INDEX,
    INDEX_FILE,
    ROWS,
    Cache,
    Header,
)
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.source import TICK, open_cache
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import (
    Trajectory,
    read_trajectory,
    trajectory_files,
    write_trajectory,
)
from metamon_ext.errors import RunStopped, UserError
from tests.support.interruptions import small_disk
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


def age(root: Path) -> None:
    """Make the folders older than a tick."""
    long_ago = time.time_ns() - 10 * TICK
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(folder, ns=(long_ago, long_ago))


def flip(path: Path, place: int) -> None:
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


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
