"""Action indices mean what they mean in Metamon."""

from __future__ import annotations

import pytest
from poke_env.player import MaxBasePowerPlayer

from metamon_ext.arena.tracking.actions import action_of, legal_choices
from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle
from tests.support.recorded_states import FORMATS, recordings


@pytest.mark.parametrize("format_name", FORMATS)
def test_legal_actions_are_metamons(format_name: str) -> None:
    for recording in recordings():
        if recording["format"] != format_name:
            continue
        battle = TrackedBattle(format_name, int(format_name[3]), recording["seat"])
        theirs = iter(recording["legal"])
        for kind, *content in recording["events"]:
            if kind == "lines":
                battle.feed(content[0])
            elif kind == "request":
                battle.parse_request(content[0])
            elif [move.id for move in battle.available_moves] == ["recharge"]:
                # Metamon takes any action for it; its replay parser, like us, writes action 0
                assert 0 in next(theirs) and list(legal_choices(battle)) == [0]
            else:
                assert list(legal_choices(battle)) == next(theirs)


def test_a_players_order_becomes_the_choice_it_means() -> None:
    player = MaxBasePowerPlayer(start_listening=False)
    checked = 0
    for recording in recordings():
        format_name = recording["format"]
        battle = TrackedBattle(format_name, int(format_name[3]), recording["seat"])
        for kind, *content in recording["events"]:
            if kind == "lines":
                battle.feed(content[0])
            elif kind == "request":
                battle.parse_request(content[0])
            else:
                order = player.choose_move(battle)
                choice = legal_choices(battle)[action_of(battle, order)]
                verb, slot = choice.split()[:2]
                request = battle.last_request
                if verb == "move":
                    offered = request["active"][0]["moves"][int(slot) - 1]["id"]
                    assert order.order.id.startswith(offered)
                else:
                    ident = request["side"]["pokemon"][int(slot) - 1]["ident"]
                    assert battle.team[ident] is order.order
                checked += 1
    assert checked > 1000
