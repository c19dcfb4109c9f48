"""Where battles are played: the protocol of executors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.registry import Registry


class Executor(Protocol):
    """Plays battles on some machine. A context manager: leaving it ends its processes."""

    def play(
        self, specs: Sequence[BattleSpec]
    ) -> Generator[tuple[BattleSpec, BattleResult], None, None]:
        """Play all battles, and yield each with its result, in the order in which they end.

        A battle's result depends on its spec alone. May be called again.

        Raises:
            UserError: a policy cannot be built.
            RunStopped: the executor cannot go on.
        """

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


@dataclass(frozen=True)
class Recording:
    """Save both points of view of each decided battle as trajectories.

    Attributes:
        folder: gets a folder for each battle format.
        date: in UTC, part of the names of the files.
    """

    folder: Path
    date: datetime = field(default_factory=_now)


ExecutorFactory = Callable[..., Executor]
"""(workers: int, recording: Recording | None, battles_at_once: int) -> Executor; all by name."""


EXECUTORS: Registry[ExecutorFactory] = Registry("executor", "metamon_ext.executors")


def register_executor(name: str, factory: ExecutorFactory) -> None:
    """Give an executor a name. Packages may use the entry points `metamon_ext.executors`."""
    EXECUTORS.register(name, factory)


def find_executor(name: str) -> ExecutorFactory:
    """The executor of this name. Raises UserError for an unknown name."""
    return EXECUTORS.find(name)
