"""Ratings of a tournament or of a head-to-head table, with intervals, in four files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamon_ext.errors import UserError, cannot_write
from metamon_ext.evaluation.games import Games
from metamon_ext.evaluation.report import to_dict
from metamon_ext.evaluation.results import read_head_to_head, read_tournament
from metamon_ext.evaluation.standings import (
    Rated,
    matrix,
    rate_results,
    write_csv,
    write_standings,
)
from metamon_ext.files import write_json

FILES = ("ratings.json", "progression.csv", "matchup_matrix.csv", "statistics.csv")

MEANING = {
    "elo": "Bradley-Terry by maximum likelihood on the Elo scale: compare players by this",
    "low, high": "its 95 % interval, by a bootstrap over mirrored pairs",
    "superiority": "the chance that a player is stronger than the next lower one",
    "gxe": "percentage to win against an average player (1500), by Showdown's formula",
    "classic_elo": "Elo with the K-factor after the last battle: it depends on their order",
}


@dataclass(frozen=True, kw_only=True)
class RatingsConfig:
    """What to rate, and how.

    Attributes:
        tournament_dir: the folder of a tournament, or of Metamon's battle logs.
        head_to_head: instead of it, a CSV with the columns player, opponent, wins, losses, ties.
        k_factor: of classic Elo.
        initial_rating: of classic Elo.
        anchor: the player whose rating is set to `anchor_rating`. None: the mean of all is.
        anchor_rating: where the scale is tied to.
    """

    tournament_dir: Path | None = None
    head_to_head: Path | None = None
    k_factor: float = 32.0
    initial_rating: float = 1500.0
    anchor: str | None = None
    anchor_rating: float = 1500.0

    def __post_init__(self) -> None:
        if (self.tournament_dir is None) == (self.head_to_head is None):
            raise UserError("Pass one of --tournament_dir and --head_to_head.")
        for name, lowest in (("k_factor", 0), ("initial_rating", None), ("anchor_rating", None)):
            value = getattr(self, name)
            if not math.isfinite(value) or (lowest is not None and value <= lowest):
                least = "" if lowest is None else f" above {lowest}"
                raise UserError(f"{name} must be a finite number{least}, not {value}.")

    @property
    def folder(self) -> Path:
        """Where the files go by default: the tournament's folder, or that of the table."""
        return self.tournament_dir or self.head_to_head.parent  # type: ignore[union-attr]

    @property
    def settings(self) -> dict[str, Any]:
        """How the players are rated, whatever the battles are read from."""
        sources = ("tournament_dir", "head_to_head")
        return {name: value for name, value in vars(self).items() if name not in sources}


def rate(config: RatingsConfig) -> Rated:
    """Rate the players of a tournament. Raises UserError where there are no finished battles."""
    if config.head_to_head is not None:
        results = read_head_to_head(config.head_to_head)
        note = "The table does not say in which order the battles were played: classic Elo is of a "
        results = replace(results, notes=[*results.notes, f"{note}random order."])
    else:
        results = read_tournament(config.folder)
    return rate_results(results, **config.settings)


def content_of(rated: Rated, config: RatingsConfig) -> dict[str, Any]:
    """What `{prefix}_ratings.json` holds."""
    return to_dict(rated) | {
        "meaning": MEANING,
        "battle_formats": rated.results.formats,
        **config.settings,
        "notes": rated.results.notes,
    }


def write_ratings(rated: Rated, config: RatingsConfig, output_prefix: str = "elo_results") -> Path:
    """Write the four `FILES`, whose paths begin with the one that is returned.

    Args:
        output_prefix: how the names begin, in the config's `folder` unless it is an absolute path.
    """
    prefix = config.folder / output_prefix
    if output_prefix.endswith("/") or Path(output_prefix).name in ("", ".."):
        raise UserError(f"--output_prefix {output_prefix!r} is a folder: add a name to it")
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        files = [prefix.with_name(f"{prefix.name}_{name}") for name in FILES]
        write_json(files[0], content_of(rated, config))
        write_csv(files[1], PROGRESSION, progression_rows(rated.results.games, rated.after))
        write_csv(files[2], *_matrix_table(rated))
        write_standings(files[3], rated.table)
    except OSError as error:
        raise cannot_write(f"{prefix}_*", error) from None
    return prefix


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
