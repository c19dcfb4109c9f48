"""The audit counts every fault once, with its reason, and calls good data good."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext import cli
from metamon_ext.data.audit import audit
from metamon_ext.data.audit_report import print_audit
from metamon_ext.data.trajectory import write_trajectory
from metamon_ext.data.validation import REASONS, validate
from metamon_ext.errors import UserError
from metamon_ext.terminal import console
from tests.support.replays import (
    make_pokechamp,
    make_replay,
    write_lines,
    write_replay,
)
from tests.support.states import (
    make_battle,
    make_move,
    make_name,
    make_pokemon,
    make_state,
    write_battle,
)

Change = Callable[[list[dict[str, Any]], list[int]], object]


def written(folder: Path, change: Change, outcome: str = "LOSS", **name: Any) -> Path:
    """A battle of three decisions as a file, after `change(states, actions)`."""
    states, actions = make_battle(3, outcome)
    change(states, actions)
    path = folder / make_name(outcome=outcome, **name).filename
    content = json.dumps({"states": states, "actions": actions}).encode()
    path.write_bytes(lz4.frame.compress(content))
    return path


def run(*words: str | Path) -> int:
    return cli.run([str(word) for word in words])


def test_good_files_are_usable(tmp_path: Path) -> None:
    for number in range(3):
        write_battle(tmp_path, number)
    states, actions = make_battle(4, "LOSS")
    actions[1] = -1
    name = make_name(9, outcome="LOSS")
    write_trajectory(tmp_path / "gen1ou", name, states, actions)
    report = audit([tmp_path]).to_dict()
    assert report == {
        "verdict": "usable",
        "files": 4,
        "usable_files": 4,
        "decisions": 1 + 2 + 3 + 4,
        "missing_action_share": 0.1,
        "outcomes": {"LOSS": 1, "WIN": 3},
        "formats": {"gen1ou": 4},
        "decisions_per_file": {"min": 1, "median": 2.5, "max": 4},
        "reasons": {},
        "kinds": {"trajectory": 4},
        "mixed_folders": {},
        "months": {"2026-11": 4},
        "notes": [],
        "people": {"names": 0, "examples": [], "replays_with_chat": 0},
        "placeholders": False,
        "ratings": {"known": 0, "min": 0, "median": 0, "max": 0},
        "sampled": False,
        "turns_per_replay": {"min": 0, "median": 0, "max": 0},
    }


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("not_universal", lambda states, actions: states[1].pop("weather")),
        ("not_universal", lambda states, actions: states[1].update(opponent_bench=[])),
        ("not_universal", lambda states, actions: states[1].update(weather=None)),
        ("not_universal", lambda states, actions: states[1].update(forced_switch=0)),
        ("not_universal", lambda states, actions: states[1].update(player_prev_move={})),
        ("not_universal", lambda states, actions: states[1].update(opponent_teampreview=[1])),
        ("not_universal", lambda states, actions: states[1]["available_switches"].append("x")),
        ("not_universal", lambda states, actions: states[1]["player_active_pokemon"].pop("item")),
        (
            "not_universal",
            lambda states, actions: states[1]["player_active_pokemon"].update(name=["x"]),
        ),
        (
            "not_universal",
            lambda states, actions: states[1]["opponent_active_pokemon"]["moves"].append({}),
        ),
        ("lengths_differ", lambda states, actions: actions.append(-1)),
        ("no_decisions", lambda states, actions: (states.clear(), actions.clear())),
        (
            "no_decisions",
            lambda states, actions: (states.__delitem__(slice(3)), actions.__delitem__(slice(3))),
        ),
        ("last_action", lambda states, actions: actions.__setitem__(-1, 0)),
        ("format_mismatch", lambda states, actions: states[2].update(format="gen2ou")),
        (
            "illegal_action",
            lambda states, actions: (
                actions.__setitem__(0, 13),
                states[0]["player_active_pokemon"]["moves"].extend([make_move()] * 20),
            ),
        ),
        ("illegal_action", lambda states, actions: actions.__setitem__(0, -2)),
        ("illegal_action", lambda states, actions: actions.__setitem__(0, 6)),
        ("illegal_action", lambda states, actions: actions.__setitem__(0, 9)),
        ("illegal_action", lambda states, actions: states[0].update(forced_switch=True)),
        ("contradicts_outcome", lambda states, actions: states[-1].update(battle_won=True)),
        (
            "contradicts_outcome",
            lambda states, actions: states[-1].update(battle_won=True, battle_lost=False),
        ),
        ("cut_off", lambda states, actions: states[-1].update(battle_lost=False)),
    ],
)
def test_each_fault_is_named(tmp_path: Path, reason: str, change: Change) -> None:
    result = validate(written(tmp_path, change))
    assert (result.reason, "\n" in result.detail) == (reason, False)
    assert reason in REASONS


@pytest.mark.parametrize("outcome", ["WIN", "LOSS"])
def test_actions_are_judged_by_what_their_state_offers(tmp_path: Path, outcome: str) -> None:
    def every_choice(states: list[dict[str, Any]], actions: list[int]) -> None:
        five = [make_pokemon(f"bench{index}") for index in range(5)]
        ditto = make_pokemon("ditto", moves=[make_move(f"move{index}") for index in range(6)])
        rich = make_state(available_switches=five, can_tera=True, player_active_pokemon=ditto)
        states[:-1] = [rich] * 14
        actions[:] = [*range(-1, 13), -1]

    assert validate(written(tmp_path, every_choice, outcome)).reason is None


def test_states_from_before_generation_9_are_universal(tmp_path: Path) -> None:
    def older(states: list[dict[str, Any]], actions: list[int]) -> None:
        for state in states:
            del state["can_tera"], state["opponent_teampreview"]
            del state["player_active_pokemon"]["tera_type"]
            del state["available_switches"][0]["base_species"]

    assert validate(written(tmp_path, older)).reason is None


def test_the_folder_the_name_and_the_states_must_agree_on_the_format(tmp_path: Path) -> None:
    assert validate(write_battle(tmp_path)).reason is None
    path = write_trajectory(tmp_path / "gen2ou", make_name(), *make_battle())
    assert validate(path).reason == "format_mismatch"
    path = write_battle(tmp_path, battle_id="metamon-gen2ou-1")
    assert validate(path).reason == "format_mismatch"
    assert validate(write_battle(tmp_path, battle_id="[Gen 1] OU - 7")).reason is None


def test_a_format_cannot_name_a_folder_elsewhere(tmp_path: Path) -> None:
    path = write_trajectory(tmp_path, make_name(battle_id="gen1ou..1"), *make_battle(format=".."))
    assert validate(path).reason == "format_mismatch"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda values: st.lists(values, max_size=3),
        max_leaves=3,
    ),
    st.data(),
)
def test_no_value_in_a_state_breaks_the_validation(
    tmp_path_factory: pytest.TempPathFactory, value: object, data: st.DataObject
) -> None:
    def spoil(states: list[dict[str, Any]], actions: list[int]) -> None:
        state = states[data.draw(st.integers(0, 3))]
        part = data.draw(
            st.sampled_from(
                [
                    state,
                    state["player_active_pokemon"],
                    state["available_switches"][0],
                    state["opponent_active_pokemon"]["moves"][0],
                    state["player_prev_move"],
                ]
            )
        )
        part[data.draw(st.sampled_from(sorted(part)))] = value

    assert validate(written(tmp_path_factory.getbasetemp(), spoil)).reason in {None, *REASONS}


def test_faults_are_counted_with_three_examples(tmp_path: Path) -> None:
    for number in range(9):
        write_battle(tmp_path, number)
    for number in range(4):
        (tmp_path / f"broken{number}.json.lz4").write_bytes(b"broken")
    report = audit([tmp_path])
    assert (report.files, report.usable_files, report.verdict) == (13, 9, "usable after quarantine")
    broken = report.to_dict()["reasons"]["unreadable"]
    assert broken["files"] == 4 and len(broken["examples"]) == 3
    assert str(tmp_path / "broken0.json.lz4") in broken["examples"][0]


def test_the_same_content_under_two_names_is_a_duplicate(tmp_path: Path) -> None:
    first = write_battle(tmp_path, 0, decisions=3)
    write_battle(tmp_path, 1, decisions=3)
    write_battle(tmp_path, 2, decisions=4)
    plain = first.with_name(make_name(5).filename.removesuffix(".lz4"))
    plain.write_bytes(lz4.frame.decompress(first.read_bytes()))
    assert audit([tmp_path]).reasons == {"duplicate": 2}


def test_mostly_bad_or_empty_of_good_is_unusable(tmp_path: Path) -> None:
    write_battle(tmp_path)
    bad = [tmp_path / f"{number}.json" for number in range(2)]
    bad[0].touch()
    assert audit([tmp_path]).verdict == "usable after quarantine"
    bad[1].touch()
    assert audit([tmp_path]).verdict == "unusable"
    assert audit(bad[:1]).to_dict()["decisions_per_file"]["max"] == 0


def test_workers_change_nothing(tmp_path: Path) -> None:
    for number in range(70):
        write_battle(tmp_path, number, decisions=1 + number // 2)
    (tmp_path / "gen1ou" / "broken.json").touch()
    alone, together = audit([tmp_path]), audit([tmp_path], workers=2)
    assert alone == together and alone.reasons == {"duplicate": 35, "not_json": 1}


def test_nothing_to_audit_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.json\.lz4 or \.json file"):
        audit([tmp_path])
    with pytest.raises(UserError, match="No such file"):
        audit([tmp_path / "nowhere"])


def test_the_table_shows_reasons_and_examples(tmp_path: Path) -> None:
    write_battle(tmp_path)
    strange = tmp_path / "[red] \udcff.json"
    strange.touch()
    output = io.StringIO()
    print_audit(console(file=output, width=100), audit([tmp_path]))
    for expected in ("1 of 2 files are valid", "not_json", "[red] ?.json: ", "after quarantine"):
        assert expected in output.getvalue()


def test_the_command_answers_with_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = write_battle(tmp_path), tmp_path / "bad.json"
    bad.touch()
    assert run("audit", good) == 0
    assert "Verdict: usable" in capsys.readouterr().out
    assert run("audit", bad, "--json", "--workers", "1") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "unusable" and captured.err == ""
    for wrong in (["audit"], ["audit", good, "--workers", "0"], ["audit", good, "--workers", "x"]):
        with pytest.raises(UserError) as caught:
            run(*wrong)
        assert caught.value.exit_code == 2


def test_raw_replays_are_judged_and_described(tmp_path: Path) -> None:
    for number in range(4):
        write_replay(tmp_path, number, ratings=(1500 + number, 1400 + number))
    write_replay(tmp_path, 4, players=("Red", "blue"), ratings=("", ""))
    write_replay(tmp_path, 5, end="|tie")
    write_replay(tmp_path, 6, log=make_replay(0)["log"])
    report = audit([tmp_path]).to_dict()
    assert report["verdict"] == "usable after quarantine"
    assert (report["files"], report["usable_files"], report["decisions"]) == (7, 5, 0)
    assert report["kinds"] == {"raw replay": 5} and report["formats"] == {"gen1ou": 5}
    assert report["turns_per_replay"] == {"min": 6, "median": 6, "max": 6}
    assert report["ratings"] == {"known": 4, "min": 1400, "median": 1401.5, "max": 1403}
    assert report["months"] == {"2016-01": 5}
    people = {"names": 2, "examples": ["Red", "blue"], "replays_with_chat": 5}
    assert report["people"] == people
    assert {name: entry["files"] for name, entry in report["reasons"].items()} == {
        "no_winner": 1,
        "duplicate": 1,
    }


def test_both_kinds_may_lie_in_one_tree(tmp_path: Path) -> None:
    write_battle(tmp_path)
    write_replay(tmp_path)
    write_lines(tmp_path / "more.jsonl", map(make_pokechamp, range(3)))
    report = audit([tmp_path])
    assert report.kinds == {"raw replay": 4, "trajectory": 1} and not report.reasons
    assert report.outcomes == {"WIN": 1} and report.mixed_folders == {}


def test_formats_that_lie_side_by_side_are_named(tmp_path: Path) -> None:
    for battle_format in ("gen1ou", "gen2ou"):
        name = make_name(battle_id=f"metamon-{battle_format}-1")
        write_trajectory(tmp_path / "mixed", name, *make_battle(format=battle_format))
    report = audit([tmp_path])
    assert report.mixed_folders == {str(tmp_path / "mixed"): ["gen1ou", "gen2ou"]}
    output = io.StringIO()
    print_audit(console(file=output, width=100), report)
    assert "mixed contains gen1ou, gen2ou" in output.getvalue()


def test_real_names_and_chat_are_a_fault_only_when_asked(tmp_path: Path) -> None:
    human = make_name(battle_id="gen1ou-1", player="Red", opponent="mist98895")
    write_trajectory(tmp_path / "gen1ou", human, *make_battle(1))
    write_battle(tmp_path, 2)  # agents' names are nobody's
    write_replay(tmp_path, 0)
    report = audit([tmp_path])
    assert (report.people, report.chats, report.verdict) == ({"Red"}, 1, "usable")
    report = audit([tmp_path], forbid_usernames=True)
    assert report.reasons == {"usernames": 2} and report.usable_files == 1
    assert sorted(example.split(": ")[-1] for example in report.examples["usernames"]) == [
        "Red",
        "chat",
    ]
