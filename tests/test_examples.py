"""The examples run as their docstrings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from metamon_ext.arena.rows import read_results
from tests.conftest import ROOT
from tests.support.processes import run_python

DATA = ROOT / "tests" / "data" / "arena" / "gen1ou"


def example(name: str, *args: object) -> str:
    """What the example prints."""
    return run_python(ROOT / "examples" / f"{name}.py", *args, cwd=ROOT, path=ROOT)


def test_a_policy_of_ones_own_is_rated(tmp_path: Path) -> None:
    printed = example("own_policy", "--output_dir", tmp_path, "--num_battles", 4)
    lines = printed.splitlines()
    assert {line.split()[0] for line in lines} == {"strongest_of_two", "random", "max_base_power"}
    assert all("in 8 battles" in line for line in lines)


def test_the_loop_ends_with_a_policy_that_has_played(tmp_path: Path) -> None:
    args = ("--output_dir", tmp_path, "--num_battles", 12, "--steps", 1)
    printed = example("generate_filter_train", *args)
    assert "24 trajectories generated" in printed and "won " in printed.splitlines()[-1]


def test_a_schedule_of_ones_own_can_be_continued(tmp_path: Path) -> None:
    first = example("own_schedule", "--output_dir", tmp_path, "--num_battles", 4)
    assert "Champion: " in first
    assert len(read_results(tmp_path / "results.sqlite")) == 12
    again = example("own_schedule", "--output_dir", tmp_path, "--num_battles", 4)
    assert again == first and len(read_results(tmp_path / "results.sqlite")) == 12


def test_own_spaces_are_trained_with(tmp_path: Path) -> None:
    args = ("--data_dir", DATA, "--output_dir", tmp_path / "run", "--steps", 1)
    assert f"trained: {tmp_path / 'run'}" in example("reward_and_observations", *args)
    assert "FasterWinReward" in (tmp_path / "run" / "config.gin").read_text()


def test_results_are_a_data_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    example("own_policy", "--output_dir", tmp_path, "--num_battles", 2)
    printed = example("results_to_pandas", "--output_dir", tmp_path)
    assert "strongest_of_two" in printed and "player_b" in printed
