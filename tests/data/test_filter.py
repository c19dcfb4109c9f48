"""The filter keeps good files as they are and accounts for every other one."""

from __future__ import annotations

import errno
import json
import os
import random
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext import cli
from metamon_ext.data.audit import audit
from metamon_ext.data.filter import (
    BattleRecord,
    FilterConfig,
    filter_trajectories,
    surplus_outcomes,
)
from metamon_ext.data.trajectory import write_trajectory
from metamon_ext.data.validation import REASONS
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import LOCK
from tests.support.interruptions import disk_full
from tests.support.states import make_battle, make_name, write_battle


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Battles of 1 to 8 decisions, one twice, one cut off after 5, and a broken file."""
    root = tmp_path / "source"
    for number in range(8):
        write_battle(root, number)
    write_battle(root, 8, decisions=3)
    states, actions = make_battle(5, "TIE")
    write_trajectory(root / "gen1ou", make_name(9, outcome="LOSS"), states, actions)
    (root / "gen1ou" / "broken.json.lz4").write_bytes(b"broken")
    return root


def tree(root: Path) -> dict[str, bytes]:
    """The files below a folder, without that of its lock."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != LOCK)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def run(*words: str | Path) -> int:
    return cli.run([str(word) for word in words])


def test_every_file_is_kept_or_counted(tmp_path: Path, source: Path) -> None:
    before = tree(source)
    report, _ = filter_trajectories(source, tmp_path / "out", FilterConfig(3, 6))
    kept = tree(tmp_path / "out")
    stats = json.loads(kept.pop("filtering_stats.json"))
    expected = {"too_short": 2, "too_long": 2, "duplicate": 1, "cut_off": 1, "unreadable": 1}
    assert {reason: found["files"] for reason, found in stats["reasons"].items()} == expected
    assert report.reasons == expected and set(expected) <= set(REASONS)
    assert (stats["input_files"], stats["kept_files"], stats["kept_decisions"]) == (11, 4, 18)
    assert stats["rules"] == asdict(FilterConfig(3, 6))
    assert stats["files_without_record"] == stats["kept_files"] + 4 and not stats["balance_seed"]
    assert len(kept) == 4 and kept.items() <= before.items()
    assert tree(source) == before
    assert audit([tmp_path / "out"]).verdict == "usable"


def test_battles_cut_off_are_kept_on_request(tmp_path: Path, source: Path) -> None:
    report, _ = filter_trajectories(source, tmp_path / "out", FilterConfig(keep_cut_off=True))
    assert report.reasons == {"duplicate": 1, "unreadable": 1}
    assert report.usable_files == 9


def test_kept_files_take_no_space(tmp_path: Path, source: Path) -> None:
    filter_trajectories(source, tmp_path / "out")
    for path in (tmp_path / "out" / "gen1ou").iterdir():
        assert path.samefile(source / "gen1ou" / path.name)


