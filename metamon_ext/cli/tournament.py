"""`metamon-ext self_play_tournament`: everybody against everybody, in mirrored pairs of battles."""

from __future__ import annotations

import argparse
from pathlib import Path

from metamon_ext.arena.play import say_unfinished
from metamon_ext.arguments import add_condition_arguments, fill, positive
from metamon_ext.cli.models import models
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import games_of
from metamon_ext.evaluation.ratings import bradley_terry
from metamon_ext.evaluation.report import print_tables
from metamon_ext.evaluation.sprt import in_words
from metamon_ext.terminal import console, print_json
from metamon_ext.workflows.tournament import TournamentConfig, TournamentResult, tournament


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext self_play_tournament`."""
    parser = commands.add_parser("self_play_tournament")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="see --list_models")
    parser.add_argument("--list_models", action="store_true", help="who can play here")
    parser.add_argument("--save_dir", type=Path, default=Path("runs"), help="for --list_models")
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--battles_per_matchup", type=positive, default=200)
    add_condition_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--sprt",
        nargs=2,
        type=float,
        metavar=("ELO0", "ELO1"),
        help="a matchup ends when it is decided whether the player named first is ELO1 stronger "
        "rather than ELO0, at error rates of 5 %%; --battles_per_matchup is the most it may take",
    )
    how.add_argument(
        "--adaptive",
        action="store_true",
        help="battles go where the order of the players is least certain, and stop when it is "
        "certain; --battles_per_matchup is the most on average",
    )
    parser.add_argument("--gauntlet", metavar="MODEL", help="only this one against the rest")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="insist that --output_dir holds a run to go on with (it is gone on with anyway)",
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    if args.list_models:
        return models(args.save_dir, args.json)
    if not args.models or args.output_dir is None:
        raise UserError("--models and --output_dir are needed; --list_models says who can play")
    if args.resume and not (args.output_dir / RESULTS).is_file():
        raise UserError(f"there is no run to resume in {args.output_dir}: leave --resume out")
    result = tournament(fill(TournamentConfig, args))
    if args.json:
        print_json(result.content)
    else:
        _report(args.output_dir, result)
    return say_unfinished(result.rows)


def _report(output_dir: Path, result: TournamentResult) -> None:
    games, unfinished = games_of(result.rows)
    print_tables(console(), bradley_terry(games), games, unfinished)
    for verdict in result.content["sprt"]:
        print(verdict["decided"])
        if "elo" in verdict:
            print(f"  {in_words(verdict)}; {verdict['pairs']} mirrored pairs")
    print(
        f"{len(result.rows)} battles in {output_dir}; next: metamon-ext visualize_results "
        f"--tournament_dir {output_dir}"
    )
