"""The reward of a battle's end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.universal import UniversalState
from tests.support.states import make_state


@pytest.mark.parametrize(
    ("won", "lost", "expected"), [(True, False, 2.0), (False, True, -2.0), (False, False, 0.0)]
)
def test_only_the_end_of_a_battle_is_rewarded(won: bool, lost: bool, expected: float) -> None:
    before = UniversalState.from_dict(make_state())
    after = UniversalState.from_dict(make_state(battle_won=won, battle_lost=lost))
    assert WinLossReward(scale=2.0)(before, after) == expected


def test_any_object_with_the_fields_of_a_state_will_do() -> None:
    state = SimpleNamespace(battle_won=True, battle_lost=False)
    assert WinLossReward()(state, state) == 1.0  # type: ignore[arg-type]
