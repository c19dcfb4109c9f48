"""Metamon's parser on battles of the simulator: in parallel, killed, and with bad replays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from metamon.data import MetamonDataset
from metamon.interface import BinaryReward, DefaultActionSpace, DefaultObservationSpace

from metamon_ext.data.audit import audit
from metamon_ext.data.trajectory import trajectory_files
from tests.upstream.raw_replays import play, write_statistics

ROOT = Path(__file__).parents[2]
BATTLES = 10


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    write_statistics(folder)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of battles, one of which is cut short, two records of no use, and an empty file."""
    root = tmp_path_factory.mktemp("raw")
    folder = root / "gen1" / "ou"
    folder.mkdir(parents=True)
    for replay in play(BATTLES):
        (folder / f"{replay['id']}.json").write_text(json.dumps(replay))
    short = replay | {"id": "gen1ou-1", "log": replay["log"].split("|turn|3")[0] + "|win|ash_k"}
    other = {
        "id": "gen1lc-2",
        "formatid": "gen1lc",
        "log": short["log"].replace("Gen 1] OU", "Gen 1] LC"),
    }
    empty = {"id": "game_0_0", "log": "", "players": [], "format": "gen1ou"}
    lines = [json.dumps(record) + "\n" for record in (short, replay | other, empty)]
    (root / "more.jsonl").write_text("".join(lines))
    (folder / "\udcff.json").touch()
    return root


def command(raw: Path, output: Path, *flags: object) -> list[str]:
    folders = ("--input-dir", raw, "--output-dir", output)
    script = ROOT / "scripts" / "parse_replays.py"
    return [sys.executable, *map(str, (script, *folders, "--json", *flags))]


def parse(cache: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"METAMON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)


def contents(output: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in trajectory_files(output / "gen1ou")}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory, raw: Path, cache: Path) -> Path:
    """The output of one run in one process."""
    output = tmp_path_factory.mktemp("parsed")
    answer = parse(cache, command(raw, output, "--num-workers", 1))
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    causes = Counter(summary["causes"])
    assert summary["replays"] == BATTLES + 4
    assert causes["empty_log"] == causes["other_format"] == causes["not_json"] == 1
    assert causes["UnfinishedReplayException"] == 1
    assert summary["trajectories"] >= 2 * (BATTLES - 3)
    return output


def test_trajectories_are_good_and_metamon_loads_every_one(parsed: Path, tmp_path: Path) -> None:
    report = audit([parsed])
    files = contents(parsed)
    assert report.verdict == "usable" and report.files == len(files)
    assert report.outcomes["WIN"] == report.outcomes["LOSS"]
    assert all("_ash+k_vs_Gary-Oak~" in name or "_vs_ash+k_" in name for name in files)
    folder = tmp_path / "gen1ou"  # Metamon leaves an index beside what it reads
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    dataset = MetamonDataset(
        dset_root=str(tmp_path),
        observation_space=DefaultObservationSpace(),
        action_space=DefaultActionSpace(),
        reward_function=BinaryReward(),
        formats=["gen1ou"],
    )
    assert len(dataset.filenames) == len(files)


def test_failures_are_listed_by_cause(parsed: Path, raw: Path) -> None:
    lines = (parsed / "parse_failures.tsv").read_text().splitlines()
    failures = {tuple(line.split("\t")[:2]) for line in lines}
    assert failures >= {
        ("UnfinishedReplayException", f"{raw.name}/more.jsonl:1"),
        ("other_format", f"{raw.name}/more.jsonl:2"),
        ("empty_log", f"{raw.name}/more.jsonl:3"),
    }
    assert all(len(line.split("\t")) == 3 for line in lines)


def test_a_killed_run_goes_on_and_workers_change_nothing(
    parsed: Path, raw: Path, cache: Path, tmp_path: Path
) -> None:
    words = command(raw, tmp_path / "out", "--num-workers", 2, "--batch-size", 2)
    environment = os.environ | {"METAMON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, start_new_session=True)
    while process.poll() is None and not (tmp_path / "out" / "gen1ou").exists():
        time.sleep(0.01)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    answer = parse(cache, words)
    assert answer.returncode == 0, answer.stderr
    assert contents(tmp_path / "out") == contents(parsed)
    lines = (tmp_path / "out" / ".parse_replays.jsonl").read_text().splitlines()
    names = [json.loads(line)["name"] for line in lines[1:]]
    assert len(names) == len(set(names)) == BATTLES + 4
    hidden = [path for path in tmp_path.rglob(".*") if path.name != ".parse_replays.jsonl"]
    assert len(hidden) <= 2  # at most what the killed workers were writing


def test_a_finished_run_does_nothing_more_and_other_guesses_need_another_folder(
    parsed: Path, raw: Path, cache: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trajectory_files(parsed / "gen1ou")}
    answer = parse(cache, command(raw, parsed))
    assert json.loads(answer.stdout)["trajectories"] == len(before)
    assert before == {path: path.stat().st_mtime_ns for path in trajectory_files(parsed / "gen1ou")}
    answer = parse(cache, command(raw, parsed, "--seed", 1))
    assert answer.returncode == 2 and "use another folder" in answer.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--formats", "gen1uu", "gen5ou"), "Metamon has no format gen5ou"),
        (("--team_predictor", "Oracle"), "Metamon has no Oracle: it has"),
        (("--batch-size", "0"), "must be at least 1"),
    ],
)
def test_what_metamon_does_not_have_is_named(
    raw: Path, cache: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    answer = parse(cache, command(raw, tmp_path / "out", *flags))
    assert answer.returncode == 2 and message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_missing_statistics_are_asked_for_once(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metamon.data import download

    from metamon_ext.errors import UserError
    from metamon_ext.upstream.replay_parser import StatisticsAsked

    asked = []

    def offline(gen: int) -> str:
        asked.append(gen)
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(download, "download_usage_stats", offline)
    ask = StatisticsAsked("NaiveUsagePredictor")
    with pytest.raises(UserError, match=r"usage-stats for gen1ou .* \(no network\)") as caught:
        ask("gen1ou")
    assert "\n" not in str(caught.value)
    write_statistics(tmp_path)
    monkeypatch.setattr(
        download, "download_usage_stats", lambda gen: asked.append(gen) or tmp_path / "usage-stats"
    )
    ask("gen1ou")
    ask("gen1ou")
    assert asked == [1, 1]
    with pytest.raises(UserError, match="gen1/uu holds no usage statistics"):
        ask("gen1uu")
