"""`metamon-ext calculate_elo`: who is how strong, from a tournament's folder."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from metamon_ext.errors import UserError, cannot_write
from metamon_ext.evaluation.elo import last_ratings, progression
from metamon_ext.evaluation.games import Games
from metamon_ext.evaluation.ratings import Rating, bradley_terry
from metamon_ext.evaluation.report import Matchup, matchups, matrix
from metamon_ext.evaluation.results import Results, read_tournament
from metamon_ext.evaluation.standings import Standing, standings, write_csv, write_standings
from metamon_ext.files import write_json
from metamon_ext.terminal import console, print_json

FILES = ("ratings.json", "progression.csv", "matchup_matrix.csv", "statistics.csv")

MEANING = {
    "elo": "Bradley-Terry by maximum likelihood on the Elo scale: compare players by this",
    "low, high": "its 95 % interval, by a bootstrap over mirrored pairs",
    "superiority": "the chance that a player is stronger than the next lower one",
    "gxe": "percentage to win against an average player (1500), by Showdown's formula",
    "classic_elo": "Elo with the K-factor after the last battle: it depends on their order",
}


@dataclass(frozen=True)
class Rated:
    """A tournament and what it says; `after` is the `progression` of its classic Elo."""

    results: Results
    ratings: Sequence[Rating]
    found: Sequence[Matchup]
    after: NDArray[np.float64]
    table: Sequence[Standing]


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext calculate_elo`."""
    parser = commands.add_parser("calculate_elo")
    add_rating_arguments(parser)
    parser.add_argument(
        "--output_prefix",
        default="elo_results",
        help="how the files begin, in the tournament's folder unless it is an absolute path",
    )
    parser.add_argument("--json", action="store_true", help="print what {prefix}_ratings.json has")
    parser.set_defaults(run=run)


def add_rating_arguments(parser: argparse.ArgumentParser) -> None:
    """What to rate, and how."""
    parser.add_argument("--tournament_dir", type=Path, required=True)
    parser.add_argument(
        "--k_factor", type=partial(_rating, above=0), default=32.0, help="of classic Elo"
    )
    parser.add_argument("--initial_rating", type=_rating, default=1500.0, help="of classic Elo")
    parser.add_argument(
        "--anchor", metavar="PLAYER", help="its rating is set to --anchor_rating, else the mean is"
    )
    parser.add_argument("--anchor_rating", type=_rating, default=1500.0, metavar="ELO")


def _rating(text: str, above: float = -math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if above < value < math.inf:
        return value
    least = "" if above == -math.inf else f" above {above:g}"
    raise argparse.ArgumentTypeError(f"{text!r} is not a number{least}")


def rate(args: argparse.Namespace) -> Rated:
    """The tournament that `add_rating_arguments` asks for."""
    results = read_tournament(args.tournament_dir)
    after = progression(results.games, args.k_factor, args.initial_rating)
    ratings = bradley_terry(results.games, args.anchor, args.anchor_rating)
    table = standings(results, ratings, last_ratings(results.games, after))
    found = matchups(ratings, results.games, results.unfinished)
    return Rated(results, ratings, found, after, table)


def run(args: argparse.Namespace) -> int:
    """Write the four files and print the table."""
    rated = rate(args)
    content = ratings_of(rated, args)
    prefix = args.tournament_dir / args.output_prefix
    if args.output_prefix.endswith("/") or Path(args.output_prefix).name in ("", ".."):
        raise UserError(f"--output_prefix {args.output_prefix!r} is a folder: add a name to it")
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        files = [prefix.with_name(f"{prefix.name}_{name}") for name in FILES]
        write_json(files[0], content)
        write_csv(files[1], PROGRESSION, progression_rows(rated.results.games, rated.after))
        write_csv(files[2], *_matrix_table(rated))
        write_standings(files[3], rated.table)
    except OSError as error:
        raise cannot_write(f"{prefix}_*", error) from None
    if args.json:
        print_json(content)
        return 0
    print_standings(console(), rated.table)
    for note in rated.results.notes:
        print(f"Note: {note}", file=sys.stderr)
    print(f"{len(rated.results.games):,} battles rated. Written: {prefix}_ with {', '.join(FILES)}")
    return 0


def ratings_of(rated: Rated, args: argparse.Namespace) -> dict[str, Any]:
    """What `{prefix}_ratings.json` holds."""
    players = {row["player"]: row for row in map(asdict, rated.table)}
    return {
        "ratings": {
            name: {k: v for k, v in r.items() if k != "player"} for name, r in players.items()
        },
        "meaning": MEANING,
        "battles": len(rated.results.games),
        "unfinished": sum(rated.results.unfinished.values()),
        "battle_formats": rated.results.formats,
        "k_factor": args.k_factor,
        "initial_rating": args.initial_rating,
        "anchor": args.anchor,
        "anchor_rating": args.anchor_rating,
        "matchups": [m.to_dict() for m in rated.found],
        "notes": rated.results.notes,
    }


PROGRESSION = ("battle", "player_a", "player_b", "score_a", "elo_a", "elo_b")
"""Columns of `{prefix}_progression.csv`: classic Elo of both players after each battle."""


def progression_rows(games: Games, after: NDArray[np.float64]) -> Iterator[tuple[object, ...]]:
    """One row for each battle, in the order of playing."""
    names, columns = games.players, (games.a, games.b, games.score, after.round(2))
    battles = zip(*(column.tolist() for column in columns), strict=True)
    for battle, (a, b, score, elo) in enumerate(battles, 1):
        yield battle, names[a], names[b], score, *elo


def _matrix_table(rated: Rated) -> tuple[list[str], Iterator[list[object]]]:
    """Win rates of the player in the row against that in the column; empty if they have not met."""
    players = [r.player for r in rated.ratings]
    rates, _ = matrix(players, rated.found)
    cells = (["" if np.isnan(rate) else round(rate, 4) for rate in row] for row in rates.tolist())
    return ["player", *players], ([p, *row] for p, row in zip(players, cells, strict=True))


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


def percent(chance: float) -> str:
    """Never 100 % or 0 %, which no number of battles can show."""
    if chance >= 0.9995:
        return "> 99.9 %"
    return f"{100 * chance:.1f} %" if chance > 0.0005 else "< 0.1 %"
