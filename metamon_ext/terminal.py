"""Tables, progress bars and JSON on the terminal. No other module makes a rich console."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from metamon_ext.files import to_json

T = TypeVar("T")
MIN_WIDTH = 40
"""Columns. rich drops text if the environment says COLUMNS=0."""


def console(**options: Any) -> Console:
    """A rich console that prints strings verbatim: `[bold]` or `:dog:` in a name is not markup.

    Pass a `rich.text.Text` for color. `options` are those of `rich.console.Console`.
    """
    printer = Console(markup=False, emoji=False, highlight=False, **options)
    printer.width = max(printer.width, MIN_WIDTH)
    return printer


def plain(template: str) -> TextColumn:
    """A progress bar column that prints its text verbatim."""
    return TextColumn(template, markup=False)


def progress_bar(
    *columns: ProgressColumn, show: bool = True, file: TextIO | None = None
) -> Progress:
    """A progress bar on standard error or `file`, which prints task names verbatim."""
    head = plain("{task.description}"), BarColumn()
    output = console(file=file, stderr=file is None)
    return Progress(*head, *columns, console=output, disable=not show)


def track(
    items: Iterable[T], what: str, total: int | None = None, show: bool = True
) -> Iterator[T]:
    """Yield the items, with a progress bar if standard error is a terminal."""
    columns = TaskProgressColumn(show_speed=True), TimeRemainingColumn(elapsed_when_finished=True)
    with progress_bar(*columns, show=show and console(stderr=True).is_terminal) as bar:
        yield from bar.track(items, total=total, description=what)


def print_json(content: Any) -> None:
    """Print one line of JSON in ASCII, which every terminal and pipe accepts."""
    print(json.dumps(json.loads(to_json(content))))
