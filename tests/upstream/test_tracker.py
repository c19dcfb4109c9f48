"""A seat sees what Metamon's own player sees, and only pays for what it looks at."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from metamon.env.metamon_battle import MetamonBackendBattle, PokeAgentBackendBattle
from metamon.env.metamon_player import MetamonPlayer, PokeAgentPlayer
from metamon.interface import UniversalState, get_observation_space
from poke_env import AccountConfiguration
from poke_env.concurrency import POKE_LOOP
from poke_env.environment import Battle
from poke_env.player import BattleOrder, Player, SimpleHeuristicsPlayer

from metamon_ext.arena.tracking.tracker import make_tracker
from metamon_ext.upstream import tracker as module
from metamon_ext.upstream.fast_battle import quicken
from metamon_ext.upstream.tracker import MetamonTracker
from tests.support.recorded_states import FORMATS, recordings
from tests.upstream.test_states import metamon_says

PLAYERS = {"metamon": MetamonPlayer, "pokeagent": PokeAgentPlayer, "poke-env": Player}
OBSERVATION_SPACES = ("PAC-OpponentMoveObservationSpace", "OpponentMoveObservationSpace")
Seen = list[tuple[dict[str, Any], dict[str, Any]]]


def recordings_of(battle_format: str) -> list[dict[str, Any]]:
    return [recording for recording in recordings() if recording["format"] == battle_format]


def follow(recording: dict[str, Any], backend: str = "metamon") -> Iterator[MetamonTracker]:
    """The tracker at every decision of a recording and at its end."""
    battle_format = recording["format"]
    tracker = make_tracker(battle_format, int(battle_format[3]), recording["seat"])
    assert isinstance(tracker, MetamonTracker)
    tracker.backend = backend
    for kind, *content in recording["events"]:
        if kind == "lines":
            tracker.feed(content[0])
        elif kind == "request":
            tracker.take_request(content[0])
        else:
            yield tracker
    yield tracker


def through_metamons_player(recording: dict[str, Any], backend: str, space_name: str) -> Seen:
    """States and observations where Metamon's player is asked, fed as by a websocket."""
    seen: Seen = []
    space = get_observation_space(space_name)

    class Recorder(PLAYERS[backend]):  # type: ignore[misc]
        def see(self, battle: Any) -> None:
            state = UniversalState.from_Battle(battle)
            seen.append((state.to_dict(), space.state_to_obs(state)))

        def choose_move(self, battle: Any) -> BattleOrder:
            self.see(battle)
            return self.choose_default_move()

        def _battle_finished_callback(self, battle: Any) -> None:
            self.see(battle)

    async def ignore(*_: Any) -> None:
        pass

    player = Recorder(
        AccountConfiguration(recording["seat"], None),
        battle_format=recording["format"],
        start_listening=False,
        log_level=logging.CRITICAL,
    )
    player.ps_client.send_message = ignore
    said = [["|init|battle"]]
    for kind, *content in recording["events"]:
        if kind == "lines":
            said.append(content[0].split("\n"))
        elif kind == "request":
            said.append([f"|request|{json.dumps(content[0])}"])
    for lines in said:
        message = [[f">battle-{recording['format']}-1"], *[line.split("|") for line in lines]]
        handled = player._handle_battle_message(message)
        asyncio.run_coroutine_threadsafe(handled, POKE_LOOP).result(timeout=60)
    return seen


@pytest.mark.parametrize("backend", PLAYERS)
@pytest.mark.parametrize("battle_format", FORMATS)
def test_a_seat_sees_what_metamons_player_sees(battle_format: str, backend: str) -> None:
    recording = recordings_of(battle_format)[0]
    for space_name in OBSERVATION_SPACES:
        theirs = through_metamons_player(recording, backend, space_name)
        space = get_observation_space(space_name)
        ours = []
        for tracker in follow(recording, backend):
            state = tracker.state()
            ours.append((state.to_dict(), space.state_to_obs(state)))
        assert len(ours) == len(theirs) > 10
        for (state, observation), (their_state, their_observation) in zip(
            ours, theirs, strict=True
        ):
            assert comparable(state) == comparable(their_state)
            assert str(observation["text"]) == str(their_observation["text"])
            np.testing.assert_array_equal(observation["numbers"], their_observation["numbers"])


