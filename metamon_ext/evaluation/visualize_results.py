"""A tournament in pictures, on a page that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metamon_ext.errors import cannot_write
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.calculate_elo import RatingsConfig
from metamon_ext.evaluation.games import Games
from metamon_ext.evaluation.report import draw_ratings, name_html, picture, write_page
from metamon_ext.evaluation.standings import Rated, Standing, percent, write_standings
from metamon_ext.files import lock_folder

POINTS = 200
"""Of a line in the picture of classic Elo."""

BATTLES = "What came of each player's battles, and what else was counted."

CLASSIC = (
    "Elo with a K-factor, battle after battle. It goes up and down with the last results, and "
    "another order of the same battles would draw other lines: compare players by the ratings "
    "above. Of many players, the five rated highest stand out."
)

COLUMNS = (
    "<p>Above the next: the chance that the player is truly stronger than the one below it. GXE: "
    "the percentage of battles that it would win against an average player (1500, give or take "
    "130) by Showdown's formula, which allows for uncertainty. Won: a tie is half a win.</p>"
)


def visualize(rated: Rated, config: RatingsConfig, output_dir: Path | None = None) -> Path:
    """Write pictures, a table and a page that explains them. Returns the path of the page.

    Args:
        output_dir: default: `visualizations` in the config's `folder`.
    """
    folder = output_dir or config.folder / "visualizations"
    zero = config.anchor or "the mean of the players here"
    with lock_folder(folder):
        try:
            draw(folder, rated, f"{zero} is set to {config.anchor_rating:g}", config.initial_rating)
        except OSError as error:
            raise cannot_write(folder, error) from None
    return folder / "report.html"


def draw(folder: Path, rated: Rated, zero: str, initial_rating: float) -> None:
    """Everything about a tournament that is looked at, into an existing folder.

    Args:
        zero: To what the ratings are tied, such as "the mean of the players here is set to 1500".
        initial_rating: Of classic Elo.
    """
    games, table = rated.results.games, rated.table
    players = [row.player for row in table]
    rankings, heatmap = folder / "elo_rankings.png", folder / "winrate_heatmap.png"
    lines, statistics = folder / "elo_progression.png", folder / "statistics_comparison.png"
    draw_ratings(rankings, heatmap, rated)
    plots.rating_lines(lines, *_lines(games, rated.after, players, initial_rating))
    outcomes = [(row.wins, row.ties, row.losses) for row in table]
    plots.statistics_panels(statistics, players, outcomes, _panels(table))
    write_standings(folder / "tournament_summary.csv", table)
    formats = ", ".join(rated.results.formats)
    sections = [
        ("Battles", picture(statistics, BATTLES)),
        ("Classic Elo", picture(lines, CLASSIC)),
        ("The columns of the ratings", COLUMNS),
    ]
    if rated.results.notes:
        notes = "".join(f"<p>{name_html(note)}</p>" for note in rated.results.notes)
        sections.append(("What to know about these results", notes))
    write_page(
        folder / "report.html",
        title=f"Tournament in {formats}" if formats else "Tournament",
        summary=findings(table),
        rated=rated,
        pictures=(rankings, heatmap),
        sections=sections,
        zero=zero,
    )


def findings(table: Sequence[Standing]) -> list[str]:
    """What the ratings say in words."""
    first, second = table[0], table[1]
    assert first.superiority is not None
    sentences = [
        f"{first.player} is rated highest, with {first.elo:.0f} Elo points ({first.low:.0f} to "
        f"{first.high:.0f}). The chance that it is truly stronger than {second.player}, the next, "
        f"is {percent(first.superiority).replace('>', 'above')}."
    ]
    open_ = sum(row.superiority is not None and row.superiority < 0.95 for row in table)
    if open_:
        sentences.append(
            f"Of the {len(table) - 1} pairs of neighbors in the ranking, {open_} could well be in "
            "the other order (a chance above 5 %): more battles would tell."
        )
    else:
        sentences.append("Every player is stronger than the next with a chance above 95 %.")
    return sentences


def _lines(
    games: Games, after: np.ndarray, players: Sequence[str], initial_rating: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Up to `POINTS` numbers of battles from 0 to all, and each player's rating after so many."""
    battles = np.unique(np.linspace(0, len(games), POINTS + 1, dtype=int))
    index = {player: i for i, player in enumerate(games.players)}
    lines = {}
    for player in players:
        mine = np.column_stack([games.a, games.b]) == index[player]
        values = np.append(initial_rating, after[mine])
        played = np.append(0, mine.any(1).cumsum())
        lines[player] = values[played[battles]]
    return battles, lines


def _panels(table: Sequence[Standing]) -> dict[str, list[float]]:
    """What is known of all players, by title."""
    panels = {"Battles": [float(row.games) for row in table]}
    if any(row.unfinished for row in table):
        panels["Unfinished"] = [float(row.unfinished) for row in table]
    if any(row.mean_turns is not None for row in table):
        panels["Turns per battle"] = [row.mean_turns or 0.0 for row in table]
    if any(row.invalid_rate for row in table):
        panels["Invalid choices, %"] = [100 * (row.invalid_rate or 0.0) for row in table]
    return panels
