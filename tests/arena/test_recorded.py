"""The filter knows from the arena's own records who chose what was not legal, and for how long."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from metamon_ext.arena.rows import read_results
from metamon_ext.data.trajectory import TrajectoryName, trajectory_files
from tests.support.battles import is_decided

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def test_only_the_careless_player_is_set_aside(cli: Cli, tmp_path: Path) -> None:
    """Both points of view of a battle lie beside each other; the record tells them apart."""
    data, out = tmp_path / "data", tmp_path / "out"
    careless = "tests.support.arena_policies:AlwaysIllegal"
    made = cli(
        *("generate_selfplay_data", "--model", careless, "--opponent_model", "random"),
        *("--num_battles", 6, "--output_dir", data, "--team_set", "sample", "--workers", 1),
    )
    assert made.returncode == 0, made.stderr
    answer = cli(
        *("filter_selfplay_data", "--input_dir", data, "--output_dir", out, "--json"),
        *("--min_turns", 1),
    )
    assert answer.returncode == 0, answer.stderr
    stats = json.loads(answer.stdout)
    assert stats["reasons"]["invalid_choices"]["files"] == 6 == stats["kept_files"]
    assert stats["files_without_record"] == 0
    players = {TrajectoryName.parse(path.name).player for path in trajectory_files(out)}
    assert players == {"random"}


def test_turns_are_those_of_the_record(cli: Cli, tmp_path: Path) -> None:
    """In a folder whose name would mean something else in a URI."""
    data, out = tmp_path / "run #1? 50%20", tmp_path / "out"
    made = cli(
        *("generate_selfplay_data", "--model", "random", "--num_battles", 10, "--workers", 1),
        *("--output_dir", data, "--team_set", "sample"),
    )
    assert made.returncode == 0, made.stderr
    turns = sorted(row.turns for row in read_results(data / "results.sqlite"))
    limit = turns[len(turns) // 2]
    answer = cli(
        *("filter", "--input_dir", data, "--output_dir", out, "--json", "--dry_run"),
        *("--min_turns", limit),
    )
    kept = sum(
        row.turns >= limit for row in read_results(data / "results.sqlite") if is_decided(row)
    )
    assert json.loads(answer.stdout)["kept_files"] == 2 * kept
    assert not out.exists()
