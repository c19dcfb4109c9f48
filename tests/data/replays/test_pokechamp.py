"""A download writes each wanted battle once, however often it is killed, and stops at rubbish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metamon_ext.cli import main
from metamon_ext.data.audit import audit
from metamon_ext.data.replays.pokechamp import DownloadFilter, download
from metamon_ext.errors import RunStopped, UserError
from tests.support.interruptions import disk_full, kill_when
from tests.support.replays import (
    PLACEHOLDER,
    make_log,
    make_pokechamp,
    make_replay,
    write_lines,
    write_parquet,
)

Cli = Callable[..., subprocess.CompletedProcess[str]]


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*.json"))
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def records(count: int) -> list[dict[str, Any]]:
    ranges = ("1000-1199", "1200-1399", "1800+")
    return [make_pokechamp(number, ranges[number % 3]) for number in range(count)]


def test_battles_are_filtered_and_land_where_metamons_parser_looks(tmp_path: Path) -> None:
    other = make_pokechamp(50, gamemode="gen9ou", battle_id="gen9ou-50")
    other["text"] = make_log(50, tier="[Gen 9] OU")
    content = [
        *records(9),
        make_pokechamp(9, "unrated"),
        other,
        *records(2)[1:],
        make_pokechamp(text=""),
    ]
    source = write_parquet(tmp_path / "a.parquet", content)
    report = download(tmp_path / "out", DownloadFilter(1200, ("gen1ou",)), source=source)
    assert sorted(tree(tmp_path / "out")) == [
        f"gen1/ou/gen1ou-{number}.json" for number in (1, 2, 4, 5, 7, 8)
    ]
    assert (report.files, report.usable_files) == (13, 6)
    expected = {"low_rating": 4, "other_format": 1, "same_name": 1, "empty_log": 1}
    assert report.reasons == expected
    assert audit([tmp_path / "out"]).verdict == "usable"
    everything = download(tmp_path / "all", source=source)
    assert everything.reasons == {"same_name": 1, "empty_log": 1}
    assert (tmp_path / "all" / "gen9" / "ou" / "gen9ou-50.json").exists()


def test_what_is_not_kept_is_said_with_the_reason(tmp_path: Path, cli: Cli) -> None:
    write_lines(tmp_path / "a.jsonl", [*records(3), *records(2), make_pokechamp(gamemode="gen2ou")])
    flags = ("--source", tmp_path / "a.jsonl", "--min-elo", "1200", "--formats", "gen1ou")
    answer = cli("download_pokechamp", "--output-dir", tmp_path / "out", *flags)
    assert answer.returncode == 0, answer.stderr
    for reason in ("low_rating", "same_name", "format_mismatch"):
        assert reason in answer.stdout
    answer = cli("download_pokechamp", "--output-dir", tmp_path / "none", *flags[:-1], "gen3ou")
    assert (answer.returncode, "other_format" in answer.stdout) == (1, True)


def test_max_games_counts_what_is_kept_and_can_be_raised(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", records(300))
    out = tmp_path / "out"
    for most in (5, 5, 70):
        report = download(out, DownloadFilter(1200), most, source)
        assert report.usable_files == len(tree(out)) == most
    download(tmp_path / "at once", DownloadFilter(1200), 70, source, workers=2)
    assert tree(tmp_path / "at once") == tree(out)
    assert download(out, DownloadFilter(1200), source=source).usable_files == 200


SLOW = """
import sys, time
from metamon_ext.cli import main
from metamon_ext.data.replays import pokechamp
prepare = pokechamp.prepare
pokechamp.prepare = lambda *args, **wanted: time.sleep(0.0005) or prepare(*args, **wanted)
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_download_goes_on_with_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", [*records(3000), *records(20)])
    flags = ["--source", source, "--min-elo", "1200", "--num-workers", "1", "--json"]
    command = ["download_pokechamp", "--output-dir", tmp_path / "out", *flags]
    command = [sys.executable, "-c", SLOW, *map(str, command)]
    kills = 0
    for _ in range(30):
        until = len(tree(tmp_path / "out")) + 300
        ended = kill_when(lambda enough=until: len(tree(tmp_path / "out")) >= enough, command)
        if not ended.killed:
            break
        kills += 1
    answer = json.loads(ended.stdout)
    assert kills >= 2
    assert answer == {
        "read": 3020,
        "kept": 2000,
        "dropped": {"low_rating": 1007, "same_name": 13},
        "notes": [],
    }
    download(tmp_path / "at once", DownloadFilter(1200), source=source)
    assert tree(tmp_path / "out") == tree(tmp_path / "at once")


def test_placeholders_stop_it_early_and_for_good(tmp_path: Path, cli: Cli) -> None:
    content = [*records(3), *[PLACEHOLDER] * 5000, *records(5)]
    write_lines(tmp_path / "a.jsonl", content)
    command = (
        "download_pokechamp",
        "--output-dir",
        tmp_path / "out",
        "--source",
        tmp_path / "a.jsonl",
    )
    for _ in range(2):
        answer = cli(*command)
        assert answer.returncode == 1 and answer.stdout == ""
        [line] = answer.stderr.splitlines()
        assert "All 1,000 records that were checked are placeholders with an empty log" in line
    assert len(tree(tmp_path / "out")) == 3


