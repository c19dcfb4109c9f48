"""One running battle: its two seats, what they are asked and what they answered."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from metamon_ext.arena.schedule import BattleSpec, Player, derive
from metamon_ext.arena.tracking.tracker import make_tracker
from metamon_ext.spaces.universal import UniversalState

SEATS = ("p1", "p2")
OVER_TURN_LIMIT = "over the limit of "
"""How the reason of a battle begins that was too long. Any other reason is a failure."""


@dataclass(frozen=True)
class BattleResult:
    """How a battle went.

    Attributes:
        key: of its `BattleSpec`.
        score: of `player_a`: 1 for a win, 0.5 for a tie, 0 for a loss; None if it is unfinished.
        reason: why it is unfinished, else empty.
        turns: the simulator's.
        a_decisions, b_decisions: of each player.
        a_invalid, b_invalid: decisions for which a player's policy answered illegally twice.
        digest: a hash of all choices of both seats.
    """

    key: str
    score: float | None
    reason: str
    turns: int
    a_decisions: int
    b_decisions: int
    a_invalid: int
    b_invalid: int
    digest: str

    @property
    def failed(self) -> bool:
        """Unfinished because of an error, a dead worker or a stall: worth playing again."""
        return self.score is None and not self.reason.startswith(OVER_TURN_LIMIT)


class Seat:
    """One side of a battle; while it is asked for an action it is the `Decision` that it puts.

    With `record` it keeps every state in which it was asked and the action that was then played.
    """

    def __init__(self, spec: BattleSpec, name: str, record: bool) -> None:
        self.name = name
        self.key = spec.key
        self.player: Player = spec.seats[SEATS.index(name)]
        # the same member of a mixture in both battles of a pair, drawn for each player by itself
        side = (SEATS.index(name) + spec.mirrored) % 2
        self.policy = self.player.policy.draw(random.Random(derive(spec.seed, "member", side)))
        self.battle_id = f"{spec.key}/{name}"
        self.tracker = make_tracker(spec.battle_format, spec.gen, name)
        self.decisions = 0
        self.invalid = 0
        self.choices: list[str] = []
        self.states: list[UniversalState] = []
        self.actions: list[int] = []
        self._record = record
        self._seed = derive(spec.seed, spec.mirrored, name)
        self._request: dict[str, Any] = {}
        self._state: UniversalState | None = None
        self._legal: dict[int, str] | None = None
        self._refused: set[str] = set()
        self._illegal_answers = 0

    # ---- what a policy sees: the protocol `Decision` ----

    @property
    def battle(self) -> Any:
        """See `Decision`."""
        return self.tracker.battle

    @property
    def state(self) -> UniversalState:
        """See `Decision`."""
        if self._state is None:
            self._state = self.tracker.state()
        return self._state

    @property
    def legal_actions(self) -> list[int]:
        """See `Decision`."""
        return list(self._legal_choices)

    @property
    def rng(self) -> random.Random:
        """See `Decision`."""
        return random.Random(self._seed + 4 * self.decisions + self._illegal_answers)

    def action_of(self, order: object) -> int:
        """See `Decision`."""
        return self.tracker.action_of(order)

    # ---- what the worker does ----

    def take(self, lines: str, request: dict[str, Any] | None, error: str | None) -> bool:
        """Take in what the simulator said to this seat. True if the seat must now act."""
        if lines:
            self.tracker.feed(lines)
        if request is not None:
            self.tracker.take_request(request)
            self._request = request
            self._legal = self._state = None
        if error is not None:  # an illegal choice, or one that only now turns out to be
            self._take_back()
            return True
        self._refused.clear()
        self._illegal_answers = 0
        return request is not None and not request.get("wait")

    def preview(self) -> str | None:
        """The choice at team preview: a random order, as Metamon's players do; else None."""
        if not self._request.get("teamPreview"):
            return None
        order = list(range(1, 1 + len(self._request["side"]["pokemon"])))
        random.Random(self._seed - 1).shuffle(order)
        self.choices.append("team " + ",".join(map(str, order)))
        return self.choices[-1]

    @property
    def may_be_asked(self) -> bool:
        """False after two illegal answers to one question."""
        return self._illegal_answers < 2

    def answer(self, action: int) -> str | None:
        """The simulator's choice for a policy's answer; None if it is illegal: ask once more."""
        choice = self._legal_choices.get(action)
        if choice is None:
            self._illegal_answers += 1
            return None
        return self._play(choice)

    def answer_at_random(self) -> str:
        """The simulator's choice for a seat whose policy has answered illegally twice."""
        if self._illegal_answers == 2:
            self.invalid += 1
        return self._play(self.rng.choice(list(self._legal_choices.values())))

    def finish(self) -> None:
        """Record the state in which the battle ended, with the blank action of the files."""
        if self._record:
            self.states.append(self.tracker.state())
            self.actions.append(-1)

    @property
    def _legal_choices(self) -> dict[int, str]:
        if self._legal is None:
            legal = self.tracker.legal_choices()
            self._legal = {a: c for a, c in legal.items() if c not in self._refused}
            self._legal = self._legal or {0: "default"}
        return self._legal

    def _play(self, choice: str) -> str:
        if self._record:
            self.states.append(self.state)
            self.actions.append(self.tracker.recorded_action(choice, self._legal_choices))
        self.choices.append(choice)
        self.decisions += 1
        return choice

    def _take_back(self) -> None:
        if self._record:
            self.states.pop()
            self.actions.pop()
        self._refused.add(self.choices.pop())
        self.decisions -= 1
        self._illegal_answers += 1
        self._legal = None


class RunningBattle:
    """A battle in the simulator."""

    def __init__(self, spec: BattleSpec, record: bool) -> None:
        self.spec = spec
        self.seats = [Seat(spec, name, record) for name in SEATS]

    def start(self) -> list[Any]:
        """The bridge's message that starts this battle."""
        spec, teams = self.spec, (self.spec.p1_team, self.spec.p2_team)
        players = {
            name: {
                "name": name,
                "team": team.packed,
                "seed": f"gen5,{derive(spec.seed, name, 'team'):016x}",
            }
            for name, team in zip(SEATS, teams, strict=True)
        }
        seed = f"gen5,{derive(spec.seed, 'simulator'):016x}"
        return ["start", spec.key, {"format": spec.battle_format, "seed": seed, **players}]

    @property
    def turn(self) -> int:
        """The simulator's turn."""
        return self.seats[0].tracker.turn

    def result(self, p1_score: float | None, reason: str = "") -> BattleResult:
        """The battle's result if it ends now, with this score of the player in p1."""
        choices = "\n".join(",".join(seat.choices) for seat in self.seats)
        a, b = reversed(self.seats) if self.spec.mirrored else self.seats
        score = p1_score
        if p1_score is not None and self.spec.mirrored:
            score = 1 - p1_score
        return BattleResult(
            key=self.spec.key,
            score=score,
            reason=reason,
            turns=self.turn,
            a_decisions=a.decisions,
            b_decisions=b.decisions,
            a_invalid=a.invalid,
            b_invalid=b.invalid,
            digest=hashlib.blake2b(choices.encode(), digest_size=8).hexdigest(),
        )
