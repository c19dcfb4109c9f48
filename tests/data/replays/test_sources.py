"""Whatever the battles are packed in, they come out one by one, and no file does harm."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metamon_ext.data.replays.readers import Record
from metamon_ext.data.replays.sources import data_files, records, sample
from metamon_ext.data.trajectory import MAX_UNPACKED_BYTES, TrajectoryError
from metamon_ext.data.validation import REASONS, TRAJECTORY, validate
from metamon_ext.errors import UserError
from tests.support.replays import (
    make_pokechamp,
    make_replay,
    write_lines,
    write_parquet,
    write_replay,
)
from tests.support.states import make_name, write_battle

slow = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_tar(path: Path, numbers: range = range(3)) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for number in numbers:
            file = write_battle(path.parent / "loose", number)
            archive.add(file, f"gen1ou/{file.name}")
    return path


def write_json(path: Path) -> Path:
    path.write_bytes(json.dumps(make_replay()).encode())
    return path


def write_gzip(path: Path) -> Path:
    path.write_bytes(gzip.compress(json.dumps(make_replay()).encode()))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "one.json": write_json,
    "one.json.gz": write_gzip,
    make_name().filename: lambda path: write_battle(path.parent, 0).rename(path),
    "many.jsonl": lambda path: write_lines(path, map(make_replay, range(3))),
    "many.jsonl.gz": lambda path: pack_gzip(path, write_lines(path, map(make_replay, range(3)))),
    "many.parquet": lambda path: write_parquet(path, list(map(make_replay, range(3))), 2),
    "many.tar": write_tar,
    "many.tar.gz": write_tar,
    "many.tar.lz4": lambda path: pack_lz4(path, write_tar(path)),
}


def pack_gzip(path: Path, plain: Path) -> Path:
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def pack_lz4(path: Path, plain: Path) -> Path:
    path.write_bytes(lz4.frame.compress(plain.read_bytes()))
    return path


def reasons(path: Path) -> list[str | None]:
    return [validate(record).reason for record in records(path)]


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_its_battles(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    results = [validate(record) for record in records(path)]
    assert [result.reason for result in results] == [None] * (3 if "many" in name else 1)
    assert len({result.digest for result in results}) == len(results)
    assert all(result.file == path for result in results)
    assert len(list(records(path, 2))) == min(2, len(results))


def test_the_format_of_a_member_is_that_of_its_folder_in_the_archive(tmp_path: Path) -> None:
    file = write_battle(tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(file, f"gen2ou/{file.name}")
        archive.add(file, f"gen1ou/.{file.name}")
        archive.add(file, "gen1ou/index.csv")
    [result] = map(validate, records(tmp_path / "a.tar"))
    assert (result.reason, result.path.parts[-2]) == ("format_mismatch", "gen2ou")


def test_a_bad_record_does_not_hide_the_others(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [make_replay(0), [], "x", {"log": 5}, make_replay(1)])
    with path.open("a") as file:
        file.write('\n\n{"log": \n')
    expected = [None, "not_a_trajectory", "not_a_trajectory", "not_a_replay", None, "not_json"]
    assert reasons(path) == expected
    assert validate(list(records(path))[4]).path == Path(f"{path}:5")


def test_a_parquet_file_of_something_else_is_no_replay(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{"question": "?", "answer": "!"}])
    assert reasons(path) == ["not_a_replay"]


def test_a_row_of_nothing_is_one_bad_record(tmp_path: Path) -> None:
    rows = [make_replay(0), dict.fromkeys(make_replay()), make_replay(1)]
    assert reasons(write_parquet(tmp_path / "a.parquet", rows)) == [None, "not_a_replay", None]


def test_files_are_found_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    others = ("x.csv", ".a.tar", "filtering_stats.json", "elo_ratings.json", "set_aside.jsonl")
    for name in ("b/a.parquet", "a.tar", "c.jsonl", *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.name for path in data_files([tmp_path])]
    assert found == ["a.tar", "c.jsonl", "a.parquet"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty contains no \.json\.lz4 or \.json file"):
        list(data_files([tmp_path / "empty"]))
    for search in (data_files, lambda paths: sample(paths, 5)):
        with pytest.raises(UserError, match="nowhere: No such file"):
            list(search([tmp_path / "nowhere"]))


def test_a_sample_comes_from_everywhere(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "a.jsonl", map(make_replay, range(400)))
    parquet = write_parquet(tmp_path / "a.parquet", list(map(make_replay, range(400))), 20)
    many = write_parquet(tmp_path / "b.parquet", list(map(make_replay, range(390))), 10)
    for path in (lines, parquet, many):
        found = list(records(path, 20))
        assert len({validate(record).digest for record in found}) == len(found) == 20
        dates = sorted(validate(record).date for record in found)
        assert (dates[0].year, dates[-1].year) == (2016, 2017)  # 400 days
    for folder in ("a", "b"):
        for number in range(30):
            write_replay(tmp_path / "tree" / folder, number)
    folders = [record.file.parts[-4] for record in sample([tmp_path / "tree"], 10)]
    assert (folders.count("a"), folders.count("b")) == (5, 5)


def test_pyarrow_is_asked_for_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'pip install "metamon_ext\[data\]"\.$'):
        list(records(tmp_path / "a.parquet"))


def gigabytes(path: Path) -> Path:
    """A small file that unpacks to far more than fits."""
    if path.name.endswith(".parquet"):
        column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000), pa.array(["x" * 2**24]))
        pq.write_table(pa.table({"log": column}), path, compression="zstd", store_schema=False)
        return path
    with gzip.open(path, "wb", compresslevel=1) as file:
        if "tar" in path.name:
            header = tarfile.TarInfo("gen1ou/a.json")
            header.size = 2**28
            if path.name.startswith("pax"):
                header.type = tarfile.XHDTYPE
            file.write(header.tobuf())
        for _ in range(2**8):
            file.write(bytes(2**20))
    return path


@pytest.mark.parametrize("name", ["a.json.gz", "a.jsonl.gz", "a.tar.gz", "pax.tar.gz", "a.parquet"])
def test_a_small_file_that_unpacks_to_a_huge_one_takes_no_memory(tmp_path: Path, name: str) -> None:
    path = gigabytes(tmp_path / name)
    assert path.stat().st_size < 2**21
    tracemalloc.start()
    found = {validate(record).reason for record in records(path)}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"unreadable"} if name == "pax.tar.gz" else found == {"too_big"}
    assert peak + pa.default_memory_pool().max_memory() < 8 * MAX_UNPACKED_BYTES


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: write(folder / name).read_bytes() for name, write in WRITERS.items()}


@settings(slow, max_examples=300)
@given(
    name=st.sampled_from(sorted(WRITERS)),
    place=st.integers(0, 2**20),
    damage=st.sampled_from(["cut", "insert"]) | st.integers(1, 255),
    strange=st.binary(min_size=1, max_size=20),
)
def test_a_damaged_file_never_breaks_a_reader(
    tmp_path: Path,
    whole_files: dict[str, bytes],
    name: str,
    place: int,
    damage: int | str,
    strange: bytes,
) -> None:
    content = bytearray(whole_files[name])
    place %= len(content)
    if damage == "cut":
        del content[place:]
    elif damage == "insert":
        content[place:place] = strange
    elif isinstance(damage, int):
        content[place] ^= damage
    path = tmp_path / name
    path.write_bytes(content)
    for record in records(path):
        assert validate(record).reason in {None, *REASONS}


def test_a_byte_order_mark_costs_no_record_and_is_named_where_metamon_would_fail(
    tmp_path: Path,
) -> None:
    lines = write_lines(tmp_path / "a.jsonl", map(make_replay, range(3)))
    lines.write_bytes(b"\xef\xbb\xbf" + lines.read_bytes())
    assert [validate(record).reason for record in records(lines)] == [None] * 3
    trajectory = write_battle(tmp_path, 0)
    marked = b"\xef\xbb\xbf" + lz4.frame.decompress(trajectory.read_bytes())
    trajectory.write_bytes(lz4.frame.compress(marked))
    result = validate(trajectory)
    assert result.reason == "not_json" and "byte order mark" in result.detail


@slow
@given(content=st.binary(max_size=200), name=st.sampled_from(sorted(WRITERS)))
def test_arbitrary_bytes_never_break_a_reader(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for record in records(path):
        assert validate(record).reason in REASONS


@slow
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["log", "text", "id", "players", "uploadtime", "elo", "states"]),
            st.none() | st.integers(-(2**60), 2**60) | st.text() | st.lists(st.text()),
        )
    )
)
def test_any_json_lines_are_judged(tmp_path: Path, content: list[dict[str, object]]) -> None:
    path = write_lines(tmp_path / "a.jsonl", content)
    assert len(reasons(path)) == max(len(content), 1) and set(reasons(path)) <= set(REASONS)


@slow
@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=50))))
def test_any_archive_is_judged(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            header = tarfile.TarInfo(f"{name}.json")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    assert set(reasons(path)) <= set(REASONS)


def test_judging_says_what_a_member_is(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar")
    assert {validate(record).kind for record in records(path)} == {TRAJECTORY}
    assert {validate(record).rating for record in map_records(tmp_path)} == {1200}


def map_records(folder: Path) -> list[Record | TrajectoryError]:
    return list(records(write_parquet(folder / "p.parquet", [make_pokechamp(i) for i in range(3)])))
