"""The gate opens for a better candidate, and for no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metamon_ext.arena.rows import read_results
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.evaluation.sprt import in_words
from metamon_ext.workflows.gate import GateConfig

COMMON = ("--team_set", "sample", "--seed", "3")


def gate(candidate: str, base: str, *more: object) -> int:
    return main(["gate", "--candidate", candidate, "--base", base, *COMMON, *map(str, more)])


def test_a_better_candidate_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("max_base_power", "random", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "better" and answer["candidate"] == "max_base_power"
    assert answer["decided"].startswith("H1 accepted: max_base_power is at least 30 Elo stronger")
    assert answer["kind"] == "corrected"
    assert answer["wins"] > answer["losses"] and answer["low"] > 0
    assert answer["battles"] < 2000
    assert answer["wins"] + answer["losses"] + answer["ties"] == answer["battles"]


def test_a_worse_one_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("random", "simple_heuristics") == 1
    said = capsys.readouterr().out
    assert "random is not better than simple_heuristics" in said and "allowing for" in said


def test_a_test_against_regression_does_not_say_better(capsys: pytest.CaptureFixture[str]) -> None:
    bounds = ("--elo0", -600, "--elo1", -300)
    assert gate("simple_heuristics?epsilon=0.05", "simple_heuristics", *bounds) == 0
    said = capsys.readouterr().out
    assert "H1 accepted: simple_heuristics?epsilon=0.05 is at most 300 Elo weaker than" in said
    assert "better" not in said


@pytest.mark.parametrize("kind", ["corrected", "plain"])
def test_an_estimate_says_which_kind_it_is(kind: str) -> None:
    estimate = {"elo": 12.4, "low": -3.0, "high": 30.0, "kind": kind}
    said = in_words(estimate)
    assert said.startswith("+12 Elo, 95 % interval -3 to +30, ")
    assert ("plain, not corrected for early stopping" in said) == (kind == "plain")


def test_what_is_not_clear_at_the_limit_does_not_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And goes on from there with the same command."""
    more = ("--max_battles", 8, "--elo1", 5, "--output_dir", tmp_path)
    for _ in range(2):
        assert gate("simple_heuristics", "simple_heuristics?epsilon=0.3", *more) == 1
        assert "undecided at the limit" in capsys.readouterr().out
        assert len(read_results(tmp_path / "results.sqlite")) == 8


def test_without_a_whole_pair_nothing_is_decided(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("random", "max_base_power", "--max_battles", 1) == 1
    assert "no mirrored pair has finished: raise --num_battles" in capsys.readouterr().err
    assert gate("tests.support.arena_policies:Raising", "random", "--max_battles", 4) == 1
    assert "out of memory, say" in capsys.readouterr().err


def test_bounds_of_elo_may_be_whole_numbers_and_counts_are_checked() -> None:
    config = GateConfig(candidate="a", base="b", elo0=-10, elo1=0)
    assert (config.test.elo0, config.test.elo1) == (-10, 0)
    for name in ("num_battles", "workers", "turn_limit"):
        with pytest.raises(UserError, match=f"{name} must be a whole number of at least 1, not 0"):
            GateConfig(candidate="a", base="b", **{name: 0})


def test_gates_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("random", "random") == 2
    assert "are the same" in capsys.readouterr().err
    assert gate("random", "max_base_power", "--elo0", 20, "--elo1", 10) == 2
    assert gate("random", "max_base_power", "--alpha", 0.7) == 2
    assert gate("random", "nobody") == 2
