"""Battles in rounds: a plan looks at the results so far and says what to play next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Executor
from metamon_ext.arena.play import play_missing
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec, Player, matchup
from metamon_ext.arena.store import ResultStore
from metamon_ext.evaluation.adaptive import Outcomes, Pairing, allocate, decided
from metamon_ext.evaluation.games import games_of, tally
from metamon_ext.evaluation.sprt import Sprt, pentanomial

NO_GAMES = np.zeros((0, 3), dtype=np.int64)
SMALLEST_ROUND = 16
"""Mirrored pairs of an adaptive round: as many battles as two workers hold."""

Counts = Mapping[Pairing, int]

Plan = Callable[[Outcomes, Counts], Counts]
"""(outcomes, battles) -> battles: from the results so far and the battles that each pairing was
given for them, how many it is to have by the end of the next round. The same counts again end the
tournament. A plan depends on nothing else, so that a run that is resumed plays the same rounds."""


def fixed(pairings: Sequence[Pairing], battles: int) -> Plan:
    """The same number of battles for all, in one round."""
    return lambda outcomes, played: dict.fromkeys(pairings, battles)


@dataclass(frozen=True)
class SprtSchedule:
    """Every matchup for itself until a test of it is decided, or it has `limit` battles.

    `look`: mirrored pairs that an undecided matchup plays in a round.
    """

    pairings: Sequence[Pairing]
    test: Sprt
    limit: int
    look: int

    def __call__(self, outcomes: Outcomes, played: Counts) -> Counts:
        wanted = {}
        for pairing in self.pairings:
            battles = played.get(pairing, 0)
            if battles == 0 or self.verdict(outcomes[pairing]) == "undecided":
                battles = min(battles + 2 * self.look, self.limit)
            wanted[pairing] = battles
        return wanted

    def verdict(self, outcomes: NDArray[np.int64]) -> str:
        """`better`, `not better` or `undecided`, of the first player of a pairing."""
        return self.test.state(pentanomial(outcomes)).verdict


@dataclass(frozen=True)
class Adaptive:
    """Battles go where the order of the players is least certain, until it is, or `limit` battles
    have been given out (see `metamon_ext.evaluation.adaptive`)."""

    pairings: Sequence[Pairing]
    limit: int

    def __call__(self, outcomes: Outcomes, played: Counts) -> Counts:
        outcomes = {pairing: outcomes.get(pairing, NO_GAMES) for pairing in self.pairings}
        left = (self.limit - sum(played.values())) // 2
        if left == 0 or (played and decided(outcomes)):
            return played
        more = allocate(outcomes, min(left, max(len(self.pairings) // 2, SMALLEST_ROUND)))
        return {pairing: played.get(pairing, 0) + 2 * more[pairing] for pairing in self.pairings}


@dataclass(frozen=True)
class Schedule:
    """All battles that a tournament could play, from one seed."""

    players: Mapping[str, Player]
    conditions: Conditions
    seed: int

    def specs(self, battles: Counts) -> list[BattleSpec]:
        """So many battles of each pairing, in mirrored pairs."""
        return [
            spec
            for (a, b), count in battles.items()
            for spec in matchup(
                self.players[a], self.players[b], count, self.conditions, self.seed, pairs=True
            )
        ]


def play_rounds(
    plan: Plan, schedule: Schedule, executor: Executor, store: ResultStore
) -> list[BattleRow]:
    """Play round after round until the plan has enough.

    What the store holds already is not played again. Returns all battles that the plan asked for.
    Raises RunStopped where the run cannot go further.
    """
    known = store.resume()
    rows: list[BattleRow] = []
    battles: Counts = {}
    number = 0
    while (wanted := plan(outcomes_of(rows, battles), battles)) != battles:
        battles, number = wanted, number + 1
        rows = play_missing(schedule.specs(battles), executor, store, known, f"round {number}")
    return rows


def outcomes_of(rows: Sequence[BattleRow], pairings: Counts) -> Outcomes:
    """(pairs, 3) wins, ties and losses of the first player of each pairing, in finished battles."""
    tallied = tally(games_of(rows)[0])
    return {
        (a, b): tallied.get((a, b), NO_GAMES) if a < b else tallied.get((b, a), NO_GAMES)[:, ::-1]
        for a, b in pairings
    }
