"""Shaping pays the same for every battle; the margin is zero-sum."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import gin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.data.trajectory import TrajectoryName, read_trajectory, trajectory_files
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.spaces.universal import UniversalState
from tests.conftest import ROOT
from tests.support.states import make_pokemon, make_state

ARENA = ROOT / "tests" / "data" / "arena"
REWARDS = (PotentialShapedReward, MarginReward, WinLossReward)


def state_of(**changes: Any) -> UniversalState:
    return UniversalState.from_dict(make_state(**changes))


def states_of(path: Path) -> list[UniversalState]:
    return [UniversalState.from_dict(state) for state in read_trajectory(path).states]


def discounted(rewards: list[float], gamma: float) -> float:
    return sum(gamma**t * reward for t, reward in enumerate(rewards))


hp = st.floats(0.0, 1.0)
status = st.sampled_from(["nostatus", "par", "slp", "tox", "fnt"])
pokemon = st.builds(lambda hp, status: make_pokemon(hp_pct=hp, status=status), hp, status)
states = st.builds(
    lambda own, foe, bench, left: state_of(
        player_active_pokemon=own,
        opponent_active_pokemon=foe,
        available_switches=bench,
        opponents_remaining=left,
    ),
    pokemon,
    pokemon,
    st.lists(pokemon, max_size=5),
    st.integers(1, 6),
)
shaped_rewards = st.builds(
    PotentialShapedReward,
    gamma=st.floats(0.5, 1.0),
    material=st.floats(0.0, 2.0),
    health=st.floats(0.0, 2.0),
    status=st.floats(0.0, 2.0),
)
ends = st.sampled_from([state_of(battle_won=True), state_of(battle_lost=True)])


@given(st.lists(states, min_size=1, max_size=8), ends, shaped_rewards)
def test_over_a_whole_battle_the_shaping_sums_to_minus_the_first_potential(
    decisions: list[UniversalState], end: UniversalState, reward: PotentialShapedReward
) -> None:
    shaping = [reward.shaping(*pair) for pair in pairwise([*decisions, end])]
    expected = -reward.potential(decisions[0])
    assert discounted(shaping, reward.gamma) == pytest.approx(expected, abs=1e-9)


@given(states, st.lists(st.tuples(st.lists(states, max_size=5), ends), min_size=2, max_size=2))
def test_two_ways_to_go_on_from_a_state_differ_by_what_win_and_loss_pay(
    start: UniversalState, futures: list[tuple[list[UniversalState], UniversalState]]
) -> None:
    shaped, plain = PotentialShapedReward(gamma=0.9), WinLossReward()
    shaped_return, plain_return = (
        [
            discounted([reward(*pair) for pair in pairwise([start, *middle, end])], 0.9)
            for middle, end in futures
        ]
        for reward in (shaped, plain)
    )
    assert shaped_return[0] - shaped_return[1] == pytest.approx(
        plain_return[0] - plain_return[1], abs=1e-9
    )


@pytest.mark.parametrize("path", list(trajectory_files(ARENA)), ids=lambda path: path.parent.name)
def test_in_real_battles_the_shaped_return_is_win_or_loss_minus_the_first_potential(
    path: Path,
) -> None:
    states, reward = states_of(path), PotentialShapedReward(gamma=0.99, scale=100)
    pairs = list(pairwise(states))
    won = 1 if TrajectoryName.parse(path.name).outcome == "WIN" else -1
    returns = discounted([reward(*pair) for pair in pairs], 0.99)
    expected = 100 * (won * 0.99 ** (len(pairs) - 1) - reward.potential(states[0]))
    assert returns == pytest.approx(expected, abs=1e-6)
    assert all(abs(reward.potential(state)) <= 1 for state in states)


def test_the_potential_rises_with_what_is_good_for_us() -> None:
    potential = PotentialShapedReward().potential
    foe = make_pokemon("tauros")
    even = potential(state_of(available_switches=[make_pokemon(f"p{i}") for i in range(5)]))
    hurt = potential(state_of(opponent_active_pokemon=foe | {"hp_pct": 0.5}))
    healthy = potential(state_of(opponent_active_pokemon=foe))
    asleep = potential(state_of(opponent_active_pokemon=foe | {"status": "slp"}))
    burnt = potential(state_of(player_active_pokemon=make_pokemon(status="brn")))
    fewer = potential(state_of(opponents_remaining=5))
    assert even == pytest.approx(0.0)
    assert hurt - healthy == pytest.approx(0.5 * 0.4 / 6)
    assert asleep - healthy == pytest.approx(0.1 / 6)
    assert burnt - healthy == pytest.approx(-0.1 / 6)
    assert fewer - healthy == pytest.approx((0.5 + 0.4) / 6)


def test_a_knocked_out_opponent_is_not_counted_twice() -> None:
    potential = PotentialShapedReward(material=0.0, health=1.0, status=0.0).potential
    down = make_pokemon("tauros", hp_pct=0.0, status="fnt")
    fresh = make_pokemon("snorlax")
    before = state_of(opponent_active_pokemon=down, opponents_remaining=5)
    after = state_of(opponent_active_pokemon=fresh, opponents_remaining=5)
    assert potential(before) == pytest.approx(potential(after))


def test_a_cut_off_battle_pays_what_is_on_the_board() -> None:
    reward = PotentialShapedReward(gamma=1.0)
    first, last = state_of(opponents_remaining=6), state_of(opponents_remaining=2)
    assert reward(first, last) == reward.potential(last) - reward.potential(first) > 0


def test_what_one_player_gets_by_the_margin_the_other_pays() -> None:
    battles: dict[str, list[float]] = {}
    for path in trajectory_files(ARENA):
        states = states_of(path)
        pays = sum(MarginReward()(*pair) for pair in pairwise(states))
        battles.setdefault(TrajectoryName.parse(path.name).battle_id, []).append(pays)
    both = [pays for pays in battles.values() if len(pays) == 2]
    assert len(both) >= 9
    for pays in both:
        assert sum(pays) == pytest.approx(0.0)
        assert 0.5 < max(pays) <= 1.0


@pytest.mark.parametrize(("left", "expected"), [(1, 0.5 + 0.5 / 6), (3, 0.75), (6, 1.0)])
def test_a_wider_win_pays_more(left: int, expected: float) -> None:
    bench = [make_pokemon(f"p{i}") for i in range(left - 1)]
    state = state_of(available_switches=bench, opponents_remaining=0, battle_won=True)
    assert MarginReward()(state, state) == pytest.approx(expected)
    assert MarginReward(scale=100, weight=1.0)(state, state) == pytest.approx(100 * left / 6)


def test_without_a_weight_the_margin_is_win_or_loss() -> None:
    for path in trajectory_files(ARENA):
        for pair in pairwise(states_of(path)):
            assert MarginReward(weight=0.0)(*pair) == WinLossReward()(*pair)


def test_a_win_by_forfeit_from_behind_still_pays() -> None:
    state = state_of(available_switches=[], opponents_remaining=4, battle_won=True)
    assert MarginReward()(state, state) == 0.5


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_take_their_parameters_from_gin(reward: type) -> None:
    assert reward().scale == 1.0
    with gin.unlock_config():
        gin.bind_parameter(f"metamon_ext.{reward.__name__}.scale", 100.0)
    try:
        assert reward().scale == 100.0
    finally:
        gin.clear_config()
