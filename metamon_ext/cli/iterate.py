"""`metamon-ext iterate`: the loop of generation, training and measurement."""

from __future__ import annotations

from rich.table import Column, Table

from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.terminal import console, print_json
from metamon_ext.workflows.iterate import IterateResult, iterate
from metamon_ext.workflows.iterate_config import IterateConfig


def iterate_command(config: IterateConfig, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished."""
    result = iterate(config)
    if as_json:
        print_json(result.lines)
    else:
        _report(config, result)
    return print_unfinished(result.rows)


def _report(config: IterateConfig, result: IterateResult) -> None:
    if not result.finished_now:
        print(f"Nothing to do: {config.output_dir} has {len(result.lines)} finished iterations.")
    numbers = [Column(head, justify="right", no_wrap=True) for head in ("Elo", "95 % int.")]
    decisions = Table("#", Column("Candidate", overflow="fold"), *numbers, "Promoted")
    sets = Table("#", "Opponent", Column("Team set", overflow="fold"), "Win rate", "95 % interval")
    for line in result.lines:
        number, gate = str(line["iteration"]), line["gate"]
        decisions.add_row(
            number,
            line["candidate"],
            f"{gate['elo']:+.0f}",
            f"{gate['low']:+.0f} to {gate['high']:+.0f}",
            "yes" if line["promoted"] else "no",
        )
        for row in line["tables"]:
            sets.add_row(
                number,
                row["opponent"],
                row["team_set"] + " (held out)" * row["held_out"],
                f"{row['win_rate']:.1%}",
                f"{row['low']:.1%} to {row['high']:.1%}",
            )
    console().print(decisions, sets)
    for warning in (warning for line in result.lines for warning in line["warnings"]):
        print(f"Warning: {warning}")
    print(f"The champion is {result.champion}. Report: {result.report}")


FUNCTIONS: Functions = {"iterate": iterate_command}
