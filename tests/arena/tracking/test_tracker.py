"""Which tracker a seat gets, and what happens when one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena import battle as battle_module
from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.executors.worker import Worker, WorkerSettings
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.tracking import tracker
from metamon_ext.arena.tracking.poke_env_tracker import PokeEnvTracker
from tests.support.battles import is_decided

Schedule = Callable[..., list[BattleSpec]]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ((), False),
        (("__init__.py", "core.py"), False),  # PyPI's metamon 0.1.1, which is something else
        (("__init__.py", "env/metamon_battle.py"), True),
    ],
)
def test_metamon_is_told_from_its_namesake(
    files: tuple[str, ...], found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in files:
        path = tmp_path / "metamon" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "metamon", raising=False)
    assert tracker.has_metamon.__wrapped__() is found


class Failing(PokeEnvTracker):
    """Cannot say what is legal from the third turn on."""

    def legal_choices(self) -> dict[int, str]:
        if self.turn >= 3:
            raise RuntimeError("an odd message")
        return super().legal_choices()


class FailingAtTheEnd(PokeEnvTracker):
    """Has no state once the battle is over."""

    def state(self):  # type: ignore[no-untyped-def]
        if self.battle.finished:
            raise RuntimeError("an odd message")
        return super().state()


@pytest.mark.parametrize("kind", [Failing, FailingAtTheEnd])
def test_a_tracker_that_fails_ends_its_battle_only(
    kind: type[PokeEnvTracker], schedule: Schedule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kinds = iter([kind] * 2 + [PokeEnvTracker] * 4)
    monkeypatch.setattr(battle_module, "make_tracker", lambda *spec: next(kinds)(*spec))
    results: dict[str, BattleResult] = {}
    settings = WorkerSettings(recording=Recording(tmp_path))
    worker = Worker(settings, lambda result: results.update({result.key: result}))
    specs = schedule("random", "random", 3)
    for spec in specs:
        worker.start(spec)
    while len(worker):
        worker.step()
    worker.close()
    failed, *others = [results[spec.key] for spec in specs]
    assert failed.score is None
    assert failed.reason == "tracking: RuntimeError('an odd message')"
    assert all(is_decided(result) for result in others)
