"""The whole loop, small: it ends with a report, and goes on where it was stopped."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, cli_command
from tests.support.interruptions import kill_when

SMALL = ("--battles", 20, "--steps", 12, "--tournament_battles", 4)
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def quickstart(folder: Path, *more: object) -> list[str]:
    return cli_command(["quickstart", "--output_dir", folder, *SMALL, *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run and what it said."""
    folder = tmp_path_factory.mktemp("quickstart")
    answer = subprocess.run(quickstart(folder), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder, answer.stdout


def test_it_ends_with_a_report_of_all_five(finished: tuple[Path, str]) -> None:
    folder, said = finished
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and 'src="http' not in page
    ratings = json.loads((folder / "ratings.json").read_text())["ratings"]
    players = {"policy_extraction", "behavior_cloning", "random"}
    assert set(ratings) == players | {"max_base_power", "simple_heuristics"}
    assert "policy_extraction" in said and str(folder / "report.html") in said
    for picture in ("ratings.png", "winrate_matrix.png", "training_curves.png"):
        assert (folder / picture).stat().st_size > 5000


def test_again_it_only_shows_the_report(finished: tuple[Path, str], cli: Cli) -> None:
    folder, _ = finished
    before = (folder / "ratings.json").read_bytes()
    checkpoints = {path: path.stat().st_mtime_ns for path in folder.rglob("checkpoint.pt")}
    assert len(checkpoints) == 2
    answer = subprocess.run(quickstart(folder), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (folder / "ratings.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == checkpoints


def test_another_seed_in_the_same_folder_is_refused(finished: tuple[Path, str]) -> None:
    command = quickstart(finished[0], "--seed", 1)
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 2 and "was played with seed = 0, not 1" in answer.stderr


@pytest.mark.parametrize("wrong", [("--gin", "Learner.lr = 1"), ("--battles", 2)])
def test_what_is_wrong_is_said_before_a_battle_is_played(
    wrong: tuple[object, ...], tmp_path: Path
) -> None:
    answer = subprocess.run(quickstart(tmp_path, *wrong), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 2 and len(answer.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    answer = subprocess.run(
        quickstart(tmp_path, "--resume"), cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 2 and "no run to resume" in answer.stderr


def test_killed_in_each_stage_it_ends_as_if_undisturbed(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    stages = {
        "generating": lambda: len(list(tmp_path.rglob("selfplay/trajectories/*/*.lz4"))) > 5,
        "training": lambda: (tmp_path / "models/behavior_cloning/training_log.csv").exists(),
        "playing": lambda: (tmp_path / "tournament/results.sqlite").exists(),
    }
    for stage, reached in stages.items():
        ended = kill_when(reached, quickstart(tmp_path))
        assert ended.killed, f"{stage}: {ended.stderr}"
    command = quickstart(tmp_path, "--resume")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "ratings.json").read_bytes() == (finished[0] / "ratings.json").read_bytes()
