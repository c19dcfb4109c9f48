"""Register our own policies, executors, trainers and trackers with rooms that must not import them.

Imported for that effect by `metamon_ext.cli` and `metamon_ext.workflows`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.executors.protocol import register_executor
from metamon_ext.arena.mixture import find_mixture
from metamon_ext.arena.policy_ref import POLICIES, Found
from metamon_ext.arena.teams import use_team_download
from metamon_ext.arena.tracking.tracker import has_metamon, use_tracker
from metamon_ext.training.trainer import Trainer, register_trainer


def _find_lite(base: str) -> Found | None:
    """The path of a run or of a checkpoint of the built-in learner."""
    # os.path.exists is False for what cannot be a path, too
    if not os.path.exists(base) or (has_metamon() and Path(base, "ckpts").is_dir()):
        return None
    from metamon_ext.training.lite.policy import LitePolicy

    return LitePolicy, {"checkpoint": base}


def _find_metamon(base: str) -> Found | None:
    """A baseline or model of Metamon's, or a checkpoint of a run."""
    if not has_metamon():
        return None
    from metamon_ext.upstream.seats import find_policy

    return find_policy(base)


def _load_metamon_tracker() -> Any:
    from metamon_ext.upstream.tracker import MetamonTracker

    return MetamonTracker


def _download_metamon_teams(battle_format: str, set_name: str) -> Any:
    from metamon_ext.upstream.download import download_teams

    return download_teams(battle_format, set_name)


def _lite_trainer() -> Trainer:
    from metamon_ext.training.lite.trainer import LiteTrainer

    return LiteTrainer()


def _metamon_trainer() -> Trainer:
    from metamon_ext.upstream.trainer import MetamonTrainer

    return MetamonTrainer()


def _find_metamon_reward(name: str) -> Any:
    """One of Metamon's own reward functions; they read fields that our states have too."""
    from metamon_ext.upstream.catalog import require_metamon, reward_functions

    if name not in reward_functions():
        return None
    require_metamon()
    from metamon_ext.upstream.register import metamon_reward

    return metamon_reward(name)


POLICIES.add_finder(find_mixture, first=True)  # its `:` is not that of module:Class
POLICIES.add_finder(_find_lite)
POLICIES.add_finder(_find_metamon)
if has_metamon():
    from metamon_ext.spaces.registry import REWARDS

    use_tracker(_load_metamon_tracker)
    use_team_download(_download_metamon_teams)
    REWARDS.add_finder(_find_metamon_reward)
register_executor("local", LocalExecutor)
register_trainer("lite", _lite_trainer)
register_trainer("metamon", _metamon_trainer)
