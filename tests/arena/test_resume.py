"""A killed run goes on where it was: nothing lost, nothing twice, nothing half-written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.play import play_battles
from metamon_ext.arena.rows import BattleRow, read_results
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.cli import main
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from tests.conftest import ROOT, cli_command
from tests.support.battles import result_of
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
        ended = kill_when(
            lambda enough=wanted: count(tmp_path) >= enough,
            command(tmp_path),
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


def test_a_dataset_is_not_mixed_with_another(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.require_settings({"seed": 1, "model": "random"})
    with ResultStore(path) as store:
        store.require_settings({"seed": 1, "model": "random"})
        with pytest.raises(UserError, match="was played with seed = 1, not 2"):
            store.require_settings({"seed": 2, "model": "random"})


def test_other_weights_under_the_same_name_are_another_player(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    weights.write_text("epoch 1")
    player = f"tests.support.arena_policies:WithWeights?file={weights}"
    words = ["play", "--p1", player, "--p2", "random", "--battles", "1", "--workers", "1"]
    words += ["--output_dir", str(tmp_path / "run")]
    assert main(words) == main([*words, "--resume"]) == 0
    path = tmp_path / "run" / "results.sqlite"
    (first,) = read_results(path)
    weights.write_text("epoch 2")
    assert main(words) == 0
    names = {row.key: row.player_a for row in read_results(path)}
    assert len(names) == 2
    fingerprint = re.escape(names.pop(first.key).removeprefix(player))
    assert re.fullmatch("@[0-9a-f]{8}", fingerprint) and list(names.values()) == [player]
    weights.write_text("epoch 1")
    assert main(words) == 0
    assert {row.key: row.player_a for row in read_results(path)}[first.key] == player


def test_a_result_is_kept_once(schedule: Callable[..., list[BattleSpec]], tmp_path: Path) -> None:
    specs = schedule("simple_heuristics", "random", 4)
    with ResultStore(tmp_path / "results.sqlite") as store, LocalExecutor(1) as executor:
        first = play_battles(specs[:2], executor, store)
        assert store.rows() == sorted(first, key=lambda row: row.key)
        everything = play_battles(specs, executor, store)
        assert everything[:2] == first
        assert play_battles(specs, executor) == everything
        for spec, row in zip(specs, everything, strict=True):
            store.add(spec, replace(result_of(spec), key=row.key))
        assert store.rows() == sorted(everything, key=lambda row: row.key)


def test_a_battle_is_known_by_what_its_players_are(
    schedule: Callable[..., list[BattleSpec]], tmp_path: Path
) -> None:
    """In a mirrored pair it does not matter who is named first, nor by which name."""
    weights = [tmp_path / name for name in ("here", "there")]
    for path in weights:
        path.write_text("the same")
    here, there = (f"tests.support.arena_policies:WithWeights?file={path}" for path in weights)
    keys = [
        [spec.key for spec in schedule(a, b, 4, pairs=True)]
        for a, b in [(here, "random"), ("random", here), (there, "random")]
    ]
    assert keys[0] == keys[1] == keys[2] and len(set(keys[0])) == 4
    others = schedule(here, "max_base_power", 4, pairs=True)
    others += schedule(here, "random", 4, seed=1, pairs=True)
    others += schedule(here, "random", 4, pairs=True, turn_limit=5)
    others += schedule(here, "random", 4, "gen2ou", pairs=True)
    assert not {spec.key for spec in others} & set(keys[0])
    assert len({spec.key for spec in others}) == 16


def test_battles_that_failed_are_played_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    raising = f"tests.support.arena_policies:RaisingWhile?file={broken}"
    words = ["play", "--p1", raising, "--p2", "random", "--battles", "4", "--workers", "1"]
    words += ["--output_dir", str(tmp_path / "run"), "--json"]
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["unfinished"] == 4
    broken.unlink()
    assert main([*words, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == 0
