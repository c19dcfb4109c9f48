"""`metamon-ext benchmark`: speed, as ratios of one run."""

from __future__ import annotations

import argparse

from metamon_ext.benchmarks import arena, data, rating
from metamon_ext.upstream import benchmark as evaluate


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext benchmark`."""
    parser = commands.add_parser("benchmark")
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="WHAT", required=True)
    for module in (arena, evaluate, data, rating):
        module.add_parser(benchmarks)
