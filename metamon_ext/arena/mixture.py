"""Mixtures of policies: `mixture:FILE` draws one of its members for a battle.

FILE is a population file, {"policy": weight, ...}, or a `meta_strategy.json`. A seat draws a member
with random numbers that depend on the seed of the mirrored pair and on the player alone. So a
battle is replayed alike, both battles of a pair are played by the same two policies, and pairs are
independent of each other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy import Policy
from metamon_ext.arena.policy_ref import Found, PolicyRef
from metamon_ext.errors import UserError
from metamon_ext.settings import split_options

PREFIX = "mixture:"


class Mixture:
    """The factory of `mixture:FILE`. Seats draw from `members`, and never build the mixture."""

    def __new__(cls, file: str) -> Policy:  # type: ignore[misc]
        raise UserError(f"{PREFIX}{file} is a mixture. Build a member: ref.draw(rng).build().")

    @staticmethod
    def members(file: str) -> list[tuple[PolicyRef, float]]:
        """The members and their probabilities. Raises UserError for a bad file or member."""
        weights = read_population(Path(file))
        total = sum(weights.values())
        found = []
        for name, weight in weights.items():
            if name.startswith(PREFIX):
                raise UserError(f"{file} has the mixture {name!r} in it. Name its members instead.")
            try:
                found.append((PolicyRef.resolve(name), weight / total))
            except UserError as error:
                raise UserError(f"{file}: {error}") from None
        return found


def find_mixture(base: str) -> Found | None:
    """The mixture of a name `mixture:FILE`. Raises UserError for a bad file."""
    if not base.startswith(PREFIX):
        return None
    file = base.removeprefix(PREFIX)
    read_population(Path(file))
    return Mixture, {"file": file}


def read_population(path: Path) -> dict[str, float]:
    """Policy -> weight, from a population file or a `meta_strategy.json`.

    A path that does not exist is looked for in the file's folder and in the one above. Players
    that a meta-strategy never plays are left out.

    Raises UserError for a file that holds something else.
    """
    rule = f'{path} must hold {{"policy": weight, ...}} with weights in (0, 1e100)'
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{rule}: {error}") from None
    weights = _probabilities(content) if isinstance(content, dict) else None
    if not weights or not all(type(w) in (int, float) and 0 < w < 1e100 for w in weights.values()):
        raise UserError(rule)
    return {_locate(name, path.parent): weight for name, weight in weights.items()}


def _probabilities(content: dict[str, Any]) -> dict[str, Any]:
    """Of a `meta_strategy.json`; anything else is returned as it is."""
    strategy = content.get("strategy")
    if not isinstance(strategy, dict):
        return content
    values = {name: p.get("value") if isinstance(p, dict) else None for name, p in strategy.items()}
    return {name: value for name, value in values.items() if value != 0}


def _locate(name: str, folder: Path) -> str:
    base, options = split_options(name)
    for path in (Path(base), folder / base, folder.parent / base):
        if os.path.exists(path):
            return f"{path}?{options}" if options else str(path)
    return name
