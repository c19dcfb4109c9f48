"""Policies by name: what is found, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.policy import CHUNK, in_chunks, make_policy, parse_policy, with_options
from metamon_ext.errors import UserError


@pytest.mark.parametrize(
    "name",
    [
        "random?epsilon",
        "random?=&",
        ":Class",
        ".relative:Class",
        "os:sep",
        "os:no",
        "json:JSONDecoder",
    ],
)
def test_a_name_that_cannot_be_read_is_refused_with_the_name(name: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_policy(name)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("epsilon", ["1.5", "-0.1", "nan", "often"])
def test_epsilon_is_a_probability(epsilon: str) -> None:
    with pytest.raises(UserError, match=f"epsilon={epsilon}"):
        make_policy(f"random?epsilon={epsilon}")


def test_a_policy_that_lacks_a_file_is_refused_with_both_names(tmp_path: Path) -> None:
    missing = tmp_path / "weights"
    with pytest.raises(UserError, match=f"tests.support.arena_policies:Reading.*{missing}"):
        make_policy(f"tests.support.arena_policies:Reading?path={missing}")


def test_every_decision_gets_its_own_row_and_no_padding() -> None:
    batches = []

    def forward(chunk: Any) -> list[int]:
        batches.append(len(chunk))
        return [10 * decision for decision in chunk] + [-1] * (CHUNK - len(chunk))

    decisions: list[Any] = list(range(2 * CHUNK + 3))
    assert list(in_chunks(decisions, forward)) == [(d, 10 * d) for d in decisions]
    assert batches == [CHUNK, CHUNK, 3]
    assert list(in_chunks([], forward)) == []


def test_a_checkpoint_is_found_in_a_folder_whose_name_has_a_question_mark(tmp_path: Path) -> None:
    run = tmp_path / "a?b" / "run"
    run.mkdir(parents=True)
    named = with_options(str(run), temperature=0.5)
    assert named == f"{run}?temperature=0.5" == with_options(named, temperature=0.7)
    for name, options in ((str(run), {}), (named, {"temperature": "0.5"})):
        assert parse_policy(name)[1] == {"checkpoint": str(run)} | options
