"""A race finds the best candidate with the error that it states, and with few battles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metamon_ext.errors import UserError
from metamon_ext.evaluation.racing import Race, RaceStanding
from metamon_ext.evaluation.schedules import NO_GAMES, Counts
from metamon_ext.evaluation.sprt import expected_score

Rows = NDArray[np.int64]


def play_pairs(rng: np.random.Generator, elo: float, pairs: int) -> Rows:
    """Wins, ties and losses in mirrored pairs of a player who is so much better."""
    wins = (rng.random((pairs, 2)) < expected_score(elo)).sum(1)
    return np.stack([wins, np.zeros_like(wins), 2 - wins], axis=1)


def run(race: Race, elo: dict[str, float], rng: np.random.Generator) -> tuple[RaceStanding, int]:
    """A race of candidates of these ratings: how it ends, and after how many battles."""
    outcomes = dict.fromkeys(race.pairings, NO_GAMES)
    played: Counts = {}
    while (wanted := race(outcomes, played)) != played:
        for (a, b), battles in wanted.items():
            more = battles // 2 - len(outcomes[a, b])
            new = play_pairs(rng, elo[a] - elo[b], more)
            outcomes[a, b] = np.concatenate([outcomes[a, b], new])
        played = wanted
    return race.standing(outcomes), sum(played.values())


def round_robin(elo: dict[str, float], pairs: int, rng: np.random.Generator) -> str:
    """The winner of a round robin."""
    points = dict.fromkeys(elo, 0.0)
    for a, b in Race(list(elo)).pairings:
        won = play_pairs(rng, elo[a] - elo[b], pairs)[:, 0].sum()
        points[a] += won
        points[b] += 2 * pairs - won
    return max(points, key=points.__getitem__)


def is_far_from_best(leader: str, elo: dict[str, float], indifference: float = 20.0) -> bool:
    return max(elo.values()) - elo[leader] > indifference


def test_it_errs_as_rarely_as_it_says_and_needs_under_half_of_a_round_robin() -> None:
    """Ten checkpoints of a run, 40 Elo apart as a rule: 40 races, error 0.05.

    A round robin of 20 pairs, 1,800 battles, errs more often.
    """
    rng = np.random.default_rng(0)
    missed, missed_round_robin, battles = 0, 0, []
    for _ in range(40):
        elo = {f"step {i}": float(x) for i, x in enumerate(rng.normal(0, 40, 10))}
        standing, played = run(Race(list(elo)), elo, rng)
        assert standing.decided and standing.error <= 0.05
        missed += is_far_from_best(standing.leader, elo)
        missed_round_robin += is_far_from_best(round_robin(elo, 20, rng), elo)
        battles.append(played)
    assert missed <= 4  # P(more | 0.05) < 0.05
    assert missed < missed_round_robin
    assert np.mean(battles) < 0.45 * 1800


def test_against_one_opponent_the_best_wins_too() -> None:
    rng = np.random.default_rng(1)
    elo = {"a": 0.0, "b": 150.0, "c": 20.0, "mixture": 60.0}
    for _ in range(10):
        standing, _ = run(Race(["a", "b", "c"], opponent="mixture", limit=600), elo, rng)
        assert standing.leader == "b" and standing.decided


def test_equal_candidates_are_soon_indifferent_and_the_limit_holds() -> None:
    rng = np.random.default_rng(2)
    elo = dict.fromkeys("abcd", 0.0)
    _, battles = run(Race("abcd", limit=3000), elo, rng)
    assert battles < 3000
    standing, battles = run(Race("abcd", indifference=1.0, limit=100), elo, rng)
    assert battles == 100 and not standing.decided


def test_one_candidate_needs_no_battle() -> None:
    race = Race(["only"])
    assert run(race, {"only": 0.0}, np.random.default_rng(0))[1] == 0
    assert race.standing({}).leader == "only" and race.standing({}).decided


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=3, max_size=3))
def test_names_and_order_do_not_matter(results: list[tuple[int, int]]) -> None:
    """The ratings of a race depend on the results alone, up to the noise of the draws."""
    rows = {
        pairing: np.array([[2, 0, 0]] * wins + [[0, 0, 2]] * losses).reshape(-1, 3)
        for pairing, (wins, losses) in zip(Race("abc").pairings, results, strict=True)
    }
    ours = Race("abc").standing(rows).elo
    turned = {(b, a): each[:, ::-1] for (a, b), each in rows.items()}
    theirs = Race("cba").standing(turned).elo
    for candidate in "abc":
        assert ours[candidate] == pytest.approx(theirs[candidate], abs=12)


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": []},
        {"candidates": ["a", "a"]},
        {"candidates": ["a", "b"], "error": 0.0},
        {"candidates": ["a", "b"], "indifference": 0.0},
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UserError, match="A race needs"):
        Race(**settings)  # type: ignore[arg-type]
