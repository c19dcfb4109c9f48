"""Weights of AMAGO's policies, as they come from training on one device or on many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import amago

from metamon_ext.errors import UserError
from metamon_ext.learning.weights import fitting, read_weights


def load_policy_weights(experiment: amago.Experiment, path: Path) -> None:
    """Give an experiment's policy the weights of a file, whatever wrapped it when it was saved.

    AMAGO itself saves it unwrapped, other trainers do not.

    Raises UserError for a file that cannot be read or does not fit.
    """
    try:
        experiment.policy.load_state_dict(fitting(read_weights(path), experiment.policy))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


@contextmanager
def loading_any_weights() -> Iterator[None]:
    """In the block Metamon's models get their weights from `load_policy_weights`."""
    load = amago.Experiment.load_checkpoint_from_path

    def replacement(self: amago.Experiment, path: str, is_accelerate_state: bool = True) -> None:
        if is_accelerate_state:
            load(self, path)
        else:
            load_policy_weights(self, Path(path))

    amago.Experiment.load_checkpoint_from_path = replacement
    try:
        yield
    finally:
        amago.Experiment.load_checkpoint_from_path = load
