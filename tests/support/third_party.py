"""A package of another author: a reward, an observation space, a trainer and an executor."""

from __future__ import annotations

from pathlib import Path

CODE = """
import numpy as np


class FaintReward:
    def __call__(self, last_state, state):
        return float(last_state.opponents_remaining - state.opponents_remaining)


class HealthSpace:
    state_dim, action_dim = 2, 1

    def reset(self):
        pass

    def __call__(self, state):
        own, foe = state.player_active_pokemon, state.opponent_active_pokemon
        numbers = np.array([own.hp_pct, foe.hp_pct], np.float32)
        return {"state": numbers, "actions": np.ones((13, 1), np.float32)}


class NoTrainer:
    def train(self, dataset, start, config, output_dir):
        return [] if start is None else [start]


class OneAtATime:
    def __init__(self, workers, recording=None, battles_at_once=1):
        from metamon_ext.arena.executors.local import LocalExecutor

        self.local = LocalExecutor(1, recording, battles_at_once=1)

    def __enter__(self):
        print("one at a time")
        return self.local.__enter__()

    def __exit__(self, *error):
        self.local.__exit__(*error)
"""
ENTRY_POINTS = """
[metamon_ext.rewards]
FaintReward = third_party:FaintReward
[metamon_ext.observation_spaces]
HealthSpace = third_party:HealthSpace
[metamon_ext.trainers]
none = third_party:NoTrainer
[metamon_ext.executors]
one_at_a_time = third_party:OneAtATime
"""


def install(folder: Path) -> Path:
    """Write the package as pip would install it. Returns what belongs on `sys.path`."""
    info = folder / "third_party-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "third_party.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder
