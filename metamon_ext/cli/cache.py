"""`metamon-ext cache build` and `metamon-ext cache verify`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from metamon_ext.cli.flags import WORKERS, Functions, Json, Positional, Workers
from metamon_ext.data.cache.arrays import Header
from metamon_ext.data.cache.build import build as build_cache
from metamon_ext.data.cache.verify import verify as verify_cache
from metamon_ext.settings import check_at_least
from metamon_ext.spaces.registry import OBSERVATION_SPACES
from metamon_ext.terminal import print_json
from metamon_ext.training.lite.config import OBS_SPACE, REWARD_FUNCTION
from metamon_ext.walk import print_notes
from metamon_ext.workflows.featurizers import featurizer_class

FAULTS_SHOWN = 20


def build(
    path: Positional[Path],
    output: Path,
    obs_space: str = OBS_SPACE,
    reward_function: str = REWARD_FUNCTION,
    tokenizer: str | None = None,
    action_space: str | None = None,
    train_gin_config: str | None = None,
    workers: Workers = WORKERS,
    keep_cut_off: bool = False,
    as_json: Json = False,
) -> int:
    """Build a cache, or add what is new to it. A killed build resumes.

    Args:
        path: a folder of trajectories, as Metamon reads it
        output: the folder of the cache, e.g. human.mmap
        obs_space: Metamon's or ours; default: that of the built-in learner
        reward_function: Metamon's or ours
        tokenizer: Metamon's; default: DefaultObservationSpace-v1
        action_space: Metamon's; default: DefaultActionSpace
        train_gin_config: a gin file, for what it binds to the reward function
        keep_cut_off: keep battles stopped by a turn limit
    """
    check_at_least(1, workers=workers)
    kind = "lite" if obs_space in OBSERVATION_SPACES.names() else "metamon"
    featurizer = featurizer_class(kind).named(
        obs_space, reward_function, tokenizer, action_space, train_gin_config
    )
    report = build_cache(path, output, featurizer, workers, keep_cut_off, show_progress=True)
    if as_json:
        print_json(asdict(report))
    else:
        print_notes(report.notes)
        for reason, files in report.set_aside.items():
            print(f"set aside: {files:,} {reason}", file=sys.stderr)
        print(
            f"{report.trajectories:,} trajectories in {output}, {report.added:,} of them new; "
            f"{report.rows:,} states, {report.bytes / 2**20:,.1f} MB."
        )
    return 0 if report.trajectories else 1


def verify(path: Positional[Path], every: int = 100, as_json: Json = False) -> int:
    """Check all checksums and files, and compare trajectories with Metamon's loader.

    Args:
        path: a cache
        every: compare one trajectory in so many
    """
    check_at_least(1, every=every)
    kind = Header.read(path).definition.get("featurizer")
    report = verify_cache(path, featurizer_class(str(kind)).of_cache(path), every, True)
    if as_json:
        print_json(asdict(report))
    else:
        for fault in report.faults[:FAULTS_SHOWN]:
            print(fault)
        print(
            f"{report.trajectories:,} trajectories checked, {report.compared:,} compared value for "
            f"value ({report.values:,} values): {len(report.faults):,} faults."
        )
    return 1 if report.faults else 0


FUNCTIONS: Functions = {"cache": {"build": build, "verify": verify}}
