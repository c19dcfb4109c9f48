import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamon_ext.benchmarks.rating import PAIR_ROWS, pair_chances
from metamon_ext.errors import UserError
from metamon_ext.evaluation.adaptive import allocate, decided, doubts, fit
from metamon_ext.evaluation.games import Game
from metamon_ext.evaluation.ratings import ELO_PER_NAT, bradley_terry


def nothing_played(players):
    return {pairing: np.zeros((0, 3), dtype=int) for pairing in combinations(players, 2)}


def play(outcomes, elo, given, rng):
    """The outcomes with so many more pairs of each pairing, of players of these true ratings."""
    chances = pair_chances(np.array([[elo[player] for player in sorted(elo)]]))[0]
    law = dict(zip(combinations(sorted(elo), 2), chances, strict=True))
    return {
        pairing: np.concatenate([rows, PAIR_ROWS[rng.choice(5, given[pairing], p=law[pairing])]])
        for pairing, rows in outcomes.items()
    }


def evenly(elo, pairs, seed=0):
    outcomes = nothing_played(sorted(elo))
    return play(outcomes, elo, dict.fromkeys(outcomes, pairs), np.random.default_rng(seed))


LEAGUE = {"a": 0.0, "b": 10.0, "c": 400.0, "d": 800.0}


def test_every_pairing_gets_its_first_pairs_before_any_gets_more():
    outcomes = nothing_played("abcde")
    assert set(allocate(outcomes, 20).values()) == {2}
    assert sum(allocate(outcomes, 7).values()) == 7
    outcomes["a", "b"] = np.array([[2, 0, 0]] * 50)
    assert allocate(outcomes, 27, least=3)["a", "b"] == 0


def test_battles_go_where_the_order_is_in_doubt():
    given = allocate(evenly(LEAGUE, 30), 40)
    assert given["a", "b"] >= 36
    assert sum(given.values()) == 40


def test_neighbours_of_an_unclear_order_share_the_battles():
    """a, b and c are close to each other, x and y too, and far from these."""
    elo = {"a": 0.0, "b": 5.0, "c": 10.0, "x": 600.0, "y": 605.0}
    given = allocate(evenly(elo, 40), 100)
    assert sum(n for (p, q), n in given.items() if (p in "abc") == (q in "abc")) == 100
    assert min(given["x", "y"], given["a", "b"] + given["a", "c"] + given["b", "c"]) > 10


def test_the_same_results_in_any_order_get_the_same_battles():
    outcomes = evenly({p: 30.0 * i for i, p in enumerate("abcdefgh")}, 6)
    expected = allocate(outcomes, 60)
    shuffled = random.Random(0).sample(list(outcomes), len(outcomes))
    rng = np.random.default_rng(0)
    assert allocate({p: rng.permutation(outcomes[p]) for p in shuffled}, 60) == expected


def test_who_is_named_first_does_not_matter():
    outcomes = evenly({p: 30.0 * i for i, p in enumerate("abcde")}, 8)
    turned = {(b, a): rows[:, ::-1] for (a, b), rows in outcomes.items()}
    assert list(allocate(turned, 30).values()) == list(allocate(outcomes, 30).values())
    assert list(doubts(turned).values()) == pytest.approx(list(doubts(outcomes).values()))


def test_in_a_gauntlet_only_the_candidate_is_placed():
    everybody = evenly(LEAGUE, 10)
    gauntlet = {pairing: rows for pairing, rows in everybody.items() if "b" in pairing}
    given = allocate(gauntlet, 30)
    assert given.keys() == gauntlet.keys() == doubts(gauntlet).keys()
    assert given["a", "b"] == 30


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_ratings_are_those_of_the_report(data):
    scores = {
        pairing: data.draw(st.lists(st.sampled_from([(2, 0, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1)])))
        for pairing in combinations("abcd", 2)
    }
    outcomes = {pairing: np.array(s, dtype=int).reshape(-1, 3) for pairing, s in scores.items()}
    games = [
        Game(a, b, pair, score)
        for (a, b), rows in outcomes.items()
        for pair, row in enumerate(rows)
        for score, times in zip((1.0, 0.5, 0.0), row, strict=True)
        for _ in range(times)
    ]
    known = {r.player: r.rating for r in bradley_terry(games, resamples=2)}
    if len(known) == 4:
        gaps = [known[a] - known[b] for a, b in outcomes]
        assert fit(outcomes).gap * ELO_PER_NAT == pytest.approx(gaps, abs=0.01)
    assert all(0 < doubt <= 0.5 for doubt in doubts(outcomes, 0).values())


def test_doubt_is_the_posterior_probability():
    """Of two players, against the integral over their difference: with the prior that each won and
    lost once against an average player, and pairs whose two games are independent."""
    rows = np.repeat(PAIR_ROWS, [20, 0, 52, 0, 28], axis=0)
    theta = np.linspace(-4, 4, 801)

    def log_sigma(x):
        return -np.logaddexp(0, -x)

    a, b = np.meshgrid(theta, theta, indexing="ij")
    log = 108 * log_sigma(a - b) + 92 * log_sigma(b - a)
    log += log_sigma(a) + log_sigma(-a) + log_sigma(b) + log_sigma(-b)
    posterior = np.exp(log - log.max())
    wrong = posterior[a < b - 10 / ELO_PER_NAT].sum() / posterior.sum()
    assert doubts({("a", "b"): rows}, 10)["a", "b"] == pytest.approx(wrong, abs=0.01)


def test_pairs_that_teams_decide_count_for_more_than_pairs_alike():
    def pairs(*kinds):
        return {("a", "b"): np.repeat(PAIR_ROWS, kinds, axis=0)}

    split, alike = pairs(2, 0, 88, 0, 10), pairs(46, 0, 0, 0, 54)
    assert doubts(split)["a", "b"] < 0.7 * doubts(alike)["a", "b"]


def test_equals_are_decided_too():
    outcomes = evenly(dict.fromkeys("abc", 0.0), 1500)
    assert decided(outcomes, indifference=20)
    assert not decided(outcomes, indifference=0)
    assert not decided(nothing_played("abc"))


def test_leagues_end_decided_with_few_wrong_orders_and_few_battles():
    """At most 5 % of the players that are 20 Elo apart stand in the wrong order: those further
    apart are mistaken less often, so that far fewer are, and it takes less than half the battles of
    a round robin in which all play as often as the busiest."""
    rng, wrong, matters, busiest, played = np.random.default_rng(0), 0, 0, 0, 0
    for _ in range(12):
        elo = dict(zip("abcdef", rng.normal(0, 150, 6), strict=True))
        outcomes = nothing_played("abcdef")
        while not decided(outcomes):
            outcomes = play(outcomes, elo, allocate(outcomes, 15), rng)
        truth = np.array([elo[a] - elo[b] for a, b in outcomes])
        found = fit(outcomes).gap
        wrong += ((found * truth < 0) & (abs(truth) > 25)).sum()
        matters += (abs(truth) > 25).sum()
        busiest += 15 * max(map(len, outcomes.values()))
        played += sum(map(len, outcomes.values()))
    assert wrong < 0.05 * matters
    assert played < 0.5 * busiest


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="indifference of -1 Elo"):
        decided(nothing_played("ab"), indifference=-1)
    with pytest.raises(UserError, match="at least two players"):
        allocate({}, 5)
