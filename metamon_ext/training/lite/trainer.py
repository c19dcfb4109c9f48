"""The built-in learner as a `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from metamon_ext.arena.policy import check_probability
from metamon_ext.arena.policy_ref import PolicyRef, check_checkpoint_options
from metamon_ext.data.cache.filter import names_cache
from metamon_ext.errors import UserError
from metamon_ext.learning.extraction import critic_index
from metamon_ext.settings import check_beta
from metamon_ext.training.lite.checkpoint import kept_checkpoints
from metamon_ext.training.lite.config import TrainConfig
from metamon_ext.training.lite.policy import GAMMA, LitePolicy
from metamon_ext.training.lite.train import policy_of, read_settings, train


class LiteTrainer:
    """Trains with the built-in learner, and keeps the checkpoints that the config asks for."""

    def check(
        self,
        start: PolicyRef | None,
        config: TrainConfig | None,
        options: Sequence[Mapping[str, str]],
    ) -> None:
        """Check the start, the gin settings and the options of checkpoints: see `Trainer`."""
        _refuse_other_policies(start)
        _, _, learner, *_ = read_settings(config or TrainConfig())

        def check(
            temperature: str = "1", beta: str = "0", gamma: str = str(GAMMA), epsilon: str = "0"
        ) -> None:
            check_beta(float(beta), float(temperature))
            check_probability(float(epsilon))
            if float(beta):
                critic_index(learner.discounts, float(gamma))

        for given in options:
            check_checkpoint_options(LitePolicy, given, check)

    def train(
        self,
        dataset: str | Path,
        start: PolicyRef | None,
        config: TrainConfig | None,
        output_dir: Path,
    ) -> list[PolicyRef]:
        """Train on a folder of trajectories or a cache: see `Trainer`."""
        _refuse_other_policies(start)
        is_cache = names_cache(dataset)
        config = replace(
            config or TrainConfig(),
            output_dir=output_dir,
            data_dir=None if is_cache else Path(dataset),
            cached=[str(dataset)] if is_cache else (),
            finetune_from=None if start is None else start.weights,
        )
        latest = train(config)
        kept = kept_checkpoints(output_dir) if config.keep_checkpoints else []
        return [policy_of(path) for path in kept] or [latest]


def _refuse_other_policies(start: PolicyRef | None) -> None:
    if start is not None and start.factory is not LitePolicy:
        raise UserError(
            f"The built-in learner cannot start from {start.name!r}. Name one of its runs."
        )
