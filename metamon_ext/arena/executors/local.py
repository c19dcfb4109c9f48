"""A pool of worker processes. A worker that dies is replaced and its battles are replayed."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import Counter, deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.executors.worker import WorkerSettings, work
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.errors import RunStopped
from metamon_ext.settings import default_workers

BATTLES_AT_ONCE = 16
"""Battles that one worker holds."""
ATTEMPTS = 3
"""A battle whose worker has died so often ends as unfinished."""


class _WorkerProcess:
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

    def give(self, spec: BattleSpec) -> None:
        self.battles[spec.key] = spec
        with contextlib.suppress(ConnectionError):  # its death is noticed where we wait for it
            self.connection.send(spec)

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


class LocalExecutor:
    """Plays battles in worker processes on this machine.

    The workers, and the policies that they have loaded, stay from one `play` to the next. Use it as
    a context manager, which ends them.

    Args:
        workers: how many processes; default: one for each core.
        recording: where to save trajectories; None: nowhere.
        battles_at_once: battles that one worker holds.
        stall_seconds: a battle without progress for so long ends as unfinished.
    """

    def __init__(
        self,
        workers: int | None = None,
        recording: Recording | None = None,
        battles_at_once: int = BATTLES_AT_ONCE,
        stall_seconds: float = 60.0,
    ) -> None:
        self._settings = WorkerSettings(stall_seconds, recording)
        self._most = workers or default_workers()
        self._at_once = battles_at_once
        self._workers: list[_WorkerProcess] = []

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        while self._workers:
            self._workers.pop().close()

    def play(
        self, specs: Sequence[BattleSpec]
    ) -> Generator[tuple[BattleSpec, BattleResult], None, None]:
        """Play all battles, and yield each with its result, in the order in which they end.

        The results depend on `specs` alone, not on the number of workers or battles at once.
        Nothing more can be played after a generator that was not used up.

        Raises:
            UserError: a policy cannot be built, or a trajectory cannot be written.
            RunStopped: the disk is full, or workers die one after another.
        """
        queue = deque(specs)
        deaths: Counter[str] = Counter()
        in_a_row = 0
        workers = self._workers
        while len(workers) < min(self._most, len(queue)):
            workers.append(_WorkerProcess(self._settings))
        while queue or any(worker.battles for worker in workers):
            for worker in workers:
                while queue and len(worker.battles) < self._at_once:
                    worker.give(queue.popleft())
            ready = wait([worker.connection for worker in workers if worker.battles])
            for worker in [worker for worker in workers if worker.connection in ready]:
                try:
                    error, content = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    in_a_row += 1
                    if in_a_row > 2 * ATTEMPTS * self._most:
                        raise RunStopped(
                            f"{in_a_row} workers died one after another, without finishing a "
                            "battle: see above for why. The same command resumes the run."
                        ) from None
                    self._replace(worker)
                    for spec in worker.battles.values():
                        deaths[spec.key] += 1
                        if deaths[spec.key] < ATTEMPTS:
                            queue.append(spec)
                        else:
                            yield spec, _given_up(spec)
                    continue
                if error is not None:
                    raise error(content)
                in_a_row = 0
                yield worker.battles.pop(content.key), content

    def _replace(self, dead: _WorkerProcess) -> None:
        self._workers.remove(dead)
        dead.close()
        self._workers.append(_WorkerProcess(self._settings))


def _given_up(spec: BattleSpec) -> BattleResult:
    reason = f"the worker died {ATTEMPTS} times while it was played"
    return BattleResult(spec.key, None, reason, 0, 0, 0, 0, 0, "")
