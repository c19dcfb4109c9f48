"""Metamon's parser on battles of the simulator: in parallel, killed, and with bad replays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from metamon.data import MetamonDataset
from metamon.interface import BinaryReward, DefaultActionSpace, DefaultObservationSpace

from metamon_ext.data.audit import audit
from metamon_ext.data.replays.raw import read_replay
from metamon_ext.data.trajectory import read_trajectory, safe_player_name, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.upstream import replay_parser
from tests.upstream.raw_replays import SPECTATED, play, write_statistics

ROOT = Path(__file__).parents[2]
BATTLES = 10
OTHER_GENERATIONS = ["gen2ou", "gen3ou", "gen4ou", "gen9ou"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    for battle_format in ("gen1ou", *OTHER_GENERATIONS):
        write_statistics(folder, battle_format)
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
    shutil.copytree(parsed, tmp_path / "copy")  # Metamon leaves an index beside what it reads
    assert load(tmp_path / "copy", "gen1ou") == len(files)


def load(root: Path, battle_format: str) -> int:
    """As many trajectories as Metamon's loader reads in the folder of a format."""
    dataset = MetamonDataset(
        dset_root=str(root),
        observation_space=DefaultObservationSpace(),
        action_space=DefaultActionSpace(),
        reward_function=BinaryReward(),
        formats=[battle_format],
    )
    return sum(1 for number in range(len(dataset)) if dataset[number])


def test_spectated_battles_of_every_generation(cache: Path, tmp_path: Path) -> None:
    """In two runs, between which other records come to stand where the first ones stood."""
    raw, output = tmp_path / "raw", tmp_path / "parsed"
    raw.mkdir()
    gen2, gen3, gen4, gen9 = lines = SPECTATED.read_text(encoding="utf-8").splitlines()

    def run(lines: list[str], *flags: object) -> dict[str, Any]:
        (raw / "battles.jsonl").write_text("\n".join(lines), encoding="utf-8")
        answer = parse(cache, command(raw, output, "--num-workers", 1, *flags))
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    first = run([gen2, gen3], "--formats", "gen2ou")
    assert first == {"replays": 2, "trajectories": 2, "causes": {"other_format": 1}, "notes": []}
    second = run([gen4, gen3, gen9, gen9, gen2])
    assert second == {"replays": 6, "trajectories": 8, "causes": {"same_name": 2}, "notes": []}

    report = audit([output])
    assert report.verdict == "usable" and report.files == 8
    replays = [read_replay(SPECTATED, json.loads(line)) for line in lines]
    assert [replay.format for replay in replays] == OTHER_GENERATIONS
    for replay in replays:
        sides = [read_trajectory(file) for file in trajectory_files(output / replay.format)]
        assert {side.name.player for side in sides} == set(map(safe_player_name, replay.players))
        for side in sides:
            won = side.name.player == safe_player_name(replay.winner)
            assert side.name.outcome == ("WIN" if won else "LOSS")
            assert side.name.battle_id == replay.id
            last = side.states[-1]
            assert (last["battle_won"], last["battle_lost"]) == (won, not won)
        terastallized = any(action >= 9 for side in sides for action in side.actions)
        assert terastallized == (replay.format == "gen9ou")
        assert load(output, replay.format) == 2


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
    assert len(names) == len(set(names)) == BATTLES + 3  # the other format's may still be asked for
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
    assert answer.returncode == 2 and "Choose another folder" in answer.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--formats", "gen1uu", "gen5ou"), "Unknown format gen5ou. Metamon has"),
        (("--team_predictor", "Oracle"), "Unknown predictor Oracle. Metamon has"),
    ],
)
def test_what_metamon_does_not_have_is_named(
    raw: Path, cache: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    answer = parse(cache, command(raw, tmp_path / "out", *flags))
    assert answer.returncode == 2 and message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_bad_input(
    raw: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    answer = parse(cache, command(raw, tmp_path / "file" / "out"))
    assert answer.returncode == 2
    said = f"Cannot write {tmp_path}/file/out: Not a directory. Choose another folder."
    assert answer.stderr == f"metamon-ext: {said}\n"


def test_a_full_disk_is_no_fault_of_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def parse_replay(self, path: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(replay_parser, "_worker", (Full(), tmp_path, 0), raising=False)
    line, *_ = SPECTATED.read_text(encoding="utf-8").splitlines()
    replay = read_replay(SPECTATED, json.loads(line))
    with pytest.raises(OSError, match=r"No space left on device: .*parse-"):
        replay_parser.parse(replay_parser.Job("a.json", replay.id, replay))


def test_missing_statistics_are_asked_for_once(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metamon.data import download

    asked = []

    def offline(gen: int) -> str:
        asked.append(gen)
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(download, "download_usage_stats", offline)
    statistics = replay_parser.Statistics("NaiveUsagePredictor")
    with pytest.raises(UserError, match=r"usage-stats for gen1ou .* \(no network\)") as caught:
        statistics.require("gen1ou")
    assert "\n" not in str(caught.value)
    write_statistics(tmp_path)
    monkeypatch.setattr(
        download, "download_usage_stats", lambda gen: asked.append(gen) or tmp_path / "usage-stats"
    )
    statistics.require("gen1ou")
    statistics.require("gen1ou")
    assert asked == [1, 1]
    with pytest.raises(UserError, match="gen1/uu has no usage statistics"):
        statistics.require("gen1uu")