@pytest.mark.parametrize("battle_format", FORMATS)
def test_quick_turns_change_no_state_and_no_legal_action(battle_format: str) -> None:
    for recording in recordings_of(battle_format):
        states, legal = metamon_says(recording)
        ours = [(t.state().to_dict(), list(t.legal_choices())) for t in follow(recording)]
        assert [comparable(state) for state, _ in ours] == [comparable(s) for s in states]
        assert [actions for _, actions in ours[:-1]] == legal


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Metamon makes the preview a list out of a set, in any order."""
    return state | {"opponent_teampreview": sorted(state["opponent_teampreview"])}


@pytest.mark.parametrize("kind", [MetamonBackendBattle, PokeAgentBackendBattle])
def test_a_quick_turn_is_copied_as_deepcopy_copies(kind: type) -> None:
    """All that a turn holds, with what refers to what, at every turn of some battles."""
    for recording in [recordings_of(battle_format)[1] for battle_format in FORMATS]:
        battle = kind(
            battle_tag=f"battle-{recording['format']}-1",
            username=recording["seat"],
            logger=logging.getLogger(__name__),
            save_replays=False,
            gen=int(recording["format"][3]),
        )
        quicken(battle)
        for what, *content in recording["events"]:
            if what == "lines":
                for line in filter(None, content[0].split("\n")):
                    battle.parse_message(line.split("|"))
                    turn = battle._current_turn
                    if line.startswith("|turn|"):
                        plain = copy._reconstruct(turn, {}, *turn.__reduce_ex__(4)[:3])
                        assert anatomy(copy.deepcopy(turn)) == anatomy(plain)
            elif what == "request":
                battle.parse_request(content[0])


def anatomy(value: Any, seen: dict[int, int] | None = None) -> Any:
    """A value taken apart; an object that is met again is the number of its first time."""
    seen = {} if seen is None else seen
    if isinstance(value, dict):
        return {key: anatomy(item, seen) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *[anatomy(item, seen) for item in value]]
    if not hasattr(value, "__dict__") or isinstance(value, type) or hasattr(value, "_name_"):
        return value
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)} | vars(value)
    held.pop("_gen_data", None)
    return type(value), {name: anatomy(item, seen) for name, item in held.items()}


def test_who_only_looks_at_the_battle_never_pays_for_metamons_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BACKENDS", {"poke-env": Battle})
    for tracker in follow(recordings()[0]):
        assert tracker.battle.active_pokemon is not None
        assert tracker.legal_choices()


def test_actions_do_not_depend_on_whether_states_are_recorded() -> None:
    for recording in recordings():
        for plain, recorded in zip(follow(recording), follow(recording), strict=True):
            assert plain.battle and recorded.battle and recorded.state()
            assert plain.legal_choices() == recorded.legal_choices()


def test_every_choice_is_an_action_of_the_state_that_is_saved() -> None:
    """A poke-env player numbers the moves of a locked Pokémon, and names a Hidden Power, otherwise
    than Metamon's state does."""
    renumbered, hidden_powers = 0, 0
    for recording in recordings():
        *decisions, _ = recording["states"]
        for tracker, _ in zip(follow(recording), decisions, strict=False):
            assert tracker.battle  # the first view, whose actions a poke-env player has
            legal = tracker.legal_choices()
            moves = len(tracker.state().player_active_pokemon.moves)
            for action, choice in legal.items():
                recorded = tracker.recorded_action(choice, legal)
                assert recorded >= 0 and (recorded > 3 or recorded < moves)
                renumbered += recorded != action
                hidden_powers += "hiddenpower" in choice
    assert renumbered > 0 and hidden_powers > 0


def test_a_players_order_becomes_the_choice_it_means() -> None:
    player = SimpleHeuristicsPlayer(start_listening=False)
    found: Counter[bool] = Counter()
    for recording in recordings():
        *decisions, _ = recording["states"]
        for tracker, _ in zip(follow(recording), decisions, strict=False):
            order = player.choose_move(tracker.battle)
            action = tracker.action_of(order)
            found[action >= 0] += 1
            if action >= 0:
                choice = f"/choose {tracker.legal_choices()[action]}"
                assert order.message.removesuffix(" dynamax") == choice
    assert found[True] > 1000 and found[False] == 0


def test_the_turn_is_known_without_looking() -> None:
    recording = recordings()[0]
    for tracker in follow(recording):
        turn = tracker.turn
        assert turn == tracker.battle.turn
