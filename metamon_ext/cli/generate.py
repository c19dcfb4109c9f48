"""`metamon-ext generate_selfplay_data`: battles to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from metamon_ext.arena.mixture import read_population
from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.data.trajectory import MANIFEST
from metamon_ext.errors import UserError
from metamon_ext.terminal import print_json
from metamon_ext.workflows.generate import GenerateConfig, generate


@dataclass(frozen=True, kw_only=True)
class Flags(GenerateConfig):
    """Who plays, how often, and under which conditions.

    Attributes:
        opponent_model: default: the model itself.
        population: a JSON file {"policy": weight, ...} to draw the opponents from, or, without
            --model, both players.
    """

    opponent_model: str | None = None
    population: Path | None = None
    opponents: tyro.conf.Suppress[Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.population and self.opponent_model:
            raise UserError("--opponent_model and --population exclude each other: leave one out")
        if self.population:
            object.__setattr__(self, "opponents", read_population(self.population))
        elif self.model and self.opponent_model:
            object.__setattr__(self, "opponents", {self.opponent_model: 1.0})
        super().__post_init__()


def generate_selfplay_data(config: Flags, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    generated = generate(config)
    about = generated.manifest
    if as_json:
        print_json(about)
    else:
        print(
            f"{about['battles']} battles, {about['trajectories']} trajectories in "
            f"{config.output_dir / config.battle_format} ({about['ties']} ties, "
            f"{about['unfinished']} unfinished); {MANIFEST} says where they came from"
        )
    return print_unfinished(generated.rows)


FUNCTIONS: Functions = {"generate_selfplay_data": generate_selfplay_data}
