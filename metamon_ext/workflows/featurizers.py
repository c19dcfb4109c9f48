"""What turns trajectories into the arrays of a cache, by the learner that they are for."""

from __future__ import annotations

from typing import Any

from metamon_ext.errors import UserError


def featurizer_class(kind: str) -> Any:
    """The class of a featurizer. Raises UserError where what it needs is not installed."""
    if kind == "lite":
        from metamon_ext.training.lite.featurizer import LiteFeaturizer

        return LiteFeaturizer
    if kind == "metamon":
        from metamon_ext.upstream.catalog import require_metamon

        require_metamon()
        from metamon_ext.upstream.featurizer import MetamonFeaturizer

        return MetamonFeaturizer
    raise UserError(f"no featurizer {kind!r}: there are metamon, lite")
