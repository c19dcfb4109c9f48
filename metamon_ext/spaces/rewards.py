"""Reward functions over universal states: Metamon's signature, fields only."""

from __future__ import annotations

import gin

from metamon_ext.spaces.universal import UniversalState


def outcome(state: UniversalState) -> int:
    """+1 in the state that wins the battle, -1 in the one that loses it, else 0."""
    return bool(state.battle_won) - bool(state.battle_lost)


@gin.configurable(module="metamon_ext")
class WinLossReward:
    """r = +scale for the state that wins the battle, -scale for the one that loses it, else 0.

    With the discounts of the critics near 1, Q(s, a) / scale is then 2 P(win) - 1.
    A battle that was cut off or tied pays nothing.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, last_state: UniversalState, state: UniversalState) -> float:
        return self.scale * outcome(state)
