"""The added numbers say what the type chart, the speeds and the weather say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.spaces.matchup_numbers import (
    MATCHUP_NUMBERS,
    PAD,
    MatchupNumbers,
    type_multiplier,
)
from metamon_ext.spaces.universal import UniversalState
from tests.conftest import ROOT
from tests.support.states import make_move, make_pokemon, make_state

ARENA = ROOT / "tests" / "data" / "arena"


def state_of(**changes: Any) -> UniversalState:
    return UniversalState.from_dict(make_state(**changes))


def numbers_of(state: UniversalState) -> dict[str, float]:
    return dict(zip(MATCHUP_NUMBERS, MatchupNumbers()(state).tolist(), strict=True))


def test_own_moves_come_in_the_order_of_the_actions() -> None:
    moves = [
        make_move("thunderbolt", move_type="electric"),
        make_move("earthquake", move_type="ground", category="physical"),
        make_move("icebeam", move_type="ice"),
    ]
    state = state_of(
        player_active_pokemon=make_pokemon(moves=moves),
        opponent_active_pokemon=make_pokemon("dragonite", types="dragon flying", moves=[]),
    )
    numbers = list(numbers_of(state).values())
    assert numbers[:4] == [0.0, 4.0, 1.0, PAD]  # earthquake, icebeam, thunderbolt, nothing
    assert numbers[4:8] == [PAD] * 4  # the opponent has shown none


def test_the_opponents_revealed_moves_are_judged_on_our_active_pokemon() -> None:
    foe = make_pokemon("tauros", moves=[make_move("surf", move_type="water")])
    own = make_pokemon("golem", types="ground rock")
    state = state_of(player_active_pokemon=own, opponent_active_pokemon=foe)
    numbers = numbers_of(state)
    assert numbers["opponent_move_0_effectiveness"] == 4.0
    assert numbers["opponent_move_1_effectiveness"] == PAD


@pytest.mark.parametrize(
    ("gen", "move", "defender", "expected"),
    [
        (1, ("bite", "normal", "physical"), "ghost poison", 0.0),
        (2, ("bite", "dark", "special"), "ghost poison", 2.0),
        (1, ("lick", "ghost", "physical"), "notype psychic", 0.0),  # the slip of the first games
        (2, ("lick", "ghost", "physical"), "notype psychic", 2.0),
        (1, ("seismictoss", "fighting", "physical"), "ghost poison", 1.0),
        (2, ("seismictoss", "fighting", "physical"), "ghost poison", 0.0),
        (2, ("seismictoss", "fighting", "physical"), "normal notype", 1.0),
        (3, ("fissure", "ground", "physical"), "fire notype", 1.0),
        (3, ("fissure", "ground", "physical"), "flying normal", 0.0),
        (1, ("thunderwave", "electric", "status"), "ground rock", 0.0),
        (4, ("thunderwave", "electric", "status"), "flying water", 1.0),
        (4, ("growl", "normal", "status"), "ghost poison", 1.0),
        (2, ("return", "normal", "physical"), "notype rock", 0.5),  # its power is not in the files
        (3, ("hiddenpower", "normal", "physical"), "ghost poison", 1.0),  # nor this one's type
        (4, ("nosuchmove", "normal", "physical"), "notype rock", 0.5),
    ],
)
def test_type_multipliers_follow_the_rules_of_the_generation(
    gen: int, move: tuple[str, str, str], defender: str, expected: float
) -> None:
    assert type_multiplier(gen, *move, defender) == expected


@pytest.mark.parametrize(
    ("own", "foe", "battle_field", "expected"),
    [
        ({"base_spe": 120}, {"base_spe": 110}, "nofield", 1.0),
        ({"base_spe": 110}, {"base_spe": 120}, "nofield", 0.0),
        ({"base_spe": 110}, {"base_spe": 110}, "nofield", 0.5),
        ({"base_spe": 120}, {"base_spe": 110}, "trickroom", 0.0),
        ({"base_spe": 120, "status": "par"}, {"base_spe": 30}, "nofield", 0.0),
        ({"base_spe": 60, "spe_boost": 2}, {"base_spe": 110}, "nofield", 1.0),
        ({"base_spe": 120, "lvl": 50}, {"base_spe": 110}, "nofield", 0.0),
    ],
)
def test_the_faster_one_outspeeds(
    own: dict[str, Any], foe: dict[str, Any], battle_field: str, expected: float
) -> None:
    state = state_of(
        player_active_pokemon=make_pokemon(**own),
        opponent_active_pokemon=make_pokemon("tauros", **foe),
        battle_field=battle_field,
    )
    assert numbers_of(state)["outspeeds"] == expected


def weather_turns(space: MatchupNumbers, *states: UniversalState) -> list[float]:
    return [float(space(state)[-1]) * 8 for state in states]


def test_the_turns_of_the_weather_are_counted() -> None:
    space = MatchupNumbers()
    none, rain, sand = state_of(), "raindance", "sandstorm"
    turns = weather_turns(space, none, *(state_of(weather=rain) for _ in range(3)), none)
    assert turns == [0, 1, 2, 3, 0]
    assert weather_turns(space, *(state_of(weather=w) for w in (rain, sand, sand))) == [1, 1, 2]
    assert weather_turns(space, *(state_of(weather=sand) for _ in range(20)))[-1] == 8


def test_a_forced_switch_is_no_turn_and_a_state_given_twice_counts_once() -> None:
    space = MatchupNumbers()
    forced, usual = ({"weather": "hail", "forced_switch": f} for f in (True, False))
    assert weather_turns(space, state_of(**forced), state_of(**usual), state_of(**forced)) == [
        1,
        1,
        1,
    ]
    again = state_of(**usual)
    assert weather_turns(space, again, again) == [2, 2]


def test_reset_forgets_the_battle() -> None:
    space = MatchupNumbers()
    weather_turns(space, *(state_of(weather="hail") for _ in range(5)))
    space.reset()
    assert weather_turns(space, state_of(weather="hail")) == [1]


def test_real_battles_of_all_generations_give_finite_numbers_in_range() -> None:
    space, seen = MatchupNumbers(), []
    for path in trajectory_files(ARENA):
        space.reset()
        seen += [space(UniversalState.from_dict(s)) for s in read_trajectory(path).states]
    numbers = np.array(seen)
    assert numbers.dtype == np.float32
    assert numbers.shape == (len(seen), len(MATCHUP_NUMBERS))
    assert set(np.unique(numbers[:, :8])) <= {PAD, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0}
    assert set(np.unique(numbers[:, 8])) == {0.0, 0.5, 1.0}
    assert numbers[:, 9].min() >= 0.0 and numbers[:, 9].max() == 1.0
