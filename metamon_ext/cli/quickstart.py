"""`metamon-ext quickstart`: the whole loop on a laptop, from no data to a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from metamon_ext.arguments import add_seat_arguments, fill, positive
from metamon_ext.errors import UserError
from metamon_ext.workflows.quickstart import QuickstartConfig, quickstart


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext quickstart`."""
    parser = commands.add_parser("quickstart")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/quickstart"))
    add_seat_arguments(parser)
    parser.add_argument(
        "--team_set", "--teams", default="sample", help="a folder of Showdown exports, or a set"
    )
    parser.add_argument(
        "--num_battles", "--battles", type=positive, default=1800, help="to learn from"
    )
    parser.add_argument("--steps", type=positive, help="of training; else as the gin configs say")
    parser.add_argument("--tournament_battles", type=positive, default=300, help="of a student")
    parser.add_argument("--gin", action="append", default=[], metavar='"NAME.PARAM = VALUE"')
    parser.add_argument(
        "--resume",
        action="store_true",
        help="fail if --output_dir has no run to resume",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run what is missing of the whole loop."""
    if args.resume and not (args.output_dir / "selfplay").is_dir():
        raise UserError(f"there is no run to resume in {args.output_dir}: leave --resume out")
    quickstart(fill(QuickstartConfig, args))
    return 0
