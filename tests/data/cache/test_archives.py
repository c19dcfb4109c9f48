"""A cache of tar archives, as Metamon's self-play sets come, is that of the files in them."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metamon_ext.cli import main
from metamon_ext.data.cache import source as cache_source
from metamon_ext.data.cache.arrays import ROWS, Cache
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.source import TICK, open_cache
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import trajectory_files
from metamon_ext.errors import UserError
from tests.data.cache.test_cache import Plain, age
from tests.support.states import make_name, write_battle


def pack(archive: Path, *files: Path, mode: str = "a") -> None:
    """Add files to an archive of their format, and let it look old."""
    with tarfile.open(archive, mode) as tar:
        for file in files:
            tar.add(file, f"gen1ou/{file.name}")
    settle(archive)


def settle(archive: Path) -> None:
    long_ago = archive.stat().st_mtime_ns - 10 * TICK
    os.utime(archive, ns=(long_ago, long_ago))
    age(archive.parent)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    for number in range(6):
        write_battle(tmp_path / "loose", number)
    return tmp_path / "loose"


@pytest.fixture
def source(tmp_path: Path, loose: Path) -> Path:
    (tmp_path / "packed").mkdir()
    pack(tmp_path / "packed" / "gen1ou.tar", *trajectory_files(loose))
    return tmp_path / "packed"


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> Path:
    build(source, tmp_path / "c.mmap", Plain())
    return tmp_path / "c.mmap"


def test_it_has_the_rows_that_the_files_have(tmp_path: Path, loose: Path, folder: Path) -> None:
    build(loose, tmp_path / "loose.mmap", Plain())
    assert (folder / ROWS).read_bytes() == (tmp_path / "loose.mmap" / ROWS).read_bytes()
    cache = open_cache(folder, Plain())
    assert cache.name(0).startswith("gen1ou.tar//gen1ou/metamon-gen1ou-")
    report = verify(folder, Plain(), every=1)
    assert (report.compared, report.faults) == (6, [])
    (folder / ROWS).write_bytes(bytes(len((folder / ROWS).read_bytes())))
    assert len(verify(folder, Plain()).faults) == 6


def test_archives_and_folders_go_together(source: Path, loose: Path, folder: Path) -> None:
    shutil.copy(next(trajectory_files(loose)), source)
    write_battle(source, 7)
    report = build(source, folder, Plain())
    assert (report.trajectories, report.set_aside) == (7, {"duplicate": 1})
    assert len(open_cache(folder, Plain())) == 7


def test_what_an_archive_grew_by_is_added(source: Path, loose: Path, folder: Path) -> None:
    pack(source / "gen1ou.tar", write_battle(loose, 8))
    assert len(open_cache(folder, Plain())) == 6  # it fits what it holds
    assert build(source, folder, Plain()).added == 1
    assert len(open_cache(folder, Plain())) == 7


def test_an_archive_is_read_again_only_when_it_changed(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, *_: object) -> None:
        raise AssertionError(f"{file} was read")

    monkeypatch.setattr(cache_source, "archive_members", refuse)
    with monkeypatch.context() as patched:
        patched.setattr(cache_source, "read_text", refuse)
        assert build(source, folder, Plain()).added == 0
    open_cache(folder, Plain())
    os.utime(source / "gen1ou.tar")
    with pytest.raises(AssertionError, match=r"gen1ou\.tar was read"):
        open_cache(folder, Plain())


@pytest.mark.parametrize("use", [open_cache, lambda *args: build(args[0].parent / "packed", *args)])
class TestRefused:
    def test_an_archive_with_other_files_in_the_same_places(
        self, source: Path, folder: Path, use: object
    ) -> None:
        archive = source / "gen1ou.tar"
        content = bytearray(archive.read_bytes())
        cache = Cache(folder)
        size, place = cache.stamp(3)
        text = bytes(lz4.frame.decompress(content[place : place + size]))
        other = lz4.frame.compress(text.replace(b'"gen1ou"', b'"gen1uu"', 1))
        content[place : place + size] = (other + bytes(size))[:size]
        archive.write_bytes(content)
        with pytest.raises(UserError, match=r"has changed|no longer be read"):
            use(folder, Plain())  # type: ignore[operator]

    def test_an_archive_that_is_gone(self, source: Path, folder: Path, use: object) -> None:
        (source / "gen1ou.tar").unlink()
        with pytest.raises(UserError, match=r"6 of its .* missing, such as gen1ou\.tar//gen1ou"):
            use(folder, Plain())  # type: ignore[operator]

    def test_an_archive_without_some_of_its_files(
        self, source: Path, loose: Path, folder: Path, use: object
    ) -> None:
        pack(source / "gen1ou.tar", *list(trajectory_files(loose))[1:], mode="w")
        with pytest.raises(UserError, match="1 of its source files are missing"):
            use(folder, Plain())  # type: ignore[operator]


def test_verify_misses_an_archive_that_was_new_at_the_build(tmp_path: Path, source: Path) -> None:
    os.utime(source / "gen1ou.tar")
    build(source, tmp_path / "c.mmap", Plain())
    assert verify(tmp_path / "c.mmap", Plain()).faults == []
    (source / "gen1ou.tar").unlink()
    assert len(verify(tmp_path / "c.mmap", Plain()).faults) == 6


def test_a_bad_file_in_an_archive_is_set_aside(tmp_path: Path, source: Path) -> None:
    torn = tmp_path / make_name(30).filename
    torn.write_bytes(write_battle(tmp_path / "other", 30).read_bytes()[:-9])
    long = tarfile.TarInfo(f"gen1ou/{'x' * 5000}/{make_name(31).filename}")
    huge = tarfile.TarInfo(f"gen1ou/{make_name(32).filename}")
    huge.size = 2**26
    pack(source / "gen1ou.tar", torn)
    with tarfile.open(source / "gen1ou.tar", "a", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(long, io.BytesIO())
        tar.addfile(huge, io.BytesIO(bytes(huge.size)))
    report = build(source, tmp_path / "c.mmap", Plain())
    assert report.trajectories == 6
    assert report.set_aside == {"unreadable": 1, "bad_name": 1, "too_big": 1}
    assert build(source, tmp_path / "c.mmap", Plain()).set_aside == report.set_aside


@pytest.mark.parametrize("keep", [5000, 700, 100])
def test_an_archive_that_ends_too_early_is_refused(
    tmp_path: Path, source: Path, keep: int, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(source / "gen1ou.tar", keep)
    command = ["cache", "build", str(source), "--output", str(tmp_path / "c.mmap")]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert "gen1ou.tar: " in told and told.endswith(". Download or pack it again.\n")


def test_an_archive_is_given_by_its_folder(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UserError, match="Pass the folder of the archive"):
        build(source / "gen1ou.tar", tmp_path / "c.mmap", Plain())


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), max_size=3),
    place=st.integers(0, 2**16),
    change=st.integers(0, 255),
)
@example(names=[], place=0, change=0)
@example(names=["\0"], place=0, change=0)
@example(names=["é\0"], place=0, change=0)
@example(names=["a\0b", "c"], place=0, change=0)
def test_no_archive_breaks_a_build(names: list[str], place: int, change: int) -> None:
    """With odd names in it and one byte changed: refused, or only good battles are taken."""
    with tempfile.TemporaryDirectory() as root:
        source, good = Path(root, "packed"), write_battle(Path(root), 1)
        source.mkdir()
        with tarfile.open(source / "a.tar", "w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(f"{name}.json"))
                header = tarfile.TarInfo(f"{name}/{good.name}")
                header.size = good.stat().st_size
                tar.addfile(header, io.BytesIO(good.read_bytes()))
        with tarfile.open(source / "a.tar") as tar:  # a name may end at a NUL there, or hold one
            held = any(Path(name).name == good.name and "\0" not in name for name in tar.getnames())
        content = bytearray((source / "a.tar").read_bytes())
        content[place % len(content)] ^= change
        (source / "a.tar").write_bytes(content)
        try:
            report = build(source, Path(root, "c.mmap"), Plain())
            assert verify(Path(root, "c.mmap"), Plain(), every=1).faults == []
        except UserError as error:
            assert change and "a.tar" in str(error)
        else:
            assert report.trajectories == held or change
