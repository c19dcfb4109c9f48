"""A killed run goes on where it was: nothing lost, nothing twice, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import BattleRow, ResultStore, read_results
from metamon_ext.cli import main
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from tests.conftest import ROOT, cli_command
from tests.support.interruptions import kill_when, running, wait_until_ended

BATTLES = 80


def command(folder: Path, *more: str) -> list[str]:
    return cli_command(
        [
            "play",
            "--p1",
            "simple_heuristics",
            "--p2",
            "random",
            "--battles",
            BATTLES,
            "--seed",
            3,
            "--workers",
            2,
            "--output_dir",
            folder,
            "--save_trajectories_to",
            folder / "trajectories",
            *list(more),
        ]
    )


def outcome(folder: Path) -> tuple[list[BattleRow], dict[str, bytes]]:
    """The results, and the trajectories by their names without the date of the run."""
    files = {
        "_".join([*path.name.split("_")[:5], path.name.split("_")[-1]]): path.read_bytes()
        for path in trajectory_files(folder / "trajectories")
    }
    return read_results(folder / "results.sqlite"), files


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[BattleRow], dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(folder), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    rows, files = outcome(folder)
    assert len(rows) == BATTLES and len(files) >= BATTLES
    return rows, files


@pytest.mark.parametrize(
    "signal_number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"]
)
def test_a_killed_run_is_resumed_to_the_same_end(
    signal_number: signal.Signals,
    undisturbed: tuple[list[BattleRow], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    kills = 0
    for wanted in (3, 15):
        more = ["--resume"] if (tmp_path / "results.sqlite").exists() else []
        ended = kill_when(
            lambda enough=wanted: count(tmp_path) >= enough,
            command(tmp_path, *more),
            signal_number,
            with_workers=False,
        )
        kills += ended.killed
        assert "Traceback" not in ended.stderr  # nor do workers complain that their parent is gone
        if signal_number == signal.SIGINT:
            assert ended.returncode == 1
        wait_until_ended(lambda session=ended.pid: running(session))
        for path in trajectory_files(tmp_path / "trajectories"):
            read_trajectory(path)  # whole, whatever happened
    assert kills == 2 and wanted <= count(tmp_path) < BATTLES
    subprocess.run(command(tmp_path, "--resume"), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    assert outcome(tmp_path) == undisturbed


def count(folder: Path) -> int:
    path = folder / "results.sqlite"
    try:
        return len(read_results(path)) if path.exists() else 0
    except UserError:
        return 0  # its tables are not there yet


def test_a_run_is_not_overwritten_nor_mixed_with_another(
    schedule: Callable[..., list[BattleSpec]], tmp_path: Path
) -> None:
    path = tmp_path / "results.sqlite"
    ResultStore(path, {"seed": 1, "pairs": True}, resume=False).close()
    with pytest.raises(UserError, match="holds a run already: add --resume"):
        ResultStore(path, {"seed": 1, "pairs": True}, resume=False)
    with pytest.raises(UserError, match="was played with seed = 1, not 2"):
        ResultStore(path, {"seed": 2, "pairs": True}, resume=True)
    store = ResultStore(path, {"seed": 1, "pairs": True}, resume=True)
    specs = schedule("random", "random", 4)
    assert store.missing(specs) == specs


def test_a_run_does_not_go_on_with_other_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    weights.write_text("epoch 1")
    player = f"tests.support.arena_policies:WithWeights?file={weights}"
    words = ["play", "--p1", player, "--p2", "random", "--battles", "1", "--workers", "1"]
    words += ["--output_dir", str(tmp_path / "run")]
    assert main(words) == main([*words, "--resume"]) == 0
    weights.write_text("epoch 2")
    assert main([*words, "--resume"]) == 2
    assert "was played with weights" in capsys.readouterr().err


def test_a_result_is_kept_once(schedule: Callable[..., list[BattleSpec]], tmp_path: Path) -> None:
    from metamon_ext.arena.play import play_all

    store = ResultStore(tmp_path / "results.sqlite", {}, resume=False)
    specs = schedule("simple_heuristics", "random", 4)
    _, first = play_all(specs[:2], WorkerSettings(), 1, store)
    _, then = play_all(specs, WorkerSettings(), 1, store)
    assert (first, then) == (2, 2)
    again, _ = play_all(specs, WorkerSettings(), 1)
    for spec in specs:
        store.add(spec, again[spec.key])
    assert len(list(store.rows())) == 4


def test_battles_that_ended_in_trouble_are_played_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trouble = tmp_path / "trouble"
    trouble.touch()
    raising = f"tests.support.arena_policies:RaisingWhile?file={trouble}"
    words = ["play", "--p1", raising, "--p2", "random", "--battles", "4", "--workers", "1"]
    words += ["--output_dir", str(tmp_path / "run"), "--json"]
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["unfinished"] == 4
    trouble.unlink()
    assert main([*words, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == 0
