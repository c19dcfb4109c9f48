"""Battle formats of every kind: played to their end and recorded soundly, or rejected up front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.schedule import matchup
from metamon_ext.arena.simulator.process import Simulator
from metamon_ext.arena.teams import load_format, load_teams
from metamon_ext.arena.tracking.actions import action_of, legal_choices
from metamon_ext.arena.tracking.poke_env_battle import TrackedBattle
from metamon_ext.arena.tracking.state import universal_state
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from tests.conftest import ROOT
from tests.support.sweep_formats import PLAYS, REJECTED, play, random_teams, sweep, table

PLAYED = (
    "gen9bssregg",  # bring six, pick three
    "gen9challengecup1v1",  # random teams of six, pick one
    "gen4customgame",  # no clauses: a species twice
    "gen8hackmonscup",  # max moves as ordinary ones
    "gen1hackmonscup",  # MissingNo. and its type
    "gen9godlygift",  # rules that need the server's globals
    "gen7ou",  # mega evolution and Z-moves, played without
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def test_formats_of_every_kind_are_played_and_recorded(tmp_path: Path) -> None:
    verdicts = sweep(random_teams(PLAYED), 2, tmp_path)
    assert [(v.format, v.verdict, v.reason) for v in verdicts if v.verdict != PLAYS] == []
    assert len(verdicts) == len(PLAYED)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gen9doublesou", "is not a singles format (doubles)"),
        ("gen9freeforall", "is not a singles format (freeforall)"),
        ("gen9superstaffbrosultimate", "has moves of its own"),
        ("gen9littlecolosseumlc", "has moves of its own (surginglava, 1 in all)"),
        ("gen9randomroulette", "chooses the rules of each battle when it starts"),
        ("gen9pickyourteamrandombattle", "makes teams of 12 Pokémon"),
    ],
)
def test_what_cannot_be_expressed_is_rejected_up_front(
    name: str, reason: str, simulator: Simulator
) -> None:
    with pytest.raises(UserError) as caught:
        load_format(name, simulator)
    assert reason in str(caught.value) and name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mod_that_starts_battles_in_its_own_way_may_keep_its_rules(simulator: Simulator) -> None:
    assert load_format("gen9mixandmega", simulator).gen == 9


TWICE = """Mew @ Leftovers
Ability: Synchronize
EVs: 252 HP
- Psychic
- Ice Beam

Mew @ Choice Band
Ability: Synchronize
EVs: 252 Atk
- Earthquake
- Rock Slide

{first}Ditto @ Choice Scarf
Ability: Imposter
EVs: 252 Spe
- Transform

{second}Rotom-Wash
Ability: Levitate
EVs: 252 Spe
- Thunder Shock

Rotom-Heat
Ability: Levitate
EVs: 252 Spe
- Thunder Shock
"""


@pytest.mark.parametrize("nicknames", [("", ""), ("Rotom", "Ditto")])
def test_pokemon_that_share_a_species_or_a_name_are_told_apart(
    nicknames: tuple[str, str], simulator: Simulator, tmp_path: Path
) -> None:
    first, second = nicknames
    export = TWICE.format(first="", second="")
    if first:
        export = export.replace("Ditto @", f"{first} (Ditto) @")
        export = export.replace("Rotom-Wash", f"{second} (Rotom-Wash)")
    (tmp_path / "twice.txt").write_text(export)
    battle_format = load_format("gen9anythinggoes", simulator)
    conditions = Conditions(battle_format, load_teams(battle_format, tmp_path, simulator))
    specs = matchup("random", "max_base_power", 6, conditions, 3)
    results = play(specs, workers=1, recording=Recording(tmp_path / "saved"))
    assert [result.reason for result in results if result.score is None] == []
    sides = set()
    for path in trajectory_files(tmp_path / "saved"):
        for state in read_trajectory(path).states:
            own = [state["player_active_pokemon"], *state["available_switches"]]
            assert len(own) <= 5
            sides.add(tuple(sorted((p["name"], p["item"]) for p in own if p["name"] == "mew")))
    assert (("mew", "choiceband"), ("mew", "leftovers")) in sides
    assert (("mew", "leftovers"), ("mew", "leftovers")) not in sides


def entry(name: str, species: str, moves: list[str], active: bool = False) -> dict[str, Any]:
    """A Pokémon as a request of seat p1 has it."""
    return {
        "ident": f"p1: {name}",
        "details": species,
        "condition": "300/300",
        "active": active,
        "stats": dict.fromkeys(("atk", "def", "spa", "spd", "spe"), 200),
        "moves": moves,
        "baseAbility": "pressure",
        "ability": "pressure",
        "item": "",
    }


def request(*team: dict[str, Any], moves: tuple[str, ...] = ("tackle",)) -> dict[str, Any]:
    offered = [{"id": move, "move": move, "disabled": False} for move in moves]
    return {"active": [{"moves": offered}], "side": {"id": "p1", "pokemon": list(team)}}


def tracked(battle_format: str, opening: dict[str, Any], *lines: str) -> TrackedBattle:
    """A battle of seat p1 after the lines."""
    battle = TrackedBattle(battle_format, int(battle_format[3]), "p1")
    battle.parse_request(opening)
    battle.feed("\n".join(lines))
    return battle


OPPONENT = "|switch|p2a: Snorlax|Snorlax|100/100"


def test_a_switch_means_the_pokemon_that_was_meant() -> None:
    """The two of one species keep their order, and each is found by what it is."""
    team = [
        entry("Abra", "Abra", ["tackle"], active=True),
        entry("Mew", "Mew", ["surf"]),
        entry("Mew 2", "Mew", ["ember"]),
    ]
    battle = tracked("gen9customgame", request(*team), OPPONENT)
    assert legal_choices(battle) == {0: "move 1", 4: "switch 2", 5: "switch 3"}
    for action, name in ((4, "p1: Mew"), (5, "p1: Mew 2")):
        order = type("Order", (), {"order": battle.team[name]})()
        assert action_of(battle, order) == action
    moves = [one.moves[0].name for one in universal_state(battle).available_switches]
    assert moves == ["surf", "ember"]


def test_opponents_of_one_species_are_two() -> None:
    team = [entry("Abra", "Abra", ["tackle"], active=True)]
    battle = tracked(
        "gen9customgame",
        request(*team),
        "|switch|p2a: Mew|Mew|100/100",
        "|-damage|p2a: Mew|40/100",
        "|switch|p2a: Mew 2|Mew|100/100",
    )
    assert universal_state(battle).opponent_active_pokemon.hp_pct == 1.0
    assert [one.current_hp for one in battle.opponent_team.values()] == [40, 100]


def test_a_team_becomes_what_was_picked() -> None:
    names = ("Abra", "Mew", "Ditto")
    preview = {"teamPreview": True, "side": {"id": "p1", "pokemon": []}}
    preview["side"]["pokemon"] = [entry(name, name, ["tackle"]) for name in names]  # type: ignore
    battle = tracked("gen9bssregg", preview, OPPONENT)
    picked = [entry("Ditto", "Ditto", ["tackle"], active=True), entry("Abra", "Abra", ["tackle"])]
    battle.parse_request(request(*picked))
    assert legal_choices(battle) == {0: "move 1", 4: "switch 2"}
    assert [one.name for one in universal_state(battle).available_switches] == ["abra"]


def test_a_move_that_became_another_leaves_four() -> None:
    """Zacian's Iron Head becomes Behemoth Blade when it takes its crown."""
    others = ["closecombat", "playrough", "swordsdance"]
    preview = {"teamPreview": True, "side": {"id": "p1", "pokemon": []}}
    preview["side"]["pokemon"] = [  # type: ignore[index]
        entry("Zacian", "Zacian", ["ironhead", *others])
    ]
    battle = tracked("gen9ubers", preview, OPPONENT)
    crowned = ["behemothblade", *others]
    zacian = entry("Zacian", "Zacian-Crowned", crowned, active=True)
    battle.parse_request(request(zacian, moves=tuple(crowned)))
    assert legal_choices(battle) == {0: "move 1", 1: "move 2", 2: "move 3", 3: "move 4"}


