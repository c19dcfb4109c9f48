"""The report of a run: pictures, one self-contained HTML file, `ratings.json`, terminal tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from metamon_ext.errors import UserError
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.games import Game, HeadToHead, score_pairs, tally
from metamon_ext.evaluation.ratings import Rating, bradley_terry
from metamon_ext.files import atomic_write, write_json

SHORT = 28
"""Matchups of 8 players: a list that is still shown in the terminal and unfolded in the report."""

FIGURES = ("Win rate", "95 % interval", "Battles", "Unfinished")


class Matchup(NamedTuple):
    """The results of a player against a lower-rated one, and the battles that did not finish."""

    player: str
    opponent: str
    result: HeadToHead
    unfinished: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        players = {"player": self.player, "opponent": self.opponent}
        return players | asdict(self.result) | {"unfinished": self.unfinished}


def matchups(
    ratings: Sequence[Rating], games: Iterable[Game], unfinished: Mapping[tuple[str, str], int]
) -> list[Matchup]:
    """All pairs of players that finished a battle, in the order of the ratings."""
    rank = {r.player: i for i, r in enumerate(ratings)}
    found = []
    for (a, b), outcomes in tally(games).items():
        if rank[a] > rank[b]:
            a, b, outcomes = b, a, outcomes[:, ::-1]
        open_ = unfinished.get((a, b), 0) + unfinished.get((b, a), 0)
        found.append(Matchup(a, b, score_pairs(outcomes), open_))
    return sorted(found, key=lambda m: (rank[m.player], rank[m.opponent]))


def write_report(
    output_dir: Path,
    title: str,
    summary: Sequence[str],
    games: Sequence[Game],
    unfinished: Mapping[tuple[str, str], int],
    training_logs: Mapping[str, Path],
    stages: Mapping[str, float],
    notes: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str] | None = None,
) -> list[Rating]:
    """Write `report.html`, its pictures (`ratings.png`, `winrate_matrix.png` and, with training
    logs, `training_curves.png`) and `ratings.json`. Returns the ratings, the best first.

    Args:
        summary: The findings in sentences, the most important first.
        unfinished: Battles without a result, by players.
        training_logs: `training_log.csv` of each run.
        stages: Seconds of each stage, in order.
        notes: Paragraphs under headings, such as "Training data" and "Caveats".
        kinds: What a player is, where its name does not say it.
    """
    ratings = bradley_terry(games)
    if not ratings:
        raise UserError("no battle finished, so there is nothing to rate")
    found, kinds = matchups(ratings, games, unfinished), kinds or {}
    output_dir.mkdir(parents=True, exist_ok=True)
    ratings_png, matrix_png = output_dir / "ratings.png", output_dir / "winrate_matrix.png"
    draw_ratings(ratings_png, matrix_png, ratings, found)
    sections = []
    if training_logs:
        curves = output_dir / "training_curves.png"
        plots.training_curves(curves, training_logs)
        caption = (
            "Means of equal stretches of the training; the shade holds the middle 80 % of the"
            " steps. A loss that falls is not yet a stronger player."
        )
        sections.append(("Training", picture(curves, caption)))
    lost = sum(unfinished.values())
    write_page(
        output_dir / "report.html",
        title=title,
        counts=f"{len(ratings)} players, {len(games):,} battles finished, {lost:,} did not.",
        summary=summary,
        ratings=_ratings_table(ratings, kinds),
        pictures=(ratings_png, matrix_png),
        found=found,
        sections=[
            *sections,
            *((head, _paragraphs(texts)) for head, texts in notes.items()),
            *([("Time", _stages_table(stages))] if stages else []),
        ],
    )
    answer = {
        "title": title,
        "ratings": {
            r.player: {
                "rank": rank,
                "elo": r.rating,
                "low": r.low,
                "high": r.high,
                "games": r.games,
                "kind": kinds.get(r.player),
            }
            for rank, r in enumerate(ratings, 1)
        },
        "matchups": [m.to_dict() for m in found],
        "unfinished": lost,
    }
    write_json(output_dir / "ratings.json", answer)
    return ratings


def draw_ratings(
    ratings_png: Path, matrix_png: Path, ratings: Sequence[Rating], found: Sequence[Matchup]
) -> None:
    """The two pictures that every report has."""
    players = [r.player for r in ratings]
    plots.ratings_bars(ratings_png, ratings)
    plots.winrate_heatmap(matrix_png, players, *matrix(players, found))


def write_page(
    path: Path,
    title: str,
    counts: str,
    summary: Sequence[str],
    ratings: str,
    pictures: tuple[Path, Path],
    found: Sequence[Matchup],
    sections: Iterable[tuple[str, str]],
    zero: str = "the mean of the players here is set to 1500",
) -> None:
    """Write an HTML page that needs nothing but itself.

    Args:
        counts: How much was played.
        summary: The findings in sentences, the most important first.
        ratings: The table of the ratings, in HTML.
        pictures: What `draw_ratings` drew.
        found: All matchups.
        sections: Headings, and HTML to stand under them.
        zero: To what the ratings are tied.
    """
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    html = page.substitute(
        title=escape(title),
        counts=escape(counts),
        summary=_paragraphs(summary),
        ratings=ratings,
        ratings_picture=picture(pictures[0], "Each player's rating and its 95 % interval."),
        matrix_picture=picture(
            pictures[1],
            "Win rate in percent of the player in the row against the opponent in the column;"
            " below it, the battles played.",
        ),
        open=" open" if len(found) <= SHORT else "",
        matchup_count=len(found),
        matchups=_matchup_table(found),
        sections="\n".join(f"<h2>{escape(head)}</h2>{html}" for head, html in sections),
        zero=escape(zero),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def print_tables(
    console: Console,
    ratings: Sequence[Rating],
    games: Sequence[Game],
    unfinished: Mapping[tuple[str, str], int],
) -> None:
    """The ratings and, for a league of up to 8 players, every matchup."""
    table = Table("#", Column("Player", overflow="fold"), title="Ratings", title_justify="left")
    for head in ("Rating", "95 % interval", "Battles"):
        table.add_column(head, justify="right", no_wrap=True)
    for rank, r in enumerate(ratings, 1):
        row = (f"{r.rating:.0f}", f"{r.low:.0f} to {r.high:.0f}", f"{r.games:,}")
        table.add_row(str(rank), r.player, *row)
    console.print(table)
    found = matchups(ratings, games, unfinished)
    if len(found) > SHORT:
        return
    names = (Column(head, overflow="fold") for head in ("Player", "Opponent"))
    table = Table(*names, title="Head to head", title_justify="left")
    for head in FIGURES:
        table.add_column(head, justify="right", no_wrap=True)
    for m in found:
        table.add_row(m.player, m.opponent, *_figures_of(m))
    console.print(table)


def duration(seconds: float) -> str:
    """`4.2 s`, `1 min 23 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def matrix(players: Sequence[str], found: Iterable[Matchup]) -> tuple[np.ndarray, np.ndarray]:
    """Win rates (nan where not met) and battles, both (players, players)."""
    index = {player: i for i, player in enumerate(players)}
    rates = np.full((len(players),) * 2, np.nan)
    counts = np.zeros_like(rates, dtype=int)
    for m in found:
        i, j = index[m.player], index[m.opponent]
        rates[i, j], rates[j, i] = m.result.win_rate, 1 - m.result.win_rate
        counts[i, j] = counts[j, i] = m.result.games
    return rates, counts


def _figures_of(m: Matchup) -> tuple[str, str, str, str]:
    r = m.result
    interval = f"{100 * r.low:.1f} to {100 * r.high:.1f} %"
    return f"{100 * r.win_rate:.1f} %", interval, f"{r.games:,}", f"{m.unfinished:,}"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[str]) -> str:
    """Cells are HTML; the columns headed by one of `texts` are not numbers."""
    kind = ["name" if head in texts else "number" for head in heads]
    top = "".join(f'<th class="{k}">{head}</th>' for k, head in zip(kind, heads, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(f'<td class="{k}">{c}</td>' for k, c in zip(kind, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"


def _ratings_table(ratings: Sequence[Rating], kinds: Mapping[str, str]) -> str:
    heads = ["#", "Player", *(["Kind"] if kinds else []), "Rating", "95 % interval", "Battles"]
    rows = (
        [
            str(rank),
            name_html(r.player),
            *([escape(kinds.get(r.player, ""))] if kinds else []),
            f"<strong>{r.rating:.0f}</strong>",
            f"{r.low:.0f} to {r.high:.0f}",
            f"{r.games:,}",
        ]
        for rank, r in enumerate(ratings, 1)
    )
    return html_table(heads, rows, ("Player", "Kind"))


def _matchup_table(found: Iterable[Matchup]) -> str:
    names = ("Player", "Opponent", "0 to 100 %")
    rows = (
        [name_html(m.player), name_html(m.opponent), _track(m.result), *_figures_of(m)]
        for m in found
    )
    return html_table((*names, *FIGURES), rows, names)


def name_html(player: str) -> str:
    """Escaped, and where it is too long for its column, broken between words."""
    return escape(player).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _track(r: HeadToHead) -> str:
    low, mid, width = (f"{100 * x:.1f}%" for x in (r.low, r.win_rate, r.high - r.low))
    return (
        f'<span class="track"><i style="left:{low};width:{width}"></i>'
        f'<b style="left:{mid}"></b></span>'
    )


def _stages_table(stages: Mapping[str, float]) -> str:
    total, longest = sum(stages.values()), max(*stages.values(), 1e-9)
    rows = [
        [
            escape(stage),
            duration(seconds),
            f'<span class="time" style="width:{100 * seconds / longest:.0f}%"></span>',
        ]
        for stage, seconds in stages.items()
    ]
    rows.append(["<strong>Total</strong>", f"<strong>{duration(total)}</strong>", ""])
    table = html_table(["Stage", "Time", "Share"], rows, ("Stage", "Share"))
    return f'<div class="scroll">{table}</div>'


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)


def picture(png: Path, caption: str) -> str:
    """The picture inline, at the size that its type was set for; bytes 16 to 20 are its width."""
    content = png.read_bytes()
    width = int.from_bytes(content[16:20], "big") * 96 // plots.DPI
    wide = ' class="wide"' if width > 1000 else ""
    data, caption = base64.b64encode(content).decode(), escape(caption)
    return (
        f'<figure><div class="scroll"><img{wide} width="{width}" alt="{caption}"'
        f' src="data:image/png;base64,{data}"></div><figcaption>{caption}</figcaption></figure>'
    )
