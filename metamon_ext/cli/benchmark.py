"""`metamon-ext benchmark`: speed, as ratios of one run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from metamon_ext.benchmarks.arena import ArenaBenchmarkConfig, benchmark_arena
from metamon_ext.benchmarks.data import DataBenchmarkConfig, benchmark_data
from metamon_ext.benchmarks.rating import benchmark_rating
from metamon_ext.cli.flags import Functions, Json, Positional
from metamon_ext.terminal import console, print_json
from metamon_ext.upstream.benchmark import ModelBenchmarkConfig, benchmark_model


def arena(config: ArenaBenchmarkConfig, as_json: Json = False) -> int:
    """Measure battles a second, against the simulator alone."""
    return print_metrics(benchmark_arena(config), as_json)


def evaluate(config: ModelBenchmarkConfig, as_json: Json = False) -> int:
    """Measure decisions of a model a second, against Metamon's pretrained_vs_baselines.

    Needs Metamon's Showdown server on port 8000.
    """
    return print_metrics(benchmark_model(config), as_json)


def data(
    config: DataBenchmarkConfig, path: Positional[Path | None] = None, as_json: Json = False
) -> int:
    """Measure sampling from a cache, against Metamon's data set or else a plain loader.

    Args:
        path: a folder of trajectories; default: battles are played
    """
    return print_metrics(benchmark_data(path, config), as_json)


def rating(
    error: float = 0.05,
    indifference: float = 20.0,
    leagues: int = 60,
    seed: int = 0,
    as_json: Json = False,
) -> int:
    """Count the battles that sequential tests and adaptive play save over a round robin.

    Args:
        error: what the methods are asked for
        indifference: in Elo
        leagues: of each population
    """
    settings = {"error": error, "indifference": indifference, "leagues": leagues, "seed": seed}
    rows = benchmark_rating(error, indifference, leagues, seed)
    if as_json:
        print_json(settings | {"results": rows})
    else:
        _print_table(rows)
    return 0


FUNCTIONS: Functions = {
    "benchmark": {"arena": arena, "evaluate": evaluate, "data": data, "rating": rating}
}


def print_metrics(metrics: Mapping[str, object], as_json: bool) -> int:
    """A line each for people, or one line of JSON. Returns the exit code."""
    if as_json:
        print_json(metrics)
    else:
        width = max(map(len, metrics))
        print("\n".join(f"{name:{width}}  {value}" for name, value in metrics.items()))
    return 0


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table("Players, spread", "Method")
    for name in ("Battles", "Error", "Ratings", "Head to head"):
        table.add_column(name, justify="right")
    for last, row in zip([None, *rows], rows, strict=False):
        who = (row["players"], row["spread"])
        first = last is None or who != (last["players"], last["spread"])
        if first and last:
            table.add_section()
        table.add_row(
            "{}, {} Elo".format(*who) if first else "",
            row["method"],
            f"{row['battles']:.0f}",
            f"{row['error']:.2%}",
            f"{row['than_ratings']:.0%}",
            f"{row['than_head_to_head']:.0%}",
        )
    console().print(table)
    print(
        "Battles a matchup; error rate; battles as a share of those of the fixed round robin with"
    )
    print("the same error rate, if its order is by ratings, and if by each matchup's own battles.")
