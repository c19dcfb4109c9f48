"""Play battles, keep their results, and count them."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.pool import BATTLES_AT_ONCE, Pool
from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.schedule import BattleSpec, derive
from metamon_ext.arena.simulator.process import Simulator, SimulatorError, find_simulator
from metamon_ext.arena.store import ResultStore
from metamon_ext.arena.teams import BattleFormat, Team, find_team_set, load_format, load_teams
from metamon_ext.errors import RunStopped
from metamon_ext.terminal import track


def prepare(
    battle_format: str, team_set: str | None = "sample"
) -> tuple[BattleFormat, list[Team], str]:
    """Look up a format and load a team set by its name; what was loaded comes third.

    Raises UserError for what is wrong with either.
    """
    try:
        with Simulator() as simulator:
            found = load_format(battle_format, simulator)
            folder = None if found.random_teams else find_team_set(team_set, battle_format)
            return found, load_teams(found, folder, simulator), str(folder or "sample")
    except SimulatorError as error:
        raise RunStopped(
            f"{error}: {find_simulator()} may be damaged: run metamon-ext doctor"
        ) from None


def play_all(
    specs: Sequence[BattleSpec],
    settings: WorkerSettings,
    workers: int,
    store: ResultStore | None = None,
    what: str = "battles",
    at_once: int = BATTLES_AT_ONCE,
) -> tuple[dict[str, BattleResult], int]:
    """Play the battles that `store` lacks or that ended in trouble, with a progress bar on standard
    error.

    Returns the results of all `specs` by battle key, and how many were played now.
    """
    if store:
        store.forget_trouble()
    missing = store.missing(specs) if store else list(specs)
    with Pool(settings, workers, at_once) as pool:
        results = play_missing(missing, pool, store, what)
    if store:
        results = {row.key: row for row in store.rows()}
    return results, len(missing)


def play_missing(
    missing: Sequence[BattleSpec], pool: Pool, store: ResultStore | None, what: str
) -> dict[str, BattleResult]:
    """Play battles and keep each result as it comes. Returns the results by battle key."""
    results: dict[str, BattleResult] = {}
    with closing(pool.play(missing)) as played:
        for spec, result in track(played, what, total=len(missing)):
            results[spec.key] = result
            if store:
                store.add(spec, result)
    return results


def summarize(specs: Sequence[BattleSpec], results: dict[str, BattleResult]) -> dict[str, Any]:
    """Count one matchup by policy, not by seat; the digest is of all choices, battle by battle."""
    played = [results[spec.key] for spec in specs]
    swap = {"p1": "p2", "p2": "p1"}
    outcomes = Counter(
        swap.get(result.outcome, result.outcome) if spec.mirrored else result.outcome
        for spec, result in zip(specs, played, strict=True)
    )
    digest = hashlib.blake2b("".join(result.digest for result in played).encode(), digest_size=8)
    return {
        "battles": len(specs),
        "p1_wins": outcomes["p1"],
        "p2_wins": outcomes["p2"],
        "ties": outcomes["tie"],
        "unfinished": outcomes["unfinished"],
        "unfinished_reasons": Counter(r.reason for r in played if r.outcome == "unfinished"),
        "turns": sum(result.turns for result in played),
        "decisions": sum(result.p1_decisions + result.p2_decisions for result in played),
        "invalid": sum(result.p1_invalid + result.p2_invalid for result in played),
        "digest": digest.hexdigest(),
    }


def say_unfinished(results: Iterable[BattleResult]) -> int:
    """Say on standard error why battles are unfinished.

    Returns:
        The exit code of a command that has played them: 1 if an error ended any of them.

    Raises:
        RunStopped: an error ended every one.
    """
    results = list(results)
    failed = [result.reason for result in results if result.in_trouble]
    if failed and len(failed) == len(results):
        reason, count = Counter(failed).most_common(1)[0]
        raise RunStopped(f"every battle failed, {count:,} of {len(results):,} by: {reason}")
    unfinished = Counter(r.reason for r in results if r.outcome == "unfinished")
    for reason, count in unfinished.most_common():
        print(f"unfinished, {count:,} times: {reason}", file=sys.stderr)
    return int(bool(failed))


def team_set_id(teams: Sequence[Team]) -> str:
    """A hash of a team set's content."""
    return f"{derive(*sorted(f'{team.name}:{team.packed}' for team in teams)):016x}"