def test_without_hard_links_they_are_copied(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_file_system(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    filter_trajectories(source, tmp_path / "copied")
    copied = tree(tmp_path / "copied")
    filter_trajectories(source, tmp_path / "copied")
    assert tree(tmp_path / "copied") == copied
    monkeypatch.undo()
    filter_trajectories(source, tmp_path / "linked")
    assert tree(tmp_path / "linked") == copied


def test_a_second_run_changes_nothing_and_a_grown_input_adds(tmp_path: Path, source: Path) -> None:
    filter_trajectories(source, tmp_path / "out")
    first = tree(tmp_path / "out")
    filter_trajectories(source, tmp_path / "out", workers=2)
    assert tree(tmp_path / "out") == first
    added = write_battle(source, 20)
    filter_trajectories(source, tmp_path / "out")
    assert tree(tmp_path / "out").keys() - first.keys() == {f"gen1ou/{added.name}"}


def test_two_files_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    for part, decisions in (("a", 3), ("b", 4)):
        write_battle(tmp_path / "source" / part, 0, decisions=decisions)
    report, _ = filter_trajectories(tmp_path / "source", tmp_path / "out")
    assert report.reasons == {"same_name": 1} and report.decisions == 3


def test_an_output_of_other_rules_is_refused(tmp_path: Path, source: Path) -> None:
    filter_trajectories(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(UserError, match="has 2 other trajectories"):
        filter_trajectories(source, tmp_path / "out", FilterConfig(min_decisions=3))
    assert tree(tmp_path / "out") == before


def test_unusable_folders_are_refused_in_one_line(tmp_path: Path, source: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for input_dir, output_dir, message in [
        (tmp_path / "nowhere", tmp_path / "out", "nowhere: No such file"),
        (tmp_path / "empty", tmp_path / "out", "no .json.lz4 or .json file"),
        (source, source, "overlap"),
        (source, source / "out", "overlap"),
        (source, tmp_path / "file", "file: Not a directory"),
        (source, tmp_path / "file" / "out", "out: Not a directory"),
    ]:
        with pytest.raises(UserError, match=message.replace(".", r"\.")) as caught:
            filter_trajectories(input_dir, output_dir)
        assert "\n" not in str(caught.value)
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"max_invalid_rate must be from 0 to 1"):
            FilterConfig(max_invalid_rate=rate)
    with pytest.raises(UserError, match="must not be below min_decisions"):
        FilterConfig(min_decisions=5, max_decisions=4)


def test_a_full_disk_is_reported_and_leaves_whole_files(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", disk_full)
    monkeypatch.setattr("shutil.copyfile", disk_full)
    with pytest.raises(RunStopped, match=r"Cannot write .*out: No space left on device\. Free"):
        filter_trajectories(source, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    monkeypatch.undo()
    assert filter_trajectories(source, tmp_path / "out")[0].usable_files == 8


def test_the_command_answers_with_an_exit_code(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--input_dir", source, "--output_dir", tmp_path / "out")
    folders = (*folders, "--min_turns", "0")
    assert run("filter", *folders, "--min_decisions", "2") == 0
    output = capsys.readouterr().out
    assert "Kept 7 of 11 files, 35 decisions." in output and "too_short" in output
    assert run("filter", *folders, "--min_decisions", "2", "--json", "--workers", "1") == 0
    captured = capsys.readouterr()
    stats = json.loads((tmp_path / "out" / "filtering_stats.json").read_text())
    assert json.loads(captured.out) == stats and captured.err == ""
    nothing = ("--input_dir", source, "--output_dir", tmp_path / "none", "--min_decisions", "99")
    assert run("filter", *nothing) == 1


def test_the_record_of_a_battle_decides_where_there_is_one(tmp_path: Path) -> None:
    """Turns and invalid choices are in no trajectory; the blank last action is no invalid one."""
    source = tmp_path / "source"
    records = {
        write_battle(source, 0, decisions=4): BattleRecord(turns=9, decisions=20, invalid=0),
        write_battle(source, 1, decisions=5): BattleRecord(turns=10, decisions=20, invalid=1),
        write_battle(source, 2, decisions=6): BattleRecord(turns=11, decisions=20, invalid=2),
        write_battle(source, 3, decisions=7): BattleRecord(turns=12, decisions=0, invalid=0),
        write_battle(source, 4, decisions=11): None,
    }
    rules = FilterConfig(min_turns=10, max_turns=11, max_invalid_rate=0.05)
    report, stats = filter_trajectories(source, tmp_path / "out", rules, record_of=records.get)
    assert report.reasons == {"too_short": 1, "too_long": 1, "invalid_choices": 1}
    assert "10.0% of its choices" in report.examples["invalid_choices"][0]
    assert stats["files_without_record"] == 1 and stats["kept_files"] == 2


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, source: Path) -> None:
    _, counted = filter_trajectories(source, tmp_path / "out", FilterConfig(3, 6), dry_run=True)
    assert not (tmp_path / "out").exists()
    _, done = filter_trajectories(source, tmp_path / "out", FilterConfig(3, 6))
    assert counted == done


@given(
    outcomes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["WIN", "LOSS"]))),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_wins_and_losses_of_each_player_are_balanced(
    outcomes: list[tuple[str, str]], seed: int, order: random.Random
) -> None:
    files = [
        Path("gen1ou", replace(make_name(i, outcome=outcome), player=player).filename)
        for i, (player, outcome) in enumerate(outcomes)
    ]
    dropped = surplus_outcomes(files, seed)
    kept = Counter(o for i, o in enumerate(outcomes) if files[i] not in dropped)
    for player in "abc":
        fewer = min(outcomes.count((player, "WIN")), outcomes.count((player, "LOSS")))
        assert kept[player, "WIN"] == kept[player, "LOSS"] == fewer
    order.shuffle(files)
    assert set(surplus_outcomes(files, seed)) == set(dropped)
    later = [Path(file.parent, file.name.replace("2026", "2027")) for file in files]
    again = {file.name.replace("2027", "2026") for file in surplus_outcomes(later, seed)}
    assert again == {file.name for file in dropped}


def test_balancing_is_counted(tmp_path: Path) -> None:
    for number, outcome in enumerate(("WIN", "LOSS", "WIN", "WIN", "LOSS")):
        states, actions = make_battle(number + 1, outcome)
        name = make_name(number, outcome=outcome)
        write_trajectory(tmp_path / "source" / "gen1ou", name, states, actions)
    report, stats = filter_trajectories(tmp_path / "source", tmp_path / "out", balance_seed=1)
    assert report.reasons == {"surplus_outcome": 1}
    assert stats["kept_outcomes"] == {"LOSS": 2, "WIN": 2} and stats["balance_seed"] == 1
    assert len(list((tmp_path / "out").rglob("*.lz4"))) == 4
