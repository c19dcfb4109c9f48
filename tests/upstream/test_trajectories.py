"""What the arena writes, Metamon's own data set reads, file for file."""

from __future__ import annotations

import shutil
from pathlib import Path

from metamon.data import MetamonDataset
from metamon.interface import BinaryReward, DefaultActionSpace, DefaultObservationSpace

from metamon_ext.data.trajectory import read_trajectory, trajectory_files

ARENA = Path(__file__).parents[1] / "data" / "arena"


def test_metamon_reads_every_file_of_the_arena(tmp_path: Path) -> None:
    root = tmp_path / "data"  # Metamon leaves an index beside what it reads
    shutil.copytree(ARENA, root)
    files = list(trajectory_files(root))
    dataset = MetamonDataset(
        dset_root=str(root),
        observation_space=DefaultObservationSpace(),
        action_space=DefaultActionSpace(),
        reward_function=BinaryReward(),
        formats=sorted(folder.name for folder in ARENA.iterdir()),
    )
    assert len(files) >= 12
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
