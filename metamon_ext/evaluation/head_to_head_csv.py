"""Head-to-head tables, as leagues publish them: a CSV of wins, losses and ties of two players."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from metamon_ext.errors import UserError

COLUMNS = ("player", "opponent", "wins", "losses", "ties")
MAX_GAMES = 20_000_000
"""More games in one file are taken for an error."""

Table = dict[tuple[str, str], tuple[int, int, int]]
"""Wins, losses and ties of the first player against the second. Each two players are there once."""


def read_table(path: Path) -> Table:
    """Read a CSV with the `COLUMNS`; other columns are ignored.

    A pair of players has one row, or two that mirror each other. Raises UserError for anything
    else.
    """
    table: Table = {}
    lines: dict[tuple[str, str], int] = {}
    for line, player, opponent, counts in _rows(path):
        if (player, opponent) in lines:
            first = lines[player, opponent]
            raise UserError(
                f"{path}, line {line}: {player!r} against {opponent!r} is in line {first} already. "
                "Remove one of the two lines."
            )
        lines[player, opponent] = line
        if (opponent, player) not in table:
            table[player, opponent] = counts
            continue
        wins, losses, ties = counts
        if table[opponent, player] != (losses, wins, ties):
            other = "-".join(map(str, table[opponent, player]))
            raise UserError(
                f"{path}, line {line}: {player!r} against {opponent!r} is {wins}-{losses}-{ties}, "
                f"but line {lines[opponent, player]} has {other} from the other side. Correct one "
                "of the two lines."
            )
    games = sum(map(sum, table.values()))
    if not 0 < games <= MAX_GAMES:
        raise UserError(f"{path} has {games:,} games. A table has 1 to {MAX_GAMES:,}.")
    return table


def _rows(path: Path) -> Iterator[tuple[int, str, str, tuple[int, int, int]]]:
    """Line number, player, opponent, and wins, losses and ties of each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise UserError(
                    f"{path} lacks the columns {', '.join(missing)}. A head-to-head table is a CSV "
                    f"with the columns {', '.join(COLUMNS)}."
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                player, opponent = row["player"], row["opponent"]
                if not player or not opponent or player == opponent:
                    raise UserError(
                        f"{where}: player {player!r} and opponent {opponent!r} must be two names."
                    )
                wins, losses, ties = (_count(where, name, row[name]) for name in COLUMNS[2:])
                yield reader.line_num, player, opponent, (wins, losses, ties)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV in UTF-8: {error}.") from None


def _count(where: str, name: str, text: str | None) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 18:
        raise UserError(f"{where}: {name} must be a whole number of at least 0, not {text!r}.")
    return int(text)
