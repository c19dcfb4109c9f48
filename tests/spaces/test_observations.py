"""What a small model is told of a state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.spaces.actions import maybe_legal_actions
from metamon_ext.spaces.observations import (
    MOVE_FEATURES,
    STATE_FEATURES,
    SWITCH_FEATURES,
    MatchupObservationSpace,
)
from metamon_ext.spaces.universal import UniversalState
from tests.conftest import ROOT
from tests.support.states import make_move, make_pokemon, make_state

RECORDED = ROOT / "tests" / "data" / "arena"
ACTION_FEATURES = MOVE_FEATURES + SWITCH_FEATURES


def observe(*states: dict[str, Any]) -> dict[str, np.ndarray]:
    """What is observed in the last of these states of one battle."""
    space = MatchupObservationSpace()
    return [space(UniversalState.from_dict(state)) for state in states][-1]


def feature(observation: dict[str, np.ndarray], name: str, action: int | None = None) -> float:
    if action is None:
        return float(observation["state"][STATE_FEATURES.index(name)])
    return float(observation["actions"][action, ACTION_FEATURES.index(name)])


def with_moves(*moves: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return make_pokemon("jynx", moves=list(moves), **changes)


LOVELY_KISS = make_move(
    "lovelykiss", move_type="normal", category="status", base_power=0, accuracy=0.75
)
RECOVER = make_move("recover", move_type="normal", category="status", base_power=0)
THUNDER_WAVE = make_move("thunderwave", move_type="electric", category="status", base_power=0)
SURF = make_move("surf", move_type="water", base_power=95)


@pytest.mark.parametrize("battle_format", ["gen1ou", "gen2ou", "gen3ou", "gen4ou", "gen9ou"])
def test_recorded_battles_are_observed_in_every_generation(battle_format: str) -> None:
    for path in trajectory_files(RECORDED / battle_format):
        space = MatchupObservationSpace()
        trajectory = read_trajectory(path)
        for state, action in zip(
            map(UniversalState.from_dict, trajectory.states), trajectory.actions, strict=True
        ):
            observation = space(state)
            assert observation["state"].shape == (space.state_dim,)
            assert observation["actions"].shape == (13, space.action_dim)
            assert all(np.isfinite(array).all() for array in observation.values())
            assert all(np.abs(array).max() < 6 for array in observation.values())
            offered = np.flatnonzero(observation["actions"].any(axis=-1)).tolist()
            assert offered == maybe_legal_actions(state)
            assert action in (-1, *offered)


def test_unknown_names_are_no_trouble() -> None:
    odd = with_moves(make_move("unheardof", move_type="odd"), types="odd stranger", tera_type="odd")
    state = make_state(
        player_active_pokemon=odd, opponent_active_pokemon=odd, can_tera=True, format="gen9new",
        weather="acidrain", battle_field="odd", player_conditions="odd", opponent_conditions="odd",
    )  # fmt: skip
    observation = observe(state)
    assert feature(observation, "other_weather") == 1
    assert feature(observation, "own_other_condition") == 1
    assert np.isfinite(observation["actions"]).all()


def test_effectiveness_and_damage_of_own_moves() -> None:
    rhydon = make_pokemon("rhydon", types="ground rock", hp_pct=0.2)
    own = with_moves(THUNDER_WAVE, SURF)
    observation = observe(make_state(player_active_pokemon=own, opponent_active_pokemon=rhydon))
    surf, thunder_wave = 0, 1
    assert feature(observation, "effectiveness", surf) == 4 / 2
    assert feature(observation, "knocks_out", surf) == 1
    assert feature(observation, "paralysis", thunder_wave) == 0  # ground is immune
    assert feature(observation, "redundant", thunder_wave) == 1


def test_what_a_status_move_can_still_do() -> None:
    own = with_moves(LOVELY_KISS, RECOVER, hp_pct=0.8)
    fresh = make_state(player_active_pokemon=own)
    asleep = make_pokemon("tauros", status="slp")
    kiss, recover = 0, 1
    assert feature(observe(fresh), "sleep", kiss) == 0.75
    assert feature(observe(fresh), "heal", recover) == pytest.approx(0.2)
    sleeping = make_state(player_active_pokemon=own, opponent_active_pokemon=asleep)
    assert feature(observe(sleeping), "redundant", kiss) == 1
    clause = observe(sleeping, fresh | {"opponent_active_pokemon": make_pokemon("starmie")})
    assert feature(clause, "opponent_asleep") == 1
    assert feature(clause, "sleep", kiss) == 0  # one of theirs sleeps on the bench


def test_a_condition_that_is_there_is_not_worth_setting_up_again() -> None:
    rocks = make_move("stealthrock", move_type="rock", category="status", base_power=0)
    state = make_state(format="gen4ou", player_active_pokemon=with_moves(rocks))
    assert feature(observe(state), "redundant", 0) == 0
    ours = observe(state | {"player_conditions": "stealthrock"})
    theirs = observe(state | {"opponent_conditions": "stealthrock"})
    assert (feature(ours, "redundant", 0), feature(theirs, "redundant", 0)) == (0, 1)


def test_who_moves_first() -> None:
    slow = make_state(opponent_active_pokemon=make_pokemon("tauros", base_spe=110))
    assert feature(observe(slow), "faster") == 0
    assert feature(observe(slow | {"battle_field": "trickroom"}), "faster") == 1
    paralyzed = make_pokemon("tauros", base_spe=110, status="par")
    assert feature(observe(slow | {"opponent_active_pokemon": paralyzed}), "moves_first", 0) == 1
    own = with_moves(make_move("quickattack", priority=1))
    assert feature(observe(slow | {"player_active_pokemon": own}), "moves_first", 0) == 1


def test_switches_are_judged_by_what_awaits_them() -> None:
    bench = [
        make_pokemon("golem", types="ground rock"),
        make_pokemon("gyarados", types="flying water"),
    ]
    zapdos = make_pokemon("zapdos", types="electric flying", moves=[])
    observation = observe(make_state(opponent_active_pokemon=zapdos, available_switches=bench))
    golem, gyarados = 4, 5
    assert feature(observation, "threat", golem) < feature(observation, "threat", gyarados)
    assert feature(observation, "threat_effectiveness", gyarados) == 4 / 2


def test_terastallizing_adds_its_type_to_the_moves() -> None:
    own = with_moves(SURF, types="ice psychic", tera_type="water")
    observation = observe(make_state(format="gen9ou", player_active_pokemon=own, can_tera=True))
    assert feature(observation, "stab", 0) == 0 and feature(observation, "stab", 9) == 1
    assert feature(observation, "damage", 9) > feature(observation, "damage", 0)


def test_the_opponents_team_is_remembered_until_reset() -> None:
    hurt = make_state(opponent_active_pokemon=make_pokemon("tauros", hp_pct=0.4))
    then = make_state(opponent_active_pokemon=make_pokemon("starmie"))
    observation = observe(hurt, then)
    assert feature(observation, "opponent_seen") == pytest.approx(2 / 6)
    assert feature(observation, "opponent_hp_left") == pytest.approx(5.4 / 6)
    space = MatchupObservationSpace()
    first = space(UniversalState.from_dict(hurt))
    space(UniversalState.from_dict(then))
    space.reset()
    again = space(UniversalState.from_dict(hurt))
    assert all(np.array_equal(first[key], again[key]) for key in first)
