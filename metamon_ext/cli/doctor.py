"""`metamon-ext doctor`: the table, and the exit code."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from metamon_ext.doctor import machine, stack, trial
from metamon_ext.doctor.environment import Check, Environment
from metamon_ext.terminal import console, print_json

COLORS = {
    "ok": "green",
    "absent": "dim",
    "note": "cyan",
    "warning": "yellow",
    "broken": "red",
}


def add_parsers(commands: Any) -> None:
    """Register `metamon-ext doctor`."""
    parser = commands.add_parser("doctor")
    parser.add_argument(
        "--comprehensive",
        action="store_true",
        help="also play a battle, train a step, and read a checkpoint back",
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def examine(env: Environment, comprehensive: bool = False) -> list[Check]:
    """All checks, in the order of the table."""
    wanted = [*machine.CHECKS, *stack.ALWAYS]
    if env.has_metamon:
        wanted += stack.WITH_METAMON
    checks = [check(env) for check in wanted]
    if comprehensive:
        checks += trial.trials(env)
    return checks


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if something that is needed is broken."""
    checks = examine(Environment.here(), args.comprehensive)
    broken = any(check.status == "broken" for check in checks)
    if args.json:
        print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        print_table(checks)
    return int(broken)


def print_table(checks: Sequence[Check]) -> None:
    """One line a check; the cure where something is wrong."""
    ill = [check for check in checks if check.status in ("note", "warning", "broken")]
    table = Table()
    for column in ("check", "", "found", *(["cure"] if ill else [])):
        table.add_column(column, overflow="fold")
    for check in checks:
        cure = [check.cure if check in ill else ""] if ill else []
        table.add_row(check.name, Text(check.status, COLORS[check.status]), check.found, *cure)
    console().print(table)
    count = Counter(check.status for check in checks)
    print(f"{count['broken']} broken, {count['warning']} warnings")
