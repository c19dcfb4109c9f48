"""A trajectory file is read back as it was written, or refused with a reason."""

from __future__ import annotations

import json
import os
import pickle
import re
import tracemalloc
from datetime import datetime
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.data.trajectory import (
    TrajectoryError,
    TrajectoryName,
    read_trajectory,
    safe_player_name,
    trajectory_files,
    unpack,
    write_trajectory,
)
from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write
from tests.support.states import make_battle, make_name, make_state, write_battle

names = st.builds(
    TrajectoryName,
    battle_id=st.from_regex(r"metamon-gen[1-9]ou-[0-9]{1,12}", fullmatch=True),
    rating=st.none() | st.integers(0, 3000),
    player=st.text().map(safe_player_name),
    opponent=st.text().map(safe_player_name),
    date=st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1)).map(
        lambda date: date.replace(microsecond=0)
    ),
    outcome=st.sampled_from(["WIN", "LOSS"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


def reason_for(path: Path) -> str:
    with pytest.raises(TrajectoryError) as caught:
        read_trajectory(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in caught.value.detail
    return caught.value.reason


def packed(folder: Path, content: object) -> Path:
    path = folder / make_name().filename
    path.write_bytes(lz4.frame.compress(json.dumps(content).encode()))
    return path


@given(names)
def test_a_name_survives_its_file_name(name: TrajectoryName) -> None:
    assert TrajectoryName.parse(name.filename) == name
    assert len(name.filename.split("_")) == 7 and len(name.filename) < 255


@given(st.text())
def test_any_other_file_name_is_refused_and_nothing_else(filename: str) -> None:
    try:
        TrajectoryName.parse(filename)
    except TrajectoryError as error:
        assert error.reason == "bad_name"


def test_names_that_metamon_writes_are_read() -> None:
    name = TrajectoryName.parse("gen1ou-316031019_1523_a_vs_b_06-05-2015_LOSS.json")
    assert name == TrajectoryName("gen1ou-316031019", 1523, "a", "b", datetime(2015, 6, 5), "LOSS")
    with_underscore = TrajectoryName.parse("gen1ou-1_Unrated_a_b_vs_c_06-05-2015_WIN.json.lz4")
    assert (with_underscore.player, with_underscore.opponent) == ("a_b", "c")
    with_underscore = TrajectoryName.parse("gen1ou-1_Unrated_a_vs_b_c_06-05-2015_WIN.json.lz4")
    assert (with_underscore.player, with_underscore.opponent) == ("a", "b_c")


@pytest.mark.parametrize(
    "filename",
    [
        "tournament_results.json",
        "gen1ou-1_Unrated_a_vs_06-05-2015_WIN.json.lz4",
        "gen1ou-1_Unrated_a_b_vs_c_d_06-05-2015_WIN.json.lz4",
        "gen1ou-1_Unrated_a_against_b_06-05-2015_WIN.json.lz4",
        "gen1ou-1_Unrated_a_vs_b_06-05-2015_TIE.json.lz4",
        "gen1ou-1_Unrated_a_vs_b_2015-06-05_WIN.json.lz4",
        "gen1ou-1_high_a_vs_b_06-05-2015_WIN.json.lz4",
        "gen1ou-1_Unrated_a_vs_b_06-05-2015_WIN.json.gz",
    ],
)
def test_names_that_the_loader_drops_or_cannot_filter_by_are_refused(filename: str) -> None:
    with pytest.raises(TrajectoryError, match=re.escape(filename)):
        TrajectoryName.parse(filename)


@given(st.text(), st.text())
def test_different_players_never_share_a_safe_name(one: str, other: str) -> None:
    safe = safe_player_name(one)
    assert re.fullmatch(r"[A-Za-z0-9.+~-]{1,64}", safe)
    assert (safe == safe_player_name(other)) == (one == other)


def test_safe_names_stay_readable() -> None:
    assert safe_player_name("max_base_power") == "max+base+power"
    assert safe_player_name("runs/a/policy 40.pt").startswith("runs-a-policy-40.pt~")
    confusable = ["a_b", "a+b", "a b", "a/b", "a__b", "a-b", safe_player_name("a/b"), "x" * 65]
    assert len({safe_player_name(name) for name in confusable}) == len(confusable)


@settings(deadline=None)
@given(name=names, states=st.lists(st.dictionaries(st.text(), json_values), min_size=2, max_size=4))
def test_a_file_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, name: TrajectoryName, states: list[dict]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    actions = [*range(len(states) - 1), -1]
    path = write_trajectory(folder, name, states, actions)
    trajectory = read_trajectory(path)
    assert (trajectory.name, trajectory.states, trajectory.actions) == (name, states, actions)
    assert trajectory.decisions == len(states) - 1
    assert os.listdir(folder) == [name.filename]


def test_any_lz4_and_json_reader_can_read_it(tmp_path: Path) -> None:
    states, actions = make_battle(5)
    path = write_trajectory(tmp_path / "gen1ou", make_name(), states, actions)
    with lz4.frame.open(path, "rb") as file:
        assert json.loads(file.read().decode()) == {"states": states, "actions": actions}


@pytest.mark.parametrize(
    ("reason", "count", "actions"),
    [
        ("lengths_differ", 3, [0, -1]),
        ("last_action", 3, [0, 0, 0]),
        ("no_decisions", 1, [-1]),
        ("no_decisions", 0, []),
    ],
)
def test_what_training_would_stumble_over_is_not_written(
    tmp_path: Path, reason: str, count: int, actions: list[int]
) -> None:
    with pytest.raises(TrajectoryError) as caught:
        write_trajectory(tmp_path, make_name(), [make_state()] * count, actions)
    assert caught.value.reason == reason and not os.listdir(tmp_path)


@pytest.mark.parametrize("player", ["max_base_power", "a/b", "../up"])
def test_names_that_would_get_lost_are_not_written(tmp_path: Path, player: str) -> None:
    with pytest.raises(TrajectoryError, match="safe_player_name"):
        write_trajectory(tmp_path, make_name(player=player), *make_battle())
    assert not os.listdir(tmp_path)


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_write(target) as temporary:
        temporary.write_text("half of the ne")
        raise OSError("disk full")
    assert os.listdir(tmp_path) == ["file"] and target.read_text() == "old"


@settings(deadline=None)
@given(st.binary(), st.sampled_from([".json", ".json.lz4"]), st.booleans())
def test_arbitrary_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, extension: str, as_lz4: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"foreign{extension}"
    path.write_bytes(lz4.frame.compress(data) if as_lz4 else data)
    reason_for(path)


@settings(deadline=None)
@given(json_values, json_values)
def test_arbitrary_json_is_refused(
    tmp_path_factory: pytest.TempPathFactory, states: object, actions: object
) -> None:
    for content in ({"states": states, "actions": actions}, states):
        path = packed(tmp_path_factory.getbasetemp(), content)
        try:
            trajectory = read_trajectory(path)
        except TrajectoryError:
            continue
        assert trajectory.states == states and trajectory.actions == actions


@settings(deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = write_battle(tmp_path_factory.getbasetemp())
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert reason_for(path) == "unreadable"

    flipped = bytearray(whole)
    flipped[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        trajectory = read_trajectory(path)
    except TrajectoryError:
        return
    assert (trajectory.states, trajectory.actions) == make_battle(1)  # the bit meant nothing


def test_each_fault_has_its_reason(tmp_path: Path) -> None:
    assert reason_for(packed(tmp_path, [])) == "not_a_trajectory"
    assert reason_for(packed(tmp_path, {"states": [{}]})) == "not_a_trajectory"
    assert reason_for(packed(tmp_path, {"states": [0], "actions": [0]})) == "not_a_trajectory"
    assert reason_for(packed(tmp_path, {"states": [{}], "actions": [True]})) == "not_a_trajectory"
    assert reason_for(packed(tmp_path, {"states": [{}], "actions": [0.5]})) == "not_a_trajectory"
    assert reason_for(packed(tmp_path, {"states": [{}], "actions": []})) == "lengths_differ"
    assert reason_for(packed(tmp_path, {"states": [{}], "actions": [float("nan")]})) == "not_json"
    assert reason_for(tmp_path / "missing.json") == "unreadable"
    assert reason_for(tmp_path) == "unreadable"

    path = write_battle(tmp_path)
    path = path.rename(path.with_name("renamed_by_hand.json.lz4"))
    assert reason_for(path) == "bad_name"
    path.write_bytes(path.read_bytes() + b"more")
    assert reason_for(path) == "unreadable"


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_bytes(b"[" * 1_000_000)
    assert reason_for(path) == "not_json"


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused_without_unpacking_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / make_name().filename
    with lz4.frame.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(2**22))
    assert path.stat().st_size < 2**22
    tracemalloc.start()
    with pytest.raises(TrajectoryError, match="unpacks to more than") as caught:
        unpack(path, max_bytes=2**22)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason == "too_big" and peak < 2**24

    plain = tmp_path / "plain.json"
    plain.write_bytes(b" " * 2**20 + b"1")
    with pytest.raises(TrajectoryError) as caught:
        unpack(plain, max_bytes=2**20)
    assert caught.value.reason == "too_big"


def test_an_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(TrajectoryError("a.json", "not_json", "is empty")))
    assert (str(error), error.reason) == ("a.json: is empty", "not_json")


def test_files_are_found_in_a_fixed_order_and_only_they(tmp_path: Path) -> None:
    wanted = [tmp_path / name for name in ("a.json", "gen1ou/b.json.lz4", "gen2ou/c.json")]
    others = [tmp_path / name for name in ("gen1ou/.x.tmp", "index.csv", "filtering_stats.json")]
    for path in reversed(wanted + others):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list(trajectory_files(tmp_path)) == wanted
    assert list(trajectory_files(tmp_path / "gen1ou")) == wanted[1:2]
    with pytest.raises(UserError, match="nowhere: No such file"):
        list(trajectory_files(tmp_path / "nowhere"))
