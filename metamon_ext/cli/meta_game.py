"""`metamon-ext meta_game`: the game between the players of a league."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from metamon_ext.cli.flags import Functions, Json, Positional
from metamon_ext.evaluation.meta_game import (
    ANALYSIS,
    INTERACTIONS,
    STRATEGY,
    MetaGame,
    MetaGameConfig,
    meta_game,
)
from metamon_ext.evaluation.payoffs import Estimate
from metamon_ext.terminal import console, print_json


@dataclass(frozen=True, kw_only=True)
class Flags(MetaGameConfig):
    """What to analyze, and how."""

    run_folders: Positional[tuple[Path, ...]] = ()


def meta_game_command(config: Flags, as_json: Json = False) -> int:
    """Write three files and print the tables."""
    game, content = meta_game(config)
    if as_json:
        print_json(content)
        return 0
    print_meta_game(console(), game, f"{config.solver}, exploration {config.exploration:g}")
    for note in content["notes"]:
        print(f"Note: {note}", file=sys.stderr)
    files = ", ".join((ANALYSIS, INTERACTIONS, STRATEGY))
    print(f"{content['games']:,} games. Written to {config.folder}:\n  {files}")
    return 0


def print_meta_game(console: Console, game: MetaGame, strategy: str) -> None:
    """Print the players, then the numbers of the population.

    Args:
        console: where to.
        game: the analysis.
        strategy: how the meta-strategy was chosen.
    """
    heads = ("Elo", "Probability", "Nash average")
    numbers = (Column(head, justify="right", no_wrap=True) for head in heads)
    table = Table(Column("#", no_wrap=True), Column("Player", overflow="fold"), *numbers)
    for rank, member in enumerate(game.members, 1):
        rating, probability, average = member.rating, member.probability, member.nash_average
        table.add_row(
            str(rank), rating.player, f"{rating.rating:.0f}", *map(_percent, (probability, average))
        )
    console.print(table)
    uncorrected = f"{100 * game.uncorrected_cyclic_share:.1f}"
    print(
        f"""All but Elo in percent, with the 95 % interval.
Probability: in the meta-strategy ({strategy}).
Nash average: win rate against the Nash mixture minus 50.
Cyclic share of the strength: {_percent(game.cyclic_share, 1)}. No rating explains it.
  With the noise of few games it would be {uncorrected}.
Deviation gain of the best player: {_percent(game.deviation_gain, 1)}. 0 for a Nash mixture."""
    )


def _percent(estimate: Estimate, digits: int = 0) -> str:
    """The value and its interval."""
    value, low, high = (
        f"{round(100 * x, digits) + 0.0:.{digits}f}"  # + 0.0: no minus zero
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


FUNCTIONS: Functions = {"meta_game": meta_game_command}
