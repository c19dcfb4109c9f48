"""Battles on several worker processes; one that dies is replaced and its battles are replayed."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import Counter, deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.worker import WorkerSettings, work
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.errors import RunStopped

BATTLES_AT_ONCE = 16
"""Battles that one worker holds."""
ATTEMPTS = 3
"""A battle whose worker has died so often is given up as unfinished."""


class _Hand:
    """A worker process as its parent sees it, with the battles it was given."""

    def __init__(self, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=work, args=(theirs, settings), daemon=True
        )
        self.process.start()
        theirs.close()
        self.battles: dict[str, BattleSpec] = {}

    def give(self, spec: BattleSpec, policies: dict[str, PolicyRef]) -> None:
        self.battles[spec.key] = spec
        with contextlib.suppress(ConnectionError):  # its death is noticed where we wait for it
            self.connection.send((spec, policies))

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


class Pool:
    """Worker processes that stay, with the policies they have loaded, from one `play` to the next.

    At most `workers` of them, each with up to `at_once` battles. A context manager that ends them.
    """

    def __init__(
        self, settings: WorkerSettings, workers: int, at_once: int = BATTLES_AT_ONCE
    ) -> None:
        self._settings, self._workers, self._at_once = settings, workers, at_once
        self._hands: list[_Hand] = []
        self._policies: dict[str, PolicyRef] = {}

    def _policy(self, player: str) -> PolicyRef:
        if player not in self._policies:
            known = self._settings.players.get(player)
            self._policies[player] = known or PolicyRef.resolve(player)
        return self._policies[player]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        while self._hands:
            self._hands.pop().close()

    def play(
        self, specs: Sequence[BattleSpec]
    ) -> Generator[tuple[BattleSpec, BattleResult], None, None]:
        """Play all battles and yield each with its result, in the order in which they end.

        What is yielded depends on `specs` alone, not on the number of workers or battles at once.
        Raises UserError for what a worker reports as a user's to mend, RunStopped for trouble.
        Nothing can be played after a generator that was not used up.
        """
        queue = deque(specs)
        deaths: Counter[str] = Counter()
        in_a_row = 0
        hands = self._hands
        while len(hands) < min(self._workers, len(queue)):
            hands.append(_Hand(self._settings))
        while queue or any(hand.battles for hand in hands):
            for hand in hands:
                while queue and len(hand.battles) < self._at_once:
                    spec = queue.popleft()
                    hand.give(spec, {name: self._policy(name) for name in (spec.p1, spec.p2)})
            ready = wait([hand.connection for hand in hands if hand.battles])
            for hand in [hand for hand in hands if hand.connection in ready]:
                try:
                    error, content = hand.connection.recv()
                except (EOFError, ConnectionResetError):
                    in_a_row += 1
                    if in_a_row > 2 * ATTEMPTS * self._workers:
                        raise RunStopped(
                            f"{in_a_row} workers died one after another, without finishing a "
                            "battle: see above for why; the same command goes on from here"
                        ) from None
                    self._replace(hand)
                    for spec in hand.battles.values():
                        deaths[spec.key] += 1
                        if deaths[spec.key] < ATTEMPTS:
                            queue.append(spec)
                        else:
                            yield spec, _given_up(spec)
                    continue
                if error is not None:
                    raise error(content)
                in_a_row = 0
                yield hand.battles.pop(content.key), content

    def _replace(self, dead: _Hand) -> None:
        self._hands.remove(dead)
        dead.close()
        self._hands.append(_Hand(self._settings))


def play_battles(
    specs: Sequence[BattleSpec],
    settings: WorkerSettings,
    workers: int,
    at_once: int = BATTLES_AT_ONCE,
) -> Generator[tuple[BattleSpec, BattleResult], None, None]:
    """`Pool.play` with workers of its own, which closing the generator ends."""
    with Pool(settings, workers, at_once) as pool:
        yield from pool.play(specs)


def _given_up(spec: BattleSpec) -> BattleResult:
    reason = f"the worker died {ATTEMPTS} times while it was played"
    return BattleResult(spec.key, "unfinished", reason, 0, 0, 0, 0, 0, "")
