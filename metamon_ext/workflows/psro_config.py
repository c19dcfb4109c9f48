"""Settings of `psro`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from metamon_ext.errors import UserError
from metamon_ext.evaluation.meta_game import MetaGameConfig
from metamon_ext.workflows.iterate_config import LoopConfig


@dataclass(frozen=True, kw_only=True)
class PsroConfig(LoopConfig):
    """Settings of `psro`, beside those of every loop.

    Attributes:
        population: the first members, at least two: see `metamon-ext models`.
        init_from_checkpoint: the policy that plays for data and that each training starts from.
            Default: the member with weights that wins most against the meta-strategy. Where none
            has weights, the member that wins most plays for data, and training starts from new
            weights.
        solver: nash, projected_replicator_dynamics, alpha_rank, prioritized, or uniform
        exploration: this share of the meta-strategy is spread evenly over all members.
        battles_per_matchup: of two members at most, in mirrored pairs, for the payoff matrix.
        draws: from the posterior of the payoffs, for intervals.
    """

    GIN_CONFIGS: ClassVar[Mapping[str, str]] = {"lite": "iterate", "metamon": "psro_oracle"}

    population: Sequence[str]
    init_from_checkpoint: str | None = None
    solver: str = "nash"
    exploration: float = 0.1
    battles_per_matchup: int = 200
    draws: int = 400

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.population) < 2:
            raise UserError("A population needs at least two members. Add some to --population.")
        if self.battles_per_matchup < 2:
            raise UserError("battles_per_matchup must be at least 2: battles are played in pairs.")
        self.meta_game(self.population, self.output_dir)  # raises for bad values

    def meta_game(self, members: Sequence[str], folder: Path) -> MetaGameConfig:
        """Settings of the analysis of a population, whose files are written to a folder."""
        return MetaGameConfig(
            run_folders=(self.output_dir,),
            solver=self.solver,
            exploration=self.exploration,
            players=tuple(members),
            draws=self.draws,
            seed=self.seed,
            output_dir=folder,
        )