def test_a_short_download_of_placeholders_is_called_one(tmp_path: Path, cli: Cli) -> None:
    write_lines(tmp_path / "a.jsonl", [PLACEHOLDER] * 10)
    answer = cli(
        "download_pokechamp", "--output-dir", tmp_path / "out", "--source", tmp_path / "a.jsonl"
    )
    assert answer.returncode == 1 and "placeholders" in answer.stderr


def test_records_of_something_else_stop_it_too(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"question": "?"}] * 2000)
    with pytest.raises(
        RunStopped, match=r"last 1,000 records are no battles \(not_a_replay 1,000\)"
    ):
        download(tmp_path / "out", source=tmp_path / "a.jsonl")


def test_a_folder_belongs_to_one_download(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", records(5))
    out = tmp_path / "out"
    download(out, source=source)
    with pytest.raises(UserError, match=r"min-elo 0, not 1500\. Choose another folder"):
        download(out, DownloadFilter(1500), source=source)
    write_lines(source, records(6))
    with pytest.raises(UserError, match="has a run with source"):
        download(out, source=source)
    with pytest.raises(UserError, match="overlap"):
        download(tmp_path / "in" / "out", source=tmp_path / "in")
    with pytest.raises(UserError, match="nowhere: No such file"):
        download(out, source=tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*file"):
        download(tmp_path / "file" / "out", source=source)


def test_two_runs_at_once_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_lines(tmp_path / "a.jsonl", records(5))

    def read_slowly(_: Path) -> Iterator[object]:
        with pytest.raises(UserError, match="in use by another run"):
            download(tmp_path / "out", source=source)
        yield from ()

    monkeypatch.setattr("metamon_ext.data.replays.pokechamp._local", read_slowly)
    download(tmp_path / "out", source=source)


def test_a_full_disk_is_reported_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_lines(tmp_path / "a.jsonl", records(5))
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if len(tree(tmp_path / "out")) == 2:
            disk_full()
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunStopped, match=r"No space left on device\. Run the command again"):
        download(tmp_path / "out", source=source)
    monkeypatch.undo()
    assert len(list((tmp_path / "out").rglob("*.tmp"))) == 0
    assert download(tmp_path / "out", source=source).usable_files == 5
    assert len(tree(tmp_path / "out")) == 5


class Rows(list):  # type: ignore[type-arg]
    """As much of a streamed data set as is used."""

    def skip(self, count: int) -> Rows:
        return Rows(self[count:])


def test_the_hub_is_streamed_and_a_lost_connection_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    ends: list[Any] = [ConnectionError("no route\nto the hub")]

    def load_dataset(name: str, **options: object) -> Rows:
        asked.append((name, options))
        rows = Rows(records(500))
        return SimpleNamespace(skip=lambda count: broken(rows.skip(count)))  # type: ignore[return-value]

    def broken(rows: Rows) -> Iterator[dict[str, Any]]:
        yield from rows[:250]
        if ends:
            raise ends.pop()
        yield from rows[250:]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(RunStopped, match=r"hub failed for milkkarten/pokechamp \(no route\)"):
        download(tmp_path / "out")
    assert download(tmp_path / "out").files == 500
    assert len(tree(tmp_path / "out")) == 500
    options = {"split": "train", "streaming": True, "revision": None}
    assert asked == [("milkkarten/pokechamp", options)] * 2


def test_without_datasets_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "metamon_ext\[data\]"'):
        download(tmp_path / "out")


@pytest.mark.parametrize(
    ("flag", "name"), [("--max-games", "max_games"), ("--num-workers", "workers")]
)
def test_none_at_all_is_refused(
    flag: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download_pokechamp", "--output-dir", str(tmp_path / "out"), flag, "0"]) == 2
    assert f"{name} must be a whole number of at least 1, not 0." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_script_takes_its_flags_as_they_are_known(tmp_path: Path, repository: Path) -> None:
    write_lines(tmp_path / "a.jsonl", map(make_replay, range(3)))
    script = [sys.executable, "scripts/download_pokechamp.py", "--output-dir", tmp_path / "out"]
    flags = ["--max-games", "2", "--min-elo", "1200", "--num-workers", "2", "--source", tmp_path]
    answer = subprocess.run(
        [*script, *flags], cwd=repository, capture_output=True, text=True, env=os.environ
    )
    assert answer.returncode == 2 and "overlap" in answer.stderr
    flags[-1] = tmp_path / "a.jsonl"
    answer = subprocess.run(
        [*script, *flags], cwd=repository, capture_output=True, text=True, env=os.environ
    )
    assert answer.returncode == 0, answer.stderr
    assert f"Kept 2 of 2 battles in {tmp_path / 'out'}." in answer.stdout
