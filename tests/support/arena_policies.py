"""Policies that cause trouble, each in its own way. Named `tests.support.arena_policies:Class`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy import Decision


class First:
    """Takes the first legal action: never illegal, never random."""

    def begin(self, battle_id: str) -> None:
        pass

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        return [self.choose(decision) for decision in decisions]

    def choose(self, decision: Decision) -> int:
        return decision.legal_actions[0]

    def end(self, battle_id: str) -> None:
        pass


class Raising(First):
    """Raises in the third turn of every battle."""

    def choose(self, decision: Decision) -> int:
        if decision.battle.turn == 3:
            raise RuntimeError("out of memory, say")
        return super().choose(decision)


class Speechless(First):
    """Answers with nothing."""

    def act(self, decisions: Sequence[Decision]) -> list[Any]:
        return [None for _ in decisions]


class AlwaysIllegal(First):
    """Answers with an action that does not exist."""

    def choose(self, decision: Decision) -> int:
        return 99


class IllegalOnce(First):
    """Answers illegally when first asked, legally when asked again."""

    def __init__(self) -> None:
        self._asked: set[tuple[str, int]] = set()

    def choose(self, decision: Decision) -> int:
        question = (decision.battle_id, id(decision.battle.last_request))
        if question in self._asked:
            return super().choose(decision)
        self._asked.add(question)
        return -1


class Reading(First):
    """Needs a file."""

    def __init__(self, path: str) -> None:
        Path(path).read_bytes()


class Sleeping(First):
    """Never answers."""

    def choose(self, decision: Decision) -> int:
        time.sleep(3600)
        return 0


class SimulatorKiller(First):
    """Kills its own worker's simulator, but only once for each flag file that it is given."""

    def __init__(self, flag: str) -> None:
        self._flag = Path(flag)

    def choose(self, decision: Decision) -> int:
        if decision.battle.turn == 5 and not self._flag.exists():
            self._flag.touch()
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(child), 9)
        return super().choose(decision)


class Suicidal(First):
    """Kills its own worker whenever it is in a battle's fifth turn."""

    def choose(self, decision: Decision) -> int:
        if decision.battle.turn == 5:
            os.kill(os.getpid(), 9)
        return super().choose(decision)


class RaisingWhile(First):
    """Raises as long as a file is there."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def choose(self, decision: Decision) -> int:
        if self._file.exists():
            raise RuntimeError("out of memory, say")
        return super().choose(decision)


class WithWeights(First):
    """Says that it comes from a file."""

    def __init__(self, file: str) -> None:
        pass

    @staticmethod
    def weights(file: str) -> Path:
        return Path(file)
