"""One worker: a simulator process, many battles at once, and the policies in their seats."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from metamon_ext.arena.battle import OVER_TURN_LIMIT, BattleResult, RunningBattle, Seat
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.policy import Policy
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.simulator.process import Simulator, SimulatorError
from metamon_ext.arena.tracking.tracker import TrackerLoader, tracker_loader, use_tracker
from metamon_ext.data.trajectory import TrajectoryName, safe_player_name, write_trajectory
from metamon_ext.errors import UserError, cannot_write


@dataclass(frozen=True)
class WorkerSettings:
    """What is the same for all battles of a worker.

    Attributes:
        stall_seconds: a battle without progress for so long ends as unfinished.
        recording: where to save trajectories; None: nowhere.
        load_tracker: see `use_tracker`.
    """

    stall_seconds: float = 60.0
    recording: Recording | None = None
    load_tracker: TrackerLoader = field(default_factory=tracker_loader)


class PolicyTimeout(Exception):
    """A policy has not answered in time."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise PolicyTimeout in the block after so many seconds. For a main thread."""

    def expire(*_: object) -> None:
        raise PolicyTimeout(f"no answer for {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class Worker:
    """Plays the battles it is given; `report` is called with each result as it comes."""

    def __init__(self, settings: WorkerSettings, report: Callable[[BattleResult], None]) -> None:
        use_tracker(settings.load_tracker)
        self._settings = settings
        self._report = report
        self._simulator = Simulator()
        self._battles: dict[str, RunningBattle] = {}
        self._progress: dict[str, float] = {}
        self._policies: dict[str, Policy] = {}
        self._outbox: list[list[Any]] = []

    def __len__(self) -> int:
        return len(self._battles)

    def close(self) -> None:
        """End the simulator."""
        self._simulator.close()

    def start(self, spec: BattleSpec) -> None:
        """Begin a battle.

        Raises UserError if one of its policies cannot be built, SimulatorError if the simulator
        does not load.
        """
        if not self._policies:  # loading the simulator takes seconds: no battle is charged for them
            self._simulator.ask("format", spec.battle_format)
        battle = RunningBattle(spec, record=self._settings.recording is not None)
        self._build_policies([seat.policy for seat in battle.seats])
        self._battles[spec.key] = battle
        self._progress[spec.key] = time.monotonic()
        self._outbox.append(battle.start())
        for seat in battle.seats:
            policy = self._policies[seat.policy.fingerprint]
            if backend := getattr(policy, "battle_backend", None):
                seat.tracker.backend = backend
            try:
                policy.begin(seat.battle_id)
            except Exception as error:
                self._end(battle, reason=f"{seat.player.name}: {error!r}")
                return

    def _build_policies(self, policies: Sequence[PolicyRef]) -> None:
        """Build the policies that are missing. A large model may take longer than a battle may
        stall, so no running battle is charged for it."""
        known = len(self._policies)
        for policy in policies:
            if policy.fingerprint not in self._policies:
                self._policies[policy.fingerprint] = policy.build()
        if len(self._policies) > known:
            self._restart_clocks()

    def _restart_clocks(self) -> None:
        """Give every battle its full time again, after something held all of them up."""
        self._progress = dict.fromkeys(self._progress, time.monotonic())

    def step(self, timeout: float = 1.0) -> None:
        """Take in what the simulator has said, ask the policies, answer the simulator.

        Raises SimulatorError if its process died: then all running battles are lost.
        """
        self._flush()
        waiting: dict[str, list[Seat]] = defaultdict(list)  # by the fingerprint of the policy
        for kind, key, *message in self._simulator.receive(timeout):
            battle = self._battles.get(key)
            if battle is None:
                continue
            self._progress[key] = time.monotonic()
            if kind == "crash":
                self._end(battle, reason=f"simulator: {message[0].splitlines()[0]}")
            else:
                for seat in self._take(battle, *message):
                    waiting[seat.policy.fingerprint].append(seat)
        for policy, seats in waiting.items():
            self._act(self._policies[policy], seats)
        self._end_stalled()
        self._flush()

    def _flush(self) -> None:
        if self._outbox:
            self._simulator.send(self._outbox)
            self._outbox = []

    def _choose(self, seat: Seat, choice: str) -> None:
        self._outbox.append(["choose", seat.key, seat.name, choice])

    def _take(
        self,
        battle: RunningBattle,
        lines: Sequence[str],
        requests: Sequence[dict[str, Any] | None],
        errors: Sequence[str | None],
        end: dict[str, Any] | None,
    ) -> list[Seat]:
        """Tell both seats what the simulator said. The seats that must act now."""
        waiting = []
        try:
            for i, seat in enumerate(battle.seats):
                if seat.take(lines[i], requests[i], errors[i]):
                    if preview := seat.preview():
                        self._choose(seat, preview)
                    else:
                        waiting.append(seat)
        except Exception as error:
            self._end(battle, reason=f"tracking: {error!r}")
            return []
        if end is not None:
            self._end(battle, {"p1": 1.0, "p2": 0.0}.get(end["winner"], 0.5))
            return []
        if battle.turn > (limit := battle.spec.turn_limit):
            self._end(battle, reason=f"{OVER_TURN_LIMIT}{limit} turns")
            return []
        return waiting

    def _act(self, policy: Policy, seats: list[Seat]) -> None:
        """Ask a policy for all its seats at once, those with an illegal answer once more."""
        while seats:
            asked = []
            for seat in seats:
                if seat.may_be_asked:
                    asked.append(seat)
                else:
                    self._answer(seat, None)
            answers = self._answers(policy, asked)
            seats = [seat for seat, action in answers if not self._answer(seat, action)]

    def _answer(self, seat: Seat, action: int | None) -> bool:
        """Tell the simulator a policy's answer, None for a random one. False if it is illegal."""
        try:
            choice = seat.answer_at_random() if action is None else seat.answer(action)
        except Exception as error:
            if battle := self._battles.get(seat.key):
                self._end(battle, reason=f"tracking: {error!r}")
            return True
        if choice is not None:
            self._choose(seat, choice)
        return choice is not None

    def _answers(self, policy: Policy, seats: list[Seat]) -> list[tuple[Seat, int]]:
        """The policy's answers. A battle for which it raises or is silent ends here."""
        seats = [seat for seat in seats if seat.key in self._battles]
        try:
            with time_limit(self._settings.stall_seconds):
                return list(zip(seats, map(int, policy.act(seats)), strict=True))
        except PolicyTimeout as error:
            for seat in seats:
                self._end(self._battles[seat.key], reason=f"{seat.player.name}: {error}")
            self._restart_clocks()
            return []
        except Exception as error:
            if len(seats) > 1:  # find out which battle it is
                return [answer for seat in seats for answer in self._answers(policy, [seat])]
            for seat in seats:
                self._end(self._battles[seat.key], reason=f"{seat.player.name}: {error!r}")
            return []

    def _end_stalled(self) -> None:
        seconds = self._settings.stall_seconds
        limit = time.monotonic() - seconds
        for key in [key for key, progress in self._progress.items() if progress < limit]:
            self._end(self._battles[key], reason=f"no progress for {seconds:.0f} s")

    def _end(self, battle: RunningBattle, p1_score: float | None = None, reason: str = "") -> None:
        """Report a battle's end: the score of the player in p1, or why it is unfinished."""
        key = battle.spec.key
        if self._battles.pop(key, None) is None:
            return  # the other seat has ended it already
        del self._progress[key]
        if p1_score is None:
            self._outbox.append(["drop", key])
        for seat in battle.seats:
            if policy := self._policies.get(seat.policy.fingerprint):
                try:
                    policy.end(seat.battle_id)
                except Exception as error:
                    p1_score, reason = None, reason or f"{seat.player.name}: {error!r}"
        if p1_score in (0.0, 1.0) and self._settings.recording is not None:
            try:
                for seat in battle.seats:
                    seat.finish()
            except Exception as error:
                p1_score, reason = None, f"tracking: {error!r}"
            else:
                self._save(battle, "p1" if p1_score else "p2", self._settings.recording)
        self._report(battle.result(p1_score, reason))

    def _save(self, battle: RunningBattle, winner: str, recording: Recording) -> None:
        """Write both points of view. The file format has no ties.

        Raises RunStopped where the disk is full, UserError where the folder cannot be written.
        """
        spec = battle.spec
        folder = recording.folder / spec.battle_format
        for seat, opponent in zip(battle.seats, reversed(battle.seats), strict=True):
            name = TrajectoryName(
                battle_id=f"metamon-{spec.battle_format}-{int(spec.key, 16)}",
                rating=None,
                player=safe_player_name(seat.player.name),
                opponent=safe_player_name(opponent.player.name),
                date=recording.date,
                outcome="WIN" if seat.name == winner else "LOSS",
            )
            try:
                write_trajectory(folder, name, seat.states, seat.actions)
            except OSError as error:
                raise cannot_write(folder, error) from None


def work(connection: Connection, settings: WorkerSettings) -> None:
    """The main function of a worker process.

    Receives the specs of battles to play until the connection closes.
    Sends (None, BattleResult) for each, and (a UserError's class, its text) before it gives up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who then ends us
    try:
        worker = Worker(settings, lambda result: connection.send((None, result)))
        try:
            while True:
                while not len(worker) or connection.poll():
                    worker.start(connection.recv())
                worker.step()
        finally:
            worker.close()
    except UserError as error:
        connection.send((type(error), str(error)))
    except (EOFError, ConnectionError, SimulatorError):
        pass  # the parent is gone, or it will replace this worker
