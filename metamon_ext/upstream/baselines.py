"""Metamon's baselines in the seats of an arena."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from metamon.baselines import get_baseline

from metamon_ext.errors import UserError

if TYPE_CHECKING:
    from metamon_ext.arena.policy import Decision


class BaselinePolicy:
    """A class of `metamon.baselines`, without any server.

    It draws from the global generators, so these are seeded before each decision. Metamon calls
    `randomize` once a player; here every battle meets a player randomized anew.
    """

    def __init__(self, baseline: str) -> None:
        try:
            self._player = get_baseline(baseline)(start_listening=False)
        except OSError as error:
            raise UserError(f"{baseline} lacks a file that Metamon brings: {error}") from None
        self._name = baseline
        self._tags: dict[str, str] = {}
        self._lacking: str | None = None

    def begin(self, battle_id: str) -> None:
        """Do nothing: a baseline is built for each battle when it is first asked."""

    def act(self, decisions: Sequence[Decision]) -> list[int]:
        """The choice of the baseline in each battle."""
        return [self._choose(decision) for decision in decisions]

    def _choose(self, decision: Decision) -> int:
        self._tags[decision.battle_id] = decision.battle.battle_tag
        random.seed(decision.battle_id)
        self._player.randomize()
        seed = decision.rng.getrandbits(63)
        random.seed(seed)
        if self._has_memory:
            torch.manual_seed(seed)
        if self._lacking:
            raise RuntimeError(self._lacking)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                order = self._player.choose_move(decision.battle)
        except OSError as error:
            self._lacking = (  # found out once: it is tried for half a minute
                f"{self._name} needs usage statistics that Metamon downloads, and cannot "
                f"have them ({type(error).__name__}); connect, or choose another baseline"
            )
            raise RuntimeError(self._lacking) from None
        return decision.action_of(order)

    @property
    def _has_memory(self) -> bool:
        """Is it one of the recurrent networks?"""
        return hasattr(self._player, "hidden_states")

    def end(self, battle_id: str) -> None:
        """Forget the battle."""
        tag = self._tags.pop(battle_id, None)
        if self._has_memory:
            self._player.hidden_states.pop(tag, None)
