"""Battles recorded from the simulator, with the states that Metamon 1.5.1 made of them.

`data/metamon_states.json.lz4` holds, for both seats of a few battles with random choices in each
of seven formats, what the simulator said to the seat and what `UniversalState.from_Battle` said
of Metamon's own battle object (`MetamonBackendBattle`) at every decision and at the end, and
which actions `UniversalAction.definitely_valid_actions` found legal.
`tests/upstream/test_states.py` makes the states again where Metamon is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lz4.frame
import orjson

FILE = Path(__file__).parents[1] / "data" / "metamon_states.json.lz4"
FORMATS = (
    "gen1ou",
    "gen2ou",
    "gen3ou",
    "gen4ou",
    "gen9ou",
    "gen1randombattle",
    "gen9randombattle",
)


@cache
def recordings() -> list[dict[str, Any]]:
    """Each with format, seat, events (lines, request or decide), states, legal."""
    return orjson.loads(lz4.frame.decompress(FILE.read_bytes()))


def leaves(state: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Each value of a state: the name of its field, which of its kind it is, and the value.

    Moves and switches are told apart by name, since their order in a file means nothing.
    """

    def walk(field: str, which: str, value: Any) -> Iterator[tuple[str, str, Any]]:
        if isinstance(value, dict):
            for name, part in value.items():
                yield from walk(f"{field}.{name}".lstrip("."), which, part)
        elif field.endswith(("moves", "switches")):
            yield field, which, sorted(part["name"] for part in value)
            for part in value:
                yield from walk(f"{field}[]", f"{which}/{part['name']}", part)
        elif isinstance(value, list):
            yield field, which, sorted(value)
        else:
            yield field, which, round(value, 6) if isinstance(value, float) else value

    yield from walk("", "", state)
