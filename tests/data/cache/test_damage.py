"""Damage to a cache is noticed, and a killed build resumes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.data.cache.arrays import HEADER, INDEX_FILE, ROWS, Cache, Header
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.source import open_cache
from metamon_ext.data.cache.verify import verify
from metamon_ext.errors import UserError
from tests.conftest import ROOT
from tests.data.cache.test_cache import Plain, age, contents, flip
from tests.support.interruptions import is_running, kill_when, wait_until_ended
from tests.support.states import write_battle


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
