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
    if not os.environ.get("METAMON_CACHE_DIR"):
        raise UserError(
            f"unknown policy {name!r}: it is none of {', '.join([*HEURISTICS, *ALL_BASELINES])}; "
            "if it is a model, set METAMON_CACHE_DIR first, as Metamon needs it"
        )
    from metamon_ext.upstream.models import find_model
    from metamon_ext.upstream.policy import MetamonPolicy

    find_model(name)
    return MetamonPolicy, {"model": name}
