"""`metamon-ext play`: two policies against each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from metamon_ext.arena.play import print_unfinished
from metamon_ext.arguments import add_seat_arguments, fill, positive
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError
from metamon_ext.terminal import print_json
from metamon_ext.workflows.play import PlayConfig, play


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext play`."""
    parser = commands.add_parser("play")
    parser.add_argument("--p1", required=True, help="a policy: see `metamon-ext models`")
    parser.add_argument("--p2", required=True)
    parser.add_argument("--num_battles", "--battles", type=positive, default=100)
    add_seat_arguments(parser)
    parser.add_argument(
        "--team_set", "--teams", default="sample", help="a folder of Showdown exports, or a set"
    )
    parser.add_argument("--pairs", action="store_true", help="play in mirrored pairs")
    parser.add_argument(
        "--turn_limit", type=positive, default=1000, help="a longer battle ends as unfinished"
    )
    parser.add_argument("--save_trajectories_to", type=Path)
    parser.add_argument("--output_dir", type=Path, help="keep every result in results.sqlite there")
    parser.add_argument(
        "--resume", action="store_true", help="Fail if --output_dir has no run to resume."
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    if args.resume and args.output_dir is None:
        raise UserError("--resume needs the --output_dir of the run to resume")
    if args.resume and not (args.output_dir / RESULTS).is_file():
        raise UserError(f"there is no run to resume in {args.output_dir}: leave --resume out")
    played = play(fill(PlayConfig, args))
    if args.json:
        print_json(played.summary)
    else:
        summary = played.summary
        print(
            f"{args.p1} {summary['p1_wins']} - {summary['p2_wins']} {args.p2}"
            f"  (ties {summary['ties']}, unfinished {summary['unfinished']})\n"
            f"{played.played} battles in {summary['seconds']:.1f} s: "
            f"{summary['battles_per_second']} battles/s, "
            f"{summary['decisions_per_second']:.0f} decisions/s; digest {summary['digest']}"
        )
    return print_unfinished(played.rows)
