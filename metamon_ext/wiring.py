"""Make our own policies and trackers known to the arena, which must not import them.

Imported for that effect by `metamon_ext.cli` and `metamon_ext.workflows`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy_ref import Found, add_finder
from metamon_ext.arena.tracking.tracker import has_metamon, use_tracker


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


add_finder(_find_lite)
add_finder(_find_metamon)
if has_metamon():
    use_tracker(_load_metamon_tracker)