@pytest.mark.parametrize(
    ("battle_format", "move"),
    [("gen8hackmonscup", "maxgeyser"), ("gen7hackmonscup", "infernooverdrive")],
)
def test_a_max_move_or_z_move_can_be_an_ordinary_one(battle_format: str, move: str) -> None:
    moves = ["absorb", move, "tackle"]
    team = entry("Abra", "Abra", moves, active=True)
    battle = tracked(battle_format, request(team, moves=tuple(moves)), OPPONENT)
    assert legal_choices(battle) == {0: "move 1", 1: "move 2", 2: "move 3"}
    assert [one.name for one in universal_state(battle).player_active_pokemon.moves] == moves


@pytest.mark.parametrize(
    "line",
    [
        "|c|~Staff|ability: Levitate, says chat",
        "|c:|1795797204|~Staff|hello",
        "|raw|<b>p1's rating: a lot</b>",
        "|html|<i>hi</i>",
        "|uhtmlchange|box|<i>hi</i>",
        "|error|[Invalid choice]",
        "|message|bye",
        "|-message|bye",
        "|a kind that is made up|p1a: Abra",
        "no protocol at all",
    ],
)
def test_what_is_said_to_humans_changes_nothing(line: str) -> None:
    team = entry("Abra", "Abra", ["tackle"], active=True)
    quiet = tracked("gen9ou", request(team), OPPONENT)
    assert universal_state(tracked("gen9ou", request(team), OPPONENT, line)) == universal_state(
        quiet
    )


def test_a_type_that_poke_env_does_not_know_is_left_out() -> None:
    team = entry("Abra", "Abra", ["tackle"], active=True)
    battle = tracked(
        "gen1hackmonscup",
        request(team),
        "|switch|p2a: MissingNo.|MissingNo.|100/100",
        "|-start|p1a: Abra|typechange|Bird/Normal|[from] move: Conversion|[of] p2a: MissingNo.",
    )
    state = universal_state(battle)
    assert state.opponent_active_pokemon.types == "normal notype"
    assert state.player_active_pokemon.types == "normal notype"


def test_a_move_called_by_a_move_that_is_not_known_is_not_the_pokemons_own() -> None:
    team = entry("Abra", "Abra", ["tackle"], active=True)
    called = "|move|p2a: Snorlax|Round|p1a: Abra|[from] move: Round"
    battle = tracked("gen6lc", request(team), OPPONENT, called)
    assert universal_state(battle).opponent_active_pokemon.moves == []


@pytest.mark.long
def test_every_singles_format_plays_or_is_rejected_as_the_docs_say(tmp_path: Path) -> None:
    verdicts = sweep(random_teams(), 24, tmp_path)
    assert {verdict.verdict for verdict in verdicts} <= {PLAYS, REJECTED}
    assert (ROOT / "docs" / "formats.md").read_text(encoding="utf-8") == table(verdicts, 24)
