"""`metamon-ext calculate_elo` and `metamon-ext visualize_results`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from metamon_ext.cli.flags import Functions, Json
from metamon_ext.evaluation.calculate_elo import FILES, RatingsConfig, rate, write_ratings
from metamon_ext.evaluation.standings import Standing, percent
from metamon_ext.terminal import console, print_json


def calculate_elo(
    config: RatingsConfig, output_prefix: str = "elo_results", as_json: Json = False
) -> int:
    """Write the four files and print the table.

    Args:
        output_prefix: how the files begin, in the tournament's folder unless it is an absolute path
    """
    rated = rate(config)
    prefix = write_ratings(rated, output_prefix)
    if as_json:
        print_json(rated.content)
        return 0
    print_standings(console(), rated.table)
    for note in rated.results.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(f"{len(rated.results.games):,} battles rated. Written: {prefix}_ with {', '.join(FILES)}")
    return 0


def visualize_results(config: RatingsConfig, output_dir: Path | None = None) -> int:
    """Write the pictures, the table and the page.

    Args:
        output_dir: else visualizations/ in the tournament's folder
    """
    from metamon_ext.evaluation.visualize_results import visualize

    print(f"Report: {visualize(rate(config), output_dir)}")
    return 0


def print_standings(console: Console, table: Sequence[Standing]) -> None:
    """The ratings and what came of the battles, in 80 columns unless there are thousands."""
    heads = ["Elo", "95 % interval", "> next", "GXE", "W-L-T"]
    open_ = any(row.unfinished for row in table)
    numbers = (Column(head, justify="right", no_wrap=True) for head in heads + ["Open"] * open_)
    shown = Table(Column("#", no_wrap=True), Column("Player", overflow="fold"), *numbers)
    for row in table:
        shown.add_row(
            str(row.rank),
            row.player,
            f"{row.elo:.0f}",
            f"{row.low:.0f} to {row.high:.0f}",
            "" if row.superiority is None else percent(row.superiority),
            f"{row.gxe:.1f}",
            f"{row.wins:,}-{row.losses:,}-{row.ties:,}",
            *[f"{row.unfinished:,}"] * open_,
        )
    console.print(shown)


FUNCTIONS: Functions = {"calculate_elo": calculate_elo, "visualize_results": visualize_results}
