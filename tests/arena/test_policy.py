"""Policies by name: what is found, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.policy import CHUNK, in_chunks
from metamon_ext.arena.policy_ref import PolicyRef, register_policy
from metamon_ext.errors import UserError
from tests.support.arena_policies import First
from tests.support.battles import play


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
        PolicyRef.resolve(name)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("epsilon", ["1.5", "-0.1", "nan", "often"])
def test_epsilon_is_a_probability(epsilon: str) -> None:
    with pytest.raises(UserError, match=f"epsilon={epsilon}"):
        PolicyRef.resolve(f"random?epsilon={epsilon}").build()


def test_a_policy_that_lacks_a_file_is_refused_with_both_names(tmp_path: Path) -> None:
    missing = tmp_path / "weights"
    with pytest.raises(UserError, match=f"tests.support.arena_policies:Reading.*{missing}"):
        PolicyRef.resolve(f"tests.support.arena_policies:Reading?path={missing}").build()


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
    policy = PolicyRef.resolve(str(run))
    warm = policy.with_options(temperature=0.5)
    assert warm.name == f"{run}?temperature=0.5" == warm.with_options(temperature=0.7).name
    for one, options in ((policy, {}), (warm, {"temperature": "0.5"})):
        assert one.options == {"checkpoint": str(run)} | options


class Own(First):
    """A policy of this file."""


def test_a_registered_policy_plays_by_its_name(schedule: Any) -> None:
    register_policy("mine", Own)
    specs = schedule("mine", "random", 1)
    (result,) = play(specs, workers=1)
    assert result.score is not None


def test_a_fingerprint_is_of_weights_and_options_not_of_the_name(tmp_path: Path) -> None:
    def fingerprint(name: str) -> str:
        return PolicyRef.resolve(name).fingerprint

    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, weights in ((one, "w"), (same, "w"), (other, "v")):
        path.write_text(weights)
    first, second, third = (
        fingerprint(f"tests.support.arena_policies:WithWeights?file={path}")
        for path in (one, same, other)
    )
    assert first == second != third
    assert fingerprint("random") == fingerprint("random") != fingerprint("random?epsilon=0.1")
    assert fingerprint("random") != fingerprint("max_base_power")
