"""`metamon-ext psro`: policy-space response oracles."""

from __future__ import annotations

from rich.table import Column, Table

from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json
from metamon_ext.terminal import console, print_json
from metamon_ext.workflows.psro import PsroResult, psro
from metamon_ext.workflows.psro_config import PsroConfig
from metamon_ext.workflows.psro_report import bound_of


def psro_command(config: PsroConfig, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished."""
    result = psro(config)
    if as_json:
        print_json(result.summary)
    else:
        _report(config, result)
    return print_unfinished(result.rows)


def _report(config: PsroConfig, result: PsroResult) -> None:
    if not result.finished_now:
        print(f"Nothing to do: {config.output_dir} has {len(result.lines)} finished iterations.")
    responses = Table(
        "#",
        Column("Response", overflow="fold"),
        Column("Exploitability at least", justify="right"),
        "Added",
    )
    for line in result.lines:
        added = "yes" if line["added"] else "no"
        bound = bound_of(line["exploitability"])
        responses.add_row(str(line["iteration"]), line["candidate"], bound, added)
    members = Table(Column("Member", overflow="fold"), Column("Probability", justify="right"))
    for name, p in result.summary["strategy"].items():
        low, high = 100 * p["low"], 100 * p["high"]
        members.add_row(name, f"{100 * p['value']:.0f} ({low:.0f} to {high:.0f})")
    console().print(responses, members)
    print(
        "Exploitability: win rate against the mixture minus 50, in percent, a lower bound.\n"
        f"Probability: in the meta-strategy ({config.solver}, exploration "
        f"{config.exploration:g}), in percent. Both with 95 % intervals."
    )
    for line in result.lines:
        print(f"Iteration {line['iteration']}: {line['reason']}")
    print(f"Report: {result.report}")


FUNCTIONS: Functions = {"psro": psro_command}
