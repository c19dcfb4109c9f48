"""The report of a run: pictures, one self-contained HTML file, `ratings.json`, terminal tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from metamon_ext.errors import UserError
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.games import HeadToHead
from metamon_ext.evaluation.standings import Matchup, Rated, Standing, matrix, percent
from metamon_ext.files import atomic_write, write_json

SHORT = 28
"""Matchups of 8 players: a list that is still shown in the terminal and unfolded in the report."""

FIGURES = ("Win rate", "95 % interval", "Battles", "Unfinished")


def write_report(
    output_dir: Path,
    title: str,
    summary: Sequence[str],
    rated: Rated,
    training_logs: Mapping[str, Path],
    stages: Mapping[str, float],
    notes: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str] | None = None,
    more: Iterable[tuple[str, str]] = (),
) -> None:
    """Write `report.html`, its pictures (`ratings.png`, `winrate_matrix.png` and, with training
    logs, `training_curves.png`) and `ratings.json`.

    Args:
        summary: The findings in sentences, the most important first.
        rated: The battles and their ratings.
        training_logs: `training_log.csv` of each run.
        stages: Seconds of each stage, in order.
        notes: Paragraphs under headings, such as "Training data" and "Caveats".
        kinds: What a player is, where its name does not say it.
        more: Headings, and HTML to stand under them, before everything else.

    Raises UserError if no battle was finished.
    """
    if not rated.ratings:
        raise UserError("no battle finished, so there is nothing to rate")
    output_dir.mkdir(parents=True, exist_ok=True)
    ratings_png, matrix_png = output_dir / "ratings.png", output_dir / "winrate_matrix.png"
    draw_ratings(ratings_png, matrix_png, rated)
    sections = [*more]
    if training_logs:
        curves = output_dir / "training_curves.png"
        plots.training_curves(curves, training_logs)
        caption = (
            "Means of equal stretches of the training; the shade holds the middle 80 % of the"
            " steps. A loss that falls is not yet a stronger player. Policy extraction, where a run"
            " ends with it, has another actor loss: the KL divergence from the improved policy."
        )
        sections.append(("Training", picture(curves, caption)))
    write_page(
        output_dir / "report.html",
        title=title,
        summary=summary,
        rated=rated,
        kinds=kinds,
        pictures=(ratings_png, matrix_png),
        sections=[
            *sections,
            *((head, _paragraphs(texts)) for head, texts in notes.items()),
            *([("Time", _stages_table(stages))] if stages else []),
        ],
    )
    write_json(output_dir / "ratings.json", {"title": title} | to_dict(rated, kinds))


def to_dict(rated: Rated, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Ratings and pairings for JSON; `kinds` says what a player is."""
    players = {row.player: asdict(row) for row in rated.table}
    for name, row in players.items():
        del row["player"]
        if kinds:
            row["kind"] = kinds.get(name)
    return {
        "ratings": players,
        "battles": len(rated.results.games),
        "unfinished": sum(rated.results.unfinished.values()),
        "matchups": [matchup.to_dict() for matchup in rated.found],
    }


def draw_ratings(ratings_png: Path, matrix_png: Path, rated: Rated) -> None:
    """Draw the two pictures that every report has."""
    players = [row.player for row in rated.table]
    plots.ratings_bars(ratings_png, rated.ratings)
    plots.winrate_heatmap(matrix_png, players, *matrix(players, rated.found))


def write_page(
    path: Path,
    title: str,
    summary: Sequence[str],
    rated: Rated,
    pictures: tuple[Path, Path],
    sections: Iterable[tuple[str, str]],
    kinds: Mapping[str, str] | None = None,
    zero: str = "the mean of the players here is set to 1500",
) -> None:
    """Write an HTML page that needs nothing but itself.

    Args:
        summary: The findings in sentences, the most important first.
        rated: The battles and their ratings.
        pictures: What `draw_ratings` drew.
        sections: Headings, and HTML to stand under them.
        kinds: What a player is, where its name does not say it.
        zero: To what the ratings are tied.
    """
    page = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    html = page.substitute(
        title=escape(title),
        counts=f"{len(rated.table)} players, {len(rated.results.games):,} battles finished, "
        f"{sum(rated.results.unfinished.values()):,} did not.",
        summary=_paragraphs(summary),
        ratings=_ratings_table(rated.table, kinds or {}),
        ratings_picture=picture(pictures[0], "Each player's rating and its 95 % interval."),
        matrix_picture=picture(
            pictures[1],
            "Win rate in percent of the player in the row against the opponent in the column;"
            " below it, the battles played.",
        ),
        open=" open" if len(rated.found) <= SHORT else "",
        matchup_count=len(rated.found),
        matchups=_matchup_table(rated.found),
        sections="\n".join(f"<h2>{escape(head)}</h2>{html}" for head, html in sections),
        zero=escape(zero),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def print_standings(console: Console, table: Sequence[Standing]) -> None:
    """Print the ratings and what came of the battles."""
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


def print_tables(console: Console, rated: Rated) -> None:
    """Print the ratings and, of up to 8 players, every pairing."""
    print_standings(console, rated.table)
    if not 1 < len(rated.found) <= SHORT:
        return
    names = (Column(head, overflow="fold") for head in ("Player", "Opponent"))
    table = Table(*names, title="Head to head", title_justify="left")
    for head in FIGURES:
        table.add_column(head, justify="right", no_wrap=True)
    for m in rated.found:
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


def _ratings_table(table: Sequence[Standing], kinds: Mapping[str, str]) -> str:
    heads = ["#", "Player", *(["Kind"] if kinds else []), "Rating", "95 % interval"]
    heads += ["Above the next", "GXE", "Won", "Battles"]
    rows = (
        [
            str(row.rank),
            name_html(row.player),
            *([escape(kinds.get(row.player, ""))] if kinds else []),
            f"<strong>{row.elo:.0f}</strong>",
            f"{row.low:.0f} to {row.high:.0f}",
            "" if row.superiority is None else escape(percent(row.superiority)),
            f"{row.gxe:.1f} %",
            f"{100 * row.win_rate:.1f} %",
            f"{row.games:,}",
        ]
        for row in table
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
