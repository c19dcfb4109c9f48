"""The report of a run of `psro`: exploitability, population, payoffs and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from metamon_ext.arena.rows import BattleRow
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.meta_game import MetaGame
from metamon_ext.evaluation.payoffs import Estimate
from metamon_ext.evaluation.report import html_table, name_html, picture, write_report
from metamon_ext.evaluation.results import collect
from metamon_ext.evaluation.standings import rate_results
from metamon_ext.workflows.psro_config import PsroConfig
from metamon_ext.workflows.stages import Line, training_logs

CAVEATS = [
    "Exploitability is a lower bound: a better response may exist, and a weaker trainer finds a "
    "smaller one. A negative value says only that training found no better response. A curve that "
    "falls says that responses get harder to train, or that the meta-strategy gets harder to beat.",
    "Its battles are those of the sequential test, which did not choose the response. Estimates "
    "allow for the early stop, unless a row says plain.",
    "One run with one seed. Intervals are over battles in mirrored pairs, not over repeated "
    "training.",
    "Payoffs and ratings are of battles between members. More of them were played where the "
    "meta-strategy was uncertain.",
]


def write_psro_report(
    config: PsroConfig, lines: Sequence[Line], game: MetaGame, rows: list[BattleRow]
) -> None:
    """Write `report.html`, its pictures and `ratings.json`.

    Args:
        config: the settings of the run.
        lines: of its iterations.
        game: the analysis of the final population.
        rows: the battles between members.
    """
    curve = config.output_dir / "exploitability.png"
    points = {str(line["iteration"]): _percents(line["exploitability"]) for line in lines}
    plots.interval_curve(curve, points, "Iteration", "Exploitability at least (percentage points)")
    caption = (
        "A lower bound of the exploitability of each iteration's meta-strategy, with its 95 % "
        "interval: the response's win rate against the mixture minus 50 %."
    )
    write_report(
        output_dir=config.output_dir,
        title=f"PSRO in {config.battle_format}, {config.solver}, seed {config.seed}",
        summary=_summary(lines, game),
        rated=rate_results(collect(rows)),
        training_logs=training_logs(config.output_dir, len(lines)),
        stages={},
        notes={"Caveats": CAVEATS},
        more=[
            ("Exploitability", picture(curve, caption)),
            ("Population", _population(game, lines)),
            ("Decisions", _decisions(lines)),
        ],
    )


def _percents(exploitability: Mapping[str, Any]) -> tuple[float, float, float]:
    value, low, high = (100 * exploitability[name] for name in ("value", "low", "high"))
    return value, low, high


def bound_of(exploitability: Mapping[str, Any]) -> str:
    """The lower bound in percentage points, with its interval."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*_percents(exploitability))


def _summary(lines: Sequence[Line], game: MetaGame) -> list[str]:
    added, last = sum(line["added"] for line in lines), lines[-1]
    share = game.cyclic_share
    return [
        f"{added} of {len(lines)} iterations added their response to the population, which has "
        f"{len(game.members)} members.",
        f"The last response beats the meta-strategy of iteration {last['iteration']} by "
        f"{bound_of(last['exploitability'])} percentage points: a lower bound of its "
        "exploitability.",
        f"Cyclic share of the strength: {100 * share.value:.1f} % ({100 * share.low:.1f} to "
        f"{100 * share.high:.1f}). No rating explains it.",
    ]


def _population(game: MetaGame, lines: Sequence[Line]) -> str:
    joined = {line["candidate"]: str(line["iteration"]) for line in lines if line["added"]}
    heads = ["Member", "Joined in iteration", "Elo", "Meta-strategy", "Nash average"]
    rows = [
        [
            name_html(name := member.rating.player),
            joined.get(name, "from the start"),
            f"{member.rating.rating:.0f}",
            _interval(member.probability),
            _interval(member.nash_average),
        ]
        for member in game.members
    ]
    note = (
        "<p>Meta-strategy: the probability in percent with its 95 % interval. Nash average: the "
        "win rate against the Nash mixture minus 50 %.</p>"
    )
    return _scroll(html_table(heads, rows, ("Member",))) + note


def _interval(estimate: Estimate) -> str:
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.0f} ({low:.0f} to {high:.0f})"


def _decisions(lines: Sequence[Line]) -> str:
    heads = ["Iteration", "Response", "Started from", "Battles of the race", "Its error"]
    heads += ["Exploitability at least", "Estimate", "Decision"]
    rows = [
        [
            str(line["iteration"]),
            name_html(line["candidate"]),
            name_html(line["learner"]),
            f"{line['race']['battles']:,}",
            f"{line['race']['error']:.1%}",
            bound_of(line["exploitability"]),
            line["exploitability"]["kind"],
            escape(line["reason"]),
        ]
        for line in lines
    ]
    return _scroll(html_table(heads, rows, ("Response", "Started from", "Estimate", "Decision")))


def _scroll(table: str) -> str:
    return f'<div class="scroll">{table}</div>'
