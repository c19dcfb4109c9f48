"""`metamon-ext evaluate_offline`: figures of networks on recorded battles."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Column, Table

from metamon_ext.cli.flags import Functions, Json
from metamon_ext.evaluation.offline_figures import Figure, Group, OfflineFigures
from metamon_ext.terminal import console, print_json
from metamon_ext.workflows.evaluate_offline import (
    OfflineEvaluationConfig,
    content_of,
    evaluate_offline,
)


def evaluate_offline_command(config: OfflineEvaluationConfig, as_json: Json = False) -> int:
    """Exit code 0."""
    result = evaluate_offline(config)
    if as_json:
        print_json(content_of(result))
        return 0
    for name, figures in result.figures.items():
        print_figures(console(), name, figures)
    if config.output_dir is not None:
        print(f"Written: {config.output_dir}")
    return 0


def print_figures(printer: Console, name: str, figures: OfflineFigures) -> None:
    """The tables of one network."""
    overall = figures.overall
    printer.print(name, soft_wrap=True)
    printer.print(
        f"{overall.battles:,} battles, {overall.trajectories:,} trajectories, "
        f"{overall.decisions:,} decisions; {overall.missing:,} more without a recorded action."
    )
    if figures.cut_off:
        printer.print(f"{figures.cut_off:,} trajectories were cut off: they have no outcome.")
    if not figures.gammas:
        printer.print("It has no trained critics: no figures of the value.")
    elif figures.rewards is None:
        printer.print("Its reward does not tell won from lost battles: no Brier score.")
    longest = f"[{figures.gammas[-1]:g}]" if figures.gammas else ""
    columns = {
        "accuracy": "accuracy",
        "cross-\nentropy": "cross_entropy",
        "Brier": "brier",
        "A>0 won": f"positive_advantage_won{longest}",
        "A>0 lost": f"positive_advantage_lost{longest}",
    }
    columns = {title: key for title, key in columns.items() if key in overall.figures}
    right = [Column(title, justify="right", no_wrap=True) for title in ("battles", *columns)]
    label = Column("", overflow="fold")
    table = Table(label, *right, box=None, pad_edge=False, padding=(0, 1), collapse_padding=True)
    groups: Mapping[str, Group] = {"all": overall}
    for dimension, buckets in {"": groups, **figures.by}.items():
        for bucket, group in buckets.items():
            cells = [_cell(title, group.figures[key]) for title, key in columns.items()]
            name = bucket if dimension == "format" else f"{dimension} {bucket}".strip()
            table.add_row(name, f"{group.battles:,}", *cells)
    printer.print(table)
    if figures.reliability:
        curve = Table("forecast", "won", "decisions", box=None, pad_edge=False)
        for one in figures.reliability:
            won = _cell("won", one.won)
            curve.add_row(f"{one.forecast:.0%}", won, f"{one.decisions:,}")
        printer.print(curve)
    printer.print("± is half of the 95 % interval over battles.")


def _cell(title: str, estimate: Figure) -> str:
    """The value, with half of its interval."""
    if estimate.value is None:
        return "-"
    percent = title not in ("cross-\nentropy", "Brier")
    scale, form = (100, ".0f") if percent else (1, ".3f")
    text = f"{scale * estimate.value:{form}}{'%' if percent else ''}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ±{scale * (estimate.high - estimate.low) / 2:{form}}"


FUNCTIONS: Functions = {"evaluate_offline": evaluate_offline_command}
