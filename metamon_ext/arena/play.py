"""Play battles, keep their results, and count them."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from metamon_ext.arena.executors.protocol import Executor
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.errors import RunStopped
from metamon_ext.terminal import track


def play_battles(
    specs: Sequence[BattleSpec],
    executor: Executor,
    store: ResultStore | None = None,
    label: str = "battles",
) -> list[BattleRow]:
    """Play the battles that `store` does not hold, or that have failed.

    Args:
        specs: the battles.
        executor: where they are played.
        store: keeps the results; None: they are only returned.
        label: names the progress bar on standard error.

    Returns:
        The results of all `specs`, in their order.

    Raises:
        UserError: a policy cannot be built.
        RunStopped: the run cannot go further. What was played until then is in `store`.
    """
    return play_missing(specs, executor, store, store.resume() if store else {}, label)


def play_missing(
    specs: Sequence[BattleSpec],
    executor: Executor,
    store: ResultStore | None,
    known: dict[str, BattleRow],
    label: str,
) -> list[BattleRow]:
    """Like `play_battles`, given the results that are known, by key. Adds the new ones to them."""
    missing = [spec for spec in specs if spec.key not in known]
    with closing(executor.play(missing)) as played:
        for spec, result in track(played, label, total=len(missing)):
            if store:
                store.add(spec, result)
            known[spec.key] = BattleRow.of(spec, result)
    return [
        replace(known[spec.key], player_a=spec.player_a.name, player_b=spec.player_b.name)
        for spec in specs
    ]


def summarize(rows: Sequence[BattleRow], p1: str) -> dict[str, Any]:
    """Count one pairing, `p1` being one of the two players; the digest is of all choices."""
    scores = Counter(
        row.score if row.score is None or row.player_a == p1 else 1 - row.score for row in rows
    )
    digest = hashlib.blake2b("".join(row.digest for row in rows).encode(), digest_size=8)
    return {
        "battles": len(rows),
        "p1_wins": scores[1.0],
        "p2_wins": scores[0.0],
        "ties": scores[0.5],
        "unfinished": scores[None],
        "unfinished_reasons": Counter(row.reason for row in rows if row.score is None),
        "turns": sum(row.turns for row in rows),
        "decisions": sum(row.a_decisions + row.b_decisions for row in rows),
        "invalid": sum(row.a_invalid + row.b_invalid for row in rows),
        "digest": digest.hexdigest(),
    }


def print_unfinished(rows: Iterable[BattleRow]) -> int:
    """Print on standard error why battles are unfinished.

    Returns:
        The exit code of a command that has played them: 1 if any of them failed.

    Raises:
        RunStopped: every one has failed.
    """
    rows = list(rows)
    failed = [row.reason for row in rows if row.failed]
    if failed and len(failed) == len(rows):
        reason, count = Counter(failed).most_common(1)[0]
        raise RunStopped(f"every battle failed, {count:,} of {len(rows):,} by: {reason}")
    unfinished = Counter(row.reason for row in rows if row.score is None)
    for reason, count in unfinished.most_common():
        print(f"unfinished, {count:,} times: {reason}", file=sys.stderr)
    return int(bool(failed))
