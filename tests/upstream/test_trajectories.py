"""What the arena writes, Metamon's own data set reads, file for file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from metamon.data import MetamonDataset
from metamon.interface import BinaryReward, DefaultActionSpace, DefaultObservationSpace

from metamon_ext.cli import main
from metamon_ext.data.trajectory import read_trajectory, trajectory_files

ARENA = Path(__file__).parents[1] / "data" / "arena"


def test_metamon_reads_every_file_of_the_arena(tmp_path: Path) -> None:
    root = tmp_path / "data"  # Metamon leaves an index beside what it reads
    shutil.copytree(ARENA, root)
    assert read_all(root, sorted(folder.name for folder in ARENA.iterdir())) >= 12


def test_metamon_reads_what_is_generated_and_filtered(tmp_path: Path) -> None:
    """In Metamon's own environment, by two of its baselines, and by a lite name with a query."""
    for model, opponent, folder in (
        ("Grunt", "Gen1BossAI", "one"),
        ("simple_heuristics?epsilon=0.2", "random", "two"),
    ):
        command = ["generate_selfplay_data", "--model", model, "--opponent_model", opponent]
        command += ["--num_battles", "12", "--output_dir", str(tmp_path / "raw" / folder)]
        assert main([*command, "--team_set", "sample", "--workers", "1"]) == 0
        assert read_all(tmp_path / "raw" / folder, ["gen1ou"]) == 24
    folders = ["--input_dir", str(tmp_path / "raw"), "--output_dir", str(tmp_path / "clean")]
    assert main(["filter_selfplay_data", *folders, "--min_turns", "5", "--balance_outcomes"]) == 0
    stats = json.loads((tmp_path / "clean" / "filtering_stats.json").read_text())
    assert stats["files_without_record"] == 0
    assert read_all(tmp_path / "clean", ["gen1ou"]) == stats["kept_files"] > 0


def read_all(root: Path, formats: list[str]) -> int:
    """Metamon reads every file, and reads in it what is written there. Returns how many."""
    files = list(trajectory_files(root))
    dataset = MetamonDataset(
        dset_root=str(root),
        observation_space=DefaultObservationSpace(),
        action_space=DefaultActionSpace(),
        reward_function=BinaryReward(),
        formats=formats,
    )
    assert sorted(dataset.filenames) == sorted(map(str, files))
    for i, name in enumerate(dataset.filenames):
        trajectory = read_trajectory(Path(name))
        _, actions, rewards, dones = dataset[i]
        assert len(rewards) == trajectory.decisions
        assert list(actions["chosen"]) == trajectory.actions[:-1]
        assert sum(rewards) == (100 if trajectory.name.outcome == "WIN" else -100)
        assert dones[-1] and not any(dones[:-1])
        for chosen, legal in zip(actions["chosen"], actions["legal"], strict=True):
            assert chosen in {int(action) for action in legal}
    return len(files)
