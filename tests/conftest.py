"""What several test modules share."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gin
import numpy as np
import pytest
from hypothesis import settings

import metamon_ext.wiring  # noqa: F401

if TYPE_CHECKING:  # not there in a Metamon environment, whose tests are in tests/upstream
    from metamon_ext.arena.schedule import BattleSpec

ROOT = Path(__file__).parents[1]

# Property tests try the same examples every time; `--hypothesis-profile random` tries others, and
# `-m long` does so for all of them (test_property_exploration.py).
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("random", deadline=None, database=None, print_blob=True)
settings.load_profile("same")


def pytest_configure() -> None:
    """Give each process of `pytest -n` a core of its own, so that commands start one worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):  # not on macOS
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same random numbers and gin settings for a test whatever ran before it."""
    if "upstream" not in item.path.parts:  # modules there share a model that gin built
        gin.clear_config()
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture
def repository() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def schedule() -> Callable[..., list[BattleSpec]]:
    """`schedule(p1, p2, battles, battle_format="gen1ou", seed=0, pairs=False)`."""
    from metamon_ext.arena.conditions import Conditions
    from metamon_ext.arena.schedule import matchup
    from tests.support.battles import player

    loaded = {}

    def make(
        p1: str,
        p2: str,
        battles: int,
        battle_format: str = "gen1ou",
        seed: int = 0,
        pairs: bool = False,
        turn_limit: int = 1000,
    ) -> list[BattleSpec]:
        if battle_format not in loaded:
            loaded[battle_format] = Conditions.load(battle_format)
        conditions = replace(loaded[battle_format], turn_limit=turn_limit)
        return matchup(player(p1), player(p2), battles, conditions, seed, pairs)

    return make


@pytest.fixture
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `metamon-ext ARGS...` in a process of its own, with changes to its environment."""

    def call(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            cli_command(args),
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
            cwd=ROOT,
        )

    return call


def cli_command(args: Sequence[object]) -> list[str]:
    """`metamon-ext ARGS...` with this interpreter."""
    return [sys.executable, "-m", "metamon_ext", *map(str, args)]
