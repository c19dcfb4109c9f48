"""The recorded states are what the installed Metamon makes of the recorded battles."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from metamon.env.metamon_battle import MetamonBackendBattle
from metamon.interface import UniversalAction, UniversalState

from metamon_ext.spaces import universal
from tests.support.recorded_states import FORMATS, leaves, recordings


def metamon_says(recording: dict[str, Any]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The states at every decision and at the end, and the legal actions at every decision.

    Metamon's own battle object is fed the update before the request that follows from it.
    """
    format_name = recording["format"]
    battle = MetamonBackendBattle(
        battle_tag=f"battle-{format_name}-1",
        username=recording["seat"],
        logger=logging.getLogger(__name__),
        save_replays=False,
        gen=int(format_name[3]),
    )
    states, legal = [], []
    for kind, *content in recording["events"]:
        if kind == "lines":
            for line in content[0].split("\n"):
                fields = line.split("|")
                if len(fields) > 1 and fields[1] != "t:":
                    battle.parse_message(fields)
                    if fields[1] == "turn":
                        del battle._mm_battle.turnlist[:-2]
        elif kind == "request":
            battle.parse_request(content[0])
        else:
            state = UniversalState.from_Battle(battle)
            states.append(state.to_dict())
            actions = UniversalAction.definitely_valid_actions(state, battle)
            legal.append(sorted(action.action_idx for action in actions))
    return [*states, UniversalState.from_Battle(battle).to_dict()], legal


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_recordings_are_what_metamon_says(format_name: str) -> None:
    for recording in recordings():
        if recording["format"] == format_name:
            states, legal = metamon_says(recording)
            assert legal == recording["legal"]
            for made, recorded in zip(states, recording["states"], strict=True):
                assert dict_of(made) == dict_of(recorded)


def dict_of(state: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(field, which): value for field, which, value in leaves(state)}


def test_our_dataclasses_have_metamons_fields() -> None:
    from metamon import interface

    for name in ("UniversalMove", "UniversalPokemon", "UniversalState"):
        theirs, ours = getattr(interface, name), getattr(universal, name)
        assert list(ours.__dataclass_fields__) == list(theirs.__dataclass_fields__)
