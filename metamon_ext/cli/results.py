"""`metamon-ext calculate_elo` and `metamon-ext visualize_results`."""

from __future__ import annotations

import sys
from pathlib import Path

from metamon_ext.cli.flags import Functions, Json
from metamon_ext.evaluation.calculate_elo import (
    FILES,
    RatingsConfig,
    content_of,
    rate,
    write_ratings,
)
from metamon_ext.evaluation.report import print_standings
from metamon_ext.terminal import console, print_json


def calculate_elo(
    config: RatingsConfig, output_prefix: str = "elo_results", as_json: Json = False
) -> int:
    """Write the four files and print the table.

    Args:
        output_prefix: how the files begin, beside the results unless it is an absolute path
    """
    rated = rate(config)
    prefix = write_ratings(rated, config, output_prefix)
    if as_json:
        print_json(content_of(rated, config))
        return 0
    print_standings(console(), rated.table)
    for note in rated.results.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(f"{len(rated.results.games):,} battles rated. Written: {prefix}_ with {', '.join(FILES)}")
    return 0


def visualize_results(config: RatingsConfig, output_dir: Path | None = None) -> int:
    """Write the pictures, the table and the page.

    Args:
        output_dir: else visualizations/ beside the results
    """
    from metamon_ext.evaluation.visualize_results import visualize

    print(f"Report: {visualize(rate(config), config, output_dir)}")
    return 0


FUNCTIONS: Functions = {"calculate_elo": calculate_elo, "visualize_results": visualize_results}
