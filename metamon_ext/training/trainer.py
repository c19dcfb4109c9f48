"""What trains policies: the protocol, and trainers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.registry import Registry


class Trainer(Protocol):
    """Trains a policy on recorded battles. The same call again resumes an interrupted run.

    It may also have `check(start, config, options)`, which raises UserError for what `train` would
    refuse, and for options that the policies of its checkpoints will not take. Workflows that play
    battles before they train call it first.
    """

    def train(
        self, dataset: str | Path, start: PolicyRef | None, config: Any, output_dir: Path
    ) -> list[PolicyRef]:
        """Train until the run is complete.

        Args:
            dataset: a folder of trajectories, or a cache, with a filter after a question mark if
                wanted.
            start: the policy to start from; None: as the config says, or new weights.
            config: the trainer's own: `TrainConfig` for `lite`, `FinetuneConfig` for `metamon`.
                Its data, start and folder are replaced by the other arguments.
            output_dir: the folder of the run.

        Returns:
            The policies of the run's checkpoints, the latest last.

        Raises:
            UserError: bad input.
            RunStopped: the run was stopped and can be resumed.
        """


TRAINERS: Registry[Callable[[], Trainer]] = Registry("trainer", "metamon_ext.trainers")


def register_trainer(name: str, trainer: Callable[[], Trainer]) -> None:
    """Give a trainer's class a name. Packages may use the entry points `metamon_ext.trainers`."""
    TRAINERS.register(name, trainer)


def find_trainer(name: str) -> Trainer:
    """The trainer of this name. Raises UserError for an unknown name."""
    return TRAINERS.find(name)()


def check_training(
    name: str, start: PolicyRef | None, config: Any, options: Sequence[Mapping[str, str]]
) -> None:
    """Raise UserError for an unknown trainer, or for what its `check` refuses."""
    if check := getattr(find_trainer(name), "check", None):
        check(start, config, options)
