"""The old names of `metamon_ext.upstream.kl_regularization`, in Python and in gin files."""

from __future__ import annotations

import gin

from metamon_ext.learning.kl_regularization import AdaptiveKLController as KLControl
from metamon_ext.upstream.gin_files import OLD_NAMES
from metamon_ext.upstream.kl_regularization import KLRegularizedAgent as DampedAgent
from metamon_ext.upstream.kl_regularization import (
    KLRegularizedMultiTaskAgent as DampedMultiTaskAgent,
)
from metamon_ext.upstream.kl_regularization import kl_regularized_agent as damped_agent

__all__ = ["DampedAgent", "DampedMultiTaskAgent", "KLControl", "damped_agent"]

for old, new in OLD_NAMES.items():  # bindings of either name are those of the new one
    gin.config._REGISTRY[f"metamon_ext.{old}"] = gin.config._REGISTRY[f"metamon_ext.{new}"]
