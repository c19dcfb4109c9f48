"""A raw replay is understood whoever wrote it, or refused with a reason."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.data.replays.raw import read_replay
from metamon_ext.data.trajectory import TrajectoryError, TrajectoryName
from metamon_ext.data.validation import REASONS, REPLAY, validate
from tests.support.replays import (
    PLACEHOLDER,
    make_log,
    make_pokechamp,
    make_replay,
    write_replay,
)

WHERE = Path("a.jsonl:1")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=3,
)


def test_a_replay_of_metamons_data_set_is_read() -> None:
    replay = read_replay(WHERE, make_replay())
    assert (replay.id, replay.format) == ("gen1ou-316031019", "gen1ou")
    assert replay.players == ("mist98895", "typhlosion10919")
    assert replay.winner == "typhlosion10919"
    assert (replay.rating, replay.turns, replay.chats) == (1400, 6, True)
    assert replay.date == datetime(2016, 1, 11, 2, 41, 49, tzinfo=timezone.utc)
    assert replay.path(Path("raw")) == Path("raw/gen1/ou/gen1ou-316031019.json")


def test_a_record_of_pokechamp_becomes_what_metamons_parser_reads() -> None:
    replay = read_replay(WHERE, make_pokechamp(3))
    assert (replay.rating, replay.date) == (1200, datetime(2024, 3, 1, tzinfo=timezone.utc))
    written = replay.to_json()
    assert written["uploadtime"] == 1709251200 and written["formatid"] == "gen1ou"
    assert "gg" not in written["log"] and "|j|" not in written["log"]
    assert "|-damage|p2a: Alakazam|" in written["log"] and written["log"].endswith("|player|p1|")
    # Metamon's parser makes file names of the players, and its loader splits them at underscores.
    player, opponent = written["players"]
    name = f"{written['id']}_Unrated_{player}_vs_{opponent}_03-01-2024_LOSS.json.lz4"
    assert len(name.split("_")) == 7 and "/" not in name
    assert TrajectoryName.parse(name).battle_id == "gen1ou-3"


def test_what_was_written_for_the_parser_is_read_as_the_same_battle() -> None:
    first = read_replay(WHERE, make_pokechamp(3))
    again = read_replay(WHERE, json.loads(json.dumps(first.to_json())))
    assert not again.chats
    for name in ("id", "format", "players", "date", "rating", "winner", "turns"):
        assert getattr(again, name) == getattr(first, name)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"elo": "1800+"}, "rating", 1800),
        ({"elo": "unrated"}, "rating", None),
        ({"battle_id": "77"}, "id", "gen1ou-77"),
        ({"battle_id": 77}, "id", "gen1ou-77"),
        ({"battle_id": "battle-gen1ou-7_../x"}, "id", "battle-gen1ou-7-x"),
        ({"gamemode": "[Gen 1] OU"}, "format", "gen1ou"),
        ({"gamemode": None}, "format", "gen1ou"),
        ({"text": "|t:|1600000000\n" + make_log()}, "date", datetime(2020, 9, 13, 12, 26, 40)),
        ({"text": make_log().replace("\n", "\r\n")}, "winner", "typhlosion10919"),
    ],
)
def test_fields_are_found_where_they_are(
    changes: dict[str, Any], field: str, expected: object
) -> None:
    value = getattr(read_replay(WHERE, make_pokechamp(**changes)), field)
    assert (value.replace(tzinfo=None) if isinstance(value, datetime) else value) == expected


@pytest.mark.parametrize(
    ("reason", "record"),
    [
        ("empty_log", PLACEHOLDER),
        ("empty_log", make_replay(log=" \n")),
        ("not_a_replay", make_replay(log=None)),
        ("no_players", make_replay(log="|player|p1|a\n|turn|1\n|win|a")),
        ("no_players", make_replay(players=("A user", "a_user"), end="|win|a_user")),
        ("no_turns", make_replay(log="|player|p1|a\n|player|p2|b\n|win|a")),
        ("no_winner", make_replay(end="")),
        ("no_winner", make_replay(end="|tie")),
        ("no_winner", make_replay(end="|win|somebody else")),
        ("contradicts_outcome", make_replay(winner="mist98895")),
        ("no_format", make_replay(formatid=None, format="", tier="OU")),
        ("no_format", make_replay(formatid=5, format="OU", tier="../.")),
        ("format_mismatch", make_replay(tier="[Gen 9] OU")),
        ("no_id", make_replay(id="")),
        ("no_id", make_replay(id=None)),
        ("no_date", make_replay(uploadtime=None)),
        ("no_date", make_replay(uploadtime=10**30)),
    ],
)
def test_each_fault_has_its_reason(reason: str, record: dict[str, Any]) -> None:
    with pytest.raises(TrajectoryError) as caught:
        read_replay(WHERE, record)
    assert (caught.value.reason, str(caught.value)[:11]) == (reason, "a.jsonl:1: ")
    assert reason in REASONS and "\n" not in caught.value.detail


def test_a_replay_in_the_folder_of_another_format_is_a_fault(tmp_path: Path) -> None:
    path = write_replay(tmp_path)
    result = validate(path)
    assert (result.reason, result.kind, result.turns) == (None, REPLAY, 6)
    other = tmp_path / "gen9" / "ou" / path.name
    other.parent.mkdir(parents=True)
    assert validate(path.rename(other)).reason == "format_mismatch"


def test_names_that_metamon_made_up_are_told_from_peoples(tmp_path: Path) -> None:
    assert validate(write_replay(tmp_path)).people == ()
    result = validate(write_replay(tmp_path, 1, players=("Red", "blue 22")))
    assert result.people == ("Red", "blue 22")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(make_replay() | make_pokechamp())), values))
def test_no_value_breaks_the_reader(changes: dict[str, Any]) -> None:
    for record in (make_replay(), make_pokechamp()):
        try:
            replay = read_replay(WHERE, record | changes)
        except TrajectoryError as error:
            assert error.reason in REASONS
            continue
        assert "/" not in str(replay.path(Path())).removeprefix("gen1/ou/")
        json.dumps(replay.to_json())


line = st.lists(st.sampled_from(["player", "p1", "p2", "win", "tie", "turn", "t:", "tier", "9"]))
lines = st.lists(line.map("|".join).map("|{}".format) | st.text(), max_size=12).map("\n".join)


@settings(deadline=None)
@given(lines, st.booleans())
def test_no_log_breaks_the_reader(log: str, in_a_battle: bool) -> None:
    start = "|player|p1|a\n|player|p2|b\n|turn|1\n|win|a\n" if in_a_battle else ""
    try:
        replay = read_replay(WHERE, make_replay(log=start + log))
    except TrajectoryError as error:
        assert error.reason in REASONS
        return
    assert replay.winner in replay.players and replay.turns > 0
