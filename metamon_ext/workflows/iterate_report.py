"""The report of a run of `iterate`: ratings of the champions, decisions and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from metamon_ext.arena.rows import BattleRow
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.report import html_table, name_html, picture, write_report
from metamon_ext.evaluation.results import collect
from metamon_ext.evaluation.standings import Rated, rate_results
from metamon_ext.workflows.iterate_config import IterateConfig
from metamon_ext.workflows.iteration import HEURISTICS
from metamon_ext.workflows.stages import Line, training_logs


def rate_champions(config: IterateConfig, lines: Sequence[Line], rows: list[BattleRow]) -> Rated:
    """Rate the champions, the candidates that reached a gate, and the heuristics together."""
    players = {config.base, *HEURISTICS, *(line["candidate"] for line in lines)}
    return rate_results(collect(row for row in rows if {row.player_a, row.player_b} <= players))


def write_iterate_report(
    config: IterateConfig, lines: Sequence[Line], rows: list[BattleRow]
) -> None:
    """Write `report.html`, its pictures and `ratings.json`."""
    rated = rate_champions(config, lines, rows)
    by_name = {rating.player: rating for rating in rated.ratings}
    champions = [config.base, *(line["champion"] for line in lines)]
    curve = config.output_dir / "champions.png"
    ratings = [by_name.get(name) for name in champions]
    steps = ["base", *map(str, range(1, len(champions)))]
    points = {
        step: (r.rating, r.low, r.high) if r else None
        for step, r in zip(steps, ratings, strict=True)
    }
    plots.interval_curve(curve, points, "After iteration", "Champion's rating (Elo points)")
    promoted = sum(line["promoted"] for line in lines)
    write_report(
        output_dir=config.output_dir,
        title=f"Iterations from {config.base} in {config.battle_format}, seed {config.seed}",
        summary=[
            f"{promoted} of {len(lines)} iterations promoted their candidate. The champion is "
            f"{champions[-1]}.",
            *(warning for line in lines for warning in line["warnings"]),
        ],
        rated=rated,
        training_logs=training_logs(config.output_dir, len(lines)),
        stages={},
        notes={
            "Caveats": [
                "One run with one seed. Intervals are over battles in mirrored pairs, not over "
                "repeated training.",
                "Ratings are of the battles of gates, races and tables between the players above, "
                "on training and held-out teams together.",
            ]
        },
        more=[
            ("Champions", picture(curve, "The champion's rating with its 95 % interval.")),
            ("Decisions", _decisions(lines)),
            ("Team sets", _tables(lines)),
        ],
    )


def interval(row: Mapping[str, Any]) -> str:
    """The 95 % interval of a win rate in percent."""
    return f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %"


def _decisions(lines: Sequence[Line]) -> str:
    heads = ["Iteration", "Candidate", "Battles of the race", "Its error", "Training data"]
    rows = [
        [
            str(line["iteration"]),
            name_html(line["candidate"]),
            f"{line['race']['battles']:,}",
            f"{line['race']['error']:.1%}",
            ", ".join(f"{escape(name)}: {n:,}" for name, n in line["training"].items()),
            escape(line["reason"]),
        ]
        for line in lines
    ]
    return _scroll(
        html_table([*heads, "Decision"], rows, ("Candidate", "Training data", "Decision"))
    )


def _tables(lines: Sequence[Line]) -> str:
    heads = ["Iteration", "Candidate", "Opponent", "Team set", "Win rate", "95 % interval"]
    rows = [
        [
            str(line["iteration"]),
            name_html(line["candidate"]),
            escape(row["opponent"]),
            name_html(row["team_set"]) + " (held out)" * row["held_out"],
            f"{row['win_rate']:.1%}",
            interval(row),
        ]
        for line in lines
        for row in line["tables"]
    ]
    return _scroll(html_table(heads, rows, ("Candidate", "Opponent", "Team set")))


def _scroll(table: str) -> str:
    return f'<div class="scroll">{table}</div>'
