"""`metamon-ext doctor`: the table, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from metamon_ext.cli.flags import Functions, Json
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


def examine(env: Environment, comprehensive: bool = False) -> list[Check]:
    """All checks, in the order of the table."""
    wanted = [*machine.CHECKS, *stack.ALWAYS]
    if env.has_metamon:
        wanted += stack.WITH_METAMON
    checks = [check(env) for check in wanted]
    if comprehensive:
        checks += trial.trials(env)
    return checks


def doctor(comprehensive: bool = False, as_json: Json = False) -> int:
    """Exit code 1 if something that is needed is broken.

    Args:
        comprehensive: also play a battle, train a step, and read a checkpoint back
    """
    checks = examine(Environment.here(), comprehensive)
    broken = any(check.status == "broken" for check in checks)
    if as_json:
        print_json({"ok": not broken, "checks": [asdict(check) for check in checks]})
    else:
        print_table(checks)
    return int(broken)


def print_table(checks: Sequence[Check]) -> None:
    """Print one line a check, with the fix for every problem."""
    ill = [check for check in checks if check.status in ("note", "warning", "broken")]
    table = Table()
    for column in ("check", "", "found", *(["fix"] if ill else [])):
        table.add_column(column, overflow="fold")
    for check in checks:
        fix = [check.fix if check in ill else ""] if ill else []
        table.add_row(check.name, Text(check.status, COLORS[check.status]), check.found, *fix)
    console().print(table)
    count = Counter(check.status for check in checks)
    print(f"{count['broken']} broken, {count['warning']} warnings")


FUNCTIONS: Functions = {"doctor": doctor}
