"""Who of Metamon can sit in a seat of the arena, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from metamon.baselines import ALL_BASELINES

from metamon_ext.arena.policy import HEURISTICS, Policy
from metamon_ext.errors import UserError


def find_policy(name: str) -> tuple[Callable[..., Policy], dict[str, Any]]:
    """What builds the policy of this name, and with which options.

    Raises UserError for a name that is neither a baseline's nor a model's.
    """
    if name in ALL_BASELINES:
        from metamon_ext.upstream.baselines import BaselinePolicy

        return BaselinePolicy, {"baseline": name}
    if not _has_cache():
        raise UserError(
            f"unknown policy {name!r}: it is none of {', '.join([*HEURISTICS, *ALL_BASELINES])}; "
            "if it is a model, set METAMON_CACHE_DIR first, as Metamon needs it"
        )
    from metamon_ext.upstream.models import find_model
    from metamon_ext.upstream.policy import MetamonPolicy

    find_model(name)
    return MetamonPolicy, {"model": name}


def describe() -> dict[str, Any]:
    """For `metamon-ext models`: names by kind, and the runs that say nothing of themselves.

    Raises UserError where METAMON_CACHE_DIR is not set, without which no model can be imported.
    """
    if not _has_cache():
        raise UserError("set METAMON_CACHE_DIR to a folder for Metamon's data and models")
    from metamon_ext.upstream import models

    own = models.register_checkpoints()
    return {
        "baselines": list(ALL_BASELINES),
        "models": sorted(set(models.ALL_PRETRAINED_MODELS) - set(own)),
        "checkpoints": own,
        "unrecorded_runs": [str(r.folder) for r in models.read_runs().values() if not r.record],
    }


def _has_cache() -> bool:
    return bool(os.environ.get("METAMON_CACHE_DIR"))
