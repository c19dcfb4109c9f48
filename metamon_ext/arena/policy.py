"""What chooses actions in a seat: the protocol of policies, and poke-env's heuristics."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from metamon_ext.arena.tracking.tracker import Tracker
    from metamon_ext.spaces.universal import UniversalState

Row = TypeVar("Row")

CHUNK = 16
"""Decisions in one forward pass; fewer are padded. Kernels may round differently for other shapes,
so with a fixed one a battle's choices do not depend on what else is being played."""


class Decision(Protocol):
    """A moment at which a policy is asked."""

    @property
    def battle_id(self) -> str:
        """The battle and the seat: what a policy with memory files its memory under."""

    @property
    def state(self) -> UniversalState:
        """What the seat knows. Computed when first asked for."""

    @property
    def legal_actions(self) -> list[int]:
        """Metamon's action indices, ascending: 0-3 moves, 4-8 switches, 9-12 moves with tera."""

    @property
    def rng(self) -> random.Random:
        """The only randomness to use: the same for this decision whenever the battle is played."""

    @property
    def battle(self) -> Any:
        """The battle object of poke-env (or of Metamon), for players written against it."""

    def action_of(self, order: object) -> int:
        """The action index of a poke-env order, -1 if it has none here."""

    @property
    def tracker(self) -> Tracker:
        """What follows the battle for the seat; it may know more ways to look at it."""


class Policy(Protocol):
    """Chooses actions for a batch of decisions of different battles.

    A policy may have an attribute `battle_backend`, for Metamon's view of a battle that it wants.
    """

    def begin(self, battle_id: str) -> None:
        """A battle starts."""

    def act(self, decisions: Sequence[Decision]) -> Sequence[int]:
        """One action index for each decision."""

    def end(self, battle_id: str) -> None:
        """A battle is over, or given up."""


def in_chunks(
    decisions: Sequence[Decision], forward: Callable[[Sequence[Decision]], Iterable[Row]]
) -> Iterator[tuple[Decision, Row]]:
    """Each decision with its row of what `forward` makes of up to `CHUNK` of them at a time.

    For policies that are networks; rows of padding, beyond the decisions, are left out.
    """
    for first in range(0, len(decisions), CHUNK):
        chunk = decisions[first : first + CHUNK]
        yield from zip(chunk, forward(chunk), strict=False)


HEURISTICS = {
    "random": "RandomPlayer",
    "max_base_power": "MaxBasePowerPlayer",
    "simple_heuristics": "SimpleHeuristicsPlayer",
}
"""Policy name -> class in `poke_env.player`."""


def check_probability(epsilon: float) -> None:
    """Raise ValueError for what is no probability."""
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is a probability in [0, 1], not {epsilon}")


class HeuristicPolicy:
    """A player of poke-env, without any server.

    `epsilon` is the probability of a uniformly random legal action instead of the player's own.
    """

    def __init__(self, player_class: str, epsilon: float = 0.0) -> None:
        import poke_env.player

        self._player = getattr(poke_env.player, player_class)(start_listening=False)
        self._epsilon = float(epsilon)
        check_probability(self._epsilon)

    def begin(self, battle_id: str) -> None:
        """Do nothing: the player has no memory."""

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        """The player's choice in each battle."""
        return [self._choose(decision) for decision in decisions]

    def _choose(self, decision: Decision) -> int:
        rng = decision.rng
        if self._epsilon and rng.random() < self._epsilon:
            return rng.choice(decision.legal_actions)
        random.seed(rng.getrandbits(64))  # poke-env's players draw from the global generator
        return decision.action_of(self._player.choose_move(decision.battle))

    def end(self, battle_id: str) -> None:
        """Do nothing: the player has no memory."""
