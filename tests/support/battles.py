"""Battles and results for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.policy import HeuristicPolicy
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec, Player
from metamon_ext.errors import UserError


def play(specs: Sequence[BattleSpec], workers: int = 2, **options: Any) -> list[BattleResult]:
    """Results in the order of `specs`; the options are those of a `LocalExecutor`."""
    with LocalExecutor(workers, **options) as executor:
        results = {spec.key: result for spec, result in executor.play(specs)}
    return [results[spec.key] for spec in specs]


def player(name: str) -> Player:
    """The player of a policy's name. Any other name stands for a policy that cannot be built."""
    try:
        return Player.resolve(name)
    except UserError:
        return Player(name, PolicyRef(name, HeuristicPolicy, {"player_class": name}))


def result_of(spec: BattleSpec, winner: str | None = None, **changes: Any) -> BattleResult:
    """A result in which the player of this name has won; None: a tie."""
    score = 0.5 if winner is None else float(spec.player_a.name == winner)
    counts = {"a_decisions": 1, "b_decisions": 1, "a_invalid": 0, "b_invalid": 0}
    known = {"key": spec.key, "score": score, "reason": "", "turns": 30, "digest": ""} | counts
    return BattleResult(**known | changes)


def is_decided(result: BattleResult) -> bool:
    """Won or lost, and so saved as trajectories."""
    return result.score in (0.0, 1.0)
