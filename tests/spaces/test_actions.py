"""Actions are numbered as Metamon numbers them."""

from __future__ import annotations

from metamon_ext.spaces.actions import maybe_legal_actions, move_order, switch_order
from metamon_ext.spaces.universal import UniversalState
from tests.support.states import make_pokemon, make_state


def state_of(**changes: object) -> UniversalState:
    return UniversalState.from_dict(make_state(**changes))


def test_moves_and_switches_are_alphabetical() -> None:
    bench = [make_pokemon(name) for name in ("starmie", "mr. mime", "exeggutor")]
    state = state_of(available_switches=bench)
    names = [move.name for move in move_order(state.player_active_pokemon.moves)]
    assert names == ["psychic", "recover", "seismictoss", "thunderwave"]
    species = [pokemon.name for pokemon in switch_order(state.available_switches)]
    assert species == ["exeggutor", "mr. mime", "starmie"]


def test_what_a_state_allows() -> None:
    assert maybe_legal_actions(state_of()) == [0, 1, 2, 3, 4, 5]
    assert maybe_legal_actions(state_of(forced_switch=True)) == [4, 5]
    assert maybe_legal_actions(state_of(can_tera=True)) == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12]
