"""The lite state adapter against the states of the real Metamon, field by field."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle
from metamon_ext.arena.tracking.state import universal_state
from metamon_ext.spaces.universal import UniversalState
from tests.support.recorded_states import FORMATS, leaves, recordings

PRESSURE = (
    "poke-env charges the second PP that our silent Pressure costs the opponent, Metamon does not "
    "see it; the 64 PP of Gens 1 and 2 begin at 61 in requests; copies made by Mimic and Transform "
    "have PP of their own"
)
FORME = "Metamon follows forme changes in battle (Terapagos, Eiscue, Morpeko), poke-env keeps"
COSMETIC = "cosmetic formes: poke-env keeps alcremierainbowswirl, Metamon says alcremie"
LOCKED = "while locked into a move Metamon knows only that one; one case is not recognised by us"

CANNOT_AGREE = {
    "opponent_prev_move.current_pp": "the first use of a move shows the PP after it, later ones "
    "full PP: an artefact of when Metamon copies the move",
    "player_active_pokemon.moves[].current_pp": PRESSURE,
    "opponent_active_pokemon.moves[].current_pp": PRESSURE,
    "player_active_pokemon.moves": LOCKED,
    "player_active_pokemon.name": COSMETIC,
    "opponent_active_pokemon.name": f"{COSMETIC}; {FORME} the first",
    "available_switches": COSMETIC,
    "opponent_active_pokemon.ability": "each reads some messages that the other does not (Magic "
    "Bounce, Harvest, Guts), and Metamon keeps Trace where poke-env follows what was traced",
    "opponent_active_pokemon.tera_type": "Metamon knows tera types that a forme requires",
    "player_active_pokemon.types": f"{FORME} the types of the first",
    "opponent_active_pokemon.types": f"{FORME} the types of the first",
    "player_active_pokemon.base_def": f"{FORME} the stats of the first",
    "player_active_pokemon.base_spd": f"{FORME} the stats of the first",
    "player_active_pokemon.base_spe": f"{FORME} the stats of the first",
}
"""Fields that differ somewhere in the recordings, with the reason. None differs by neglect."""

PP_IN_FEW = 0.2
OTHERS_IN_FEW = 0.12
"""In how large a share of a format's states the two kinds of field may differ at most."""


def replay(recording: dict[str, Any]) -> list[UniversalState]:
    """Our states at every decision of a recording and at its end."""
    format_name = recording["format"]
    battle = TrackedBattle(format_name, int(format_name[3]), recording["seat"])
    states = []
    for kind, *content in recording["events"]:
        if kind == "lines":
            battle.feed(content[0])
        elif kind == "request":
            battle.parse_request(content[0])
        else:
            states.append(universal_state(battle))
    return [*states, universal_state(battle)]


@pytest.fixture(scope="module")
def disagreements() -> dict[str, dict[str, float]]:
    """Format -> field -> share of states in which ours differs from Metamon's."""
    shares: dict[str, dict[str, float]] = {}
    for format_name in FORMATS:
        counts: Counter[str] = Counter()
        states = 0
        for recording in recordings():
            if recording["format"] != format_name:
                continue
            ours = replay(recording)
            assert len(ours) == len(recording["states"])
            for our, their in zip(ours, recording["states"], strict=True):
                states += 1
                mine = {(field, which): value for field, which, value in leaves(our.to_dict())}
                counts.update(
                    {
                        field
                        for field, which, value in leaves(their)
                        # a Pokémon or move that only one side has is counted where its names are
                        if (field, which) in mine and mine[field, which] != value
                    }
                )
        shares[format_name] = {field: count / states for field, count in counts.items()}
    return shares


@pytest.mark.parametrize("format_name", FORMATS)
def test_states_agree_with_metamons(
    format_name: str, disagreements: dict[str, dict[str, float]]
) -> None:
    for field, share in disagreements[format_name].items():
        assert field in CANNOT_AGREE, f"{field} differs in {share:.1%} of the states"
        if field == "opponent_prev_move.current_pp":
            continue
        limit = PP_IN_FEW if field.endswith("current_pp") else OTHERS_IN_FEW
        assert share <= limit, f"{field} differs in {share:.1%} of the states"


def test_every_excuse_is_needed(disagreements: dict[str, dict[str, float]]) -> None:
    assert set(CANNOT_AGREE) == {field for shares in disagreements.values() for field in shares}


def test_a_state_has_the_keys_of_metamons_files() -> None:
    for recording in recordings()[:2]:
        ours = replay(recording)[0].to_dict()
        theirs = recording["states"][0]
        assert list(ours) == list(theirs)
        for part in ("player_active_pokemon", "opponent_prev_move"):
            assert list(ours[part]) == list(theirs[part])


def test_a_state_survives_the_file_format() -> None:
    for state in recordings()[0]["states"]:
        assert UniversalState.from_dict(state).to_dict() == state
