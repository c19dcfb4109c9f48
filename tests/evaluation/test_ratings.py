import random
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import Game
from metamon_ext.evaluation.ratings import bradley_terry

results = st.lists(
    st.tuples(
        st.sampled_from([*combinations("abcde", 2)]),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from([1, 1, 300]),
    ),
    min_size=1,
    max_size=30,
)


def games_of(rows):
    return [Game(a, b, pair, score) for (a, b), pair, score, times in rows for _ in range(times)]


def league(rng, elo, pairs):
    """A round robin of players whose true ratings are `elo`, by name."""
    return [
        Game(a, b, pair, float(rng.random() < 1 / (1 + 10 ** ((elo[b] - elo[a]) / 400))))
        for a, b in combinations(elo, 2)
        for pair in range(pairs)
        for _ in range(2)
    ]


@settings(max_examples=40, deadline=None)
@given(results, st.randoms())
def test_neither_order_nor_naming_of_the_games_changes_anything(rows, rng):
    games = games_of(rows)
    expected = bradley_terry(games, resamples=20)
    rng.shuffle(games)
    games = [
        Game(g.player_b, g.player_a, g.pair, 1 - g.score) if rng.random() < 0.5 else g
        for g in games
    ]
    assert bradley_terry(games, resamples=20) == expected


@settings(max_examples=40, deadline=None)
@given(results)
def test_ratings_maximise_the_documented_likelihood(rows):
    """Against scipy's optimiser on the formula, with sweeps of 300 games among the results."""
    games = games_of(rows)
    ratings = {r.player: r.rating for r in bradley_terry(games, resamples=2)}
    index = {player: i for i, player in enumerate(ratings)}
    a, b = (np.array([index[getattr(g, side)] for g in games]) for side in ("player_a", "player_b"))
    score = np.array([g.score for g in games])

    def loss(theta):
        def log_sigma(x):
            return -np.logaddexp(0, -x)

        gap = theta[a] - theta[b]
        likelihood = (score * log_sigma(gap) + (1 - score) * log_sigma(-gap)).sum()
        return -likelihood - (log_sigma(theta) + log_sigma(-theta)).sum()

    theta = minimize(loss, np.zeros(len(index)), options={"gtol": 1e-7}).x
    expected = 1500 + (theta - theta.mean()) * 400 / np.log(10)
    assert np.allclose(list(ratings.values()), expected, atol=0.5)


def test_known_strengths_are_recovered():
    truth = {"best": 1900.0, "good": 1650.0, "fair": 1500.0, "poor": 1350.0, "worst": 1100.0}
    ratings = bradley_terry(league(random.Random(0), truth, pairs=2000))
    assert [r.player for r in ratings] == list(truth)
    for r in ratings:
        assert abs(r.rating - truth[r.player]) < 15
        assert r.low < r.rating < r.high
        assert r.high - r.low < 50
        assert r.games == 16000


@pytest.mark.parametrize(("spread", "pairs"), [(0, 50), (250, 50), (0, 3), (250, 3)])
def test_intervals_cover_the_truth_95_percent_of_the_time(spread, pairs):
    truth = {name: 1500 + spread * (1.5 - i) for i, name in enumerate("abcd")}
    rng, leagues = random.Random(spread), 300
    covered = sum(
        r.low <= truth[r.player] <= r.high
        for _ in range(leagues)
        for r in bradley_terry(league(rng, truth, pairs), resamples=300)
    )
    # Four players of one league err together: counted as two.
    error = 2.5 * np.sqrt(0.95 * 0.05 / (2 * leagues))
    assert 0.95 - error < covered / (4 * leagues) < (0.95 if pairs > 10 else 0.97) + error


def test_superiority_is_the_chance_to_be_truly_stronger():
    """Of the neighbours that it calls 80 % sure, 80 % are in the right order, and so on."""
    rng, said, true = random.Random(0), [], []
    for _ in range(400):
        truth = {name: rng.gauss(1500, 200) for name in "abc"}
        ratings = bradley_terry(league(rng, truth, pairs=8), resamples=200)
        assert ratings[-1].superiority is None
        for above, below in pairwise(ratings):
            said.append(above.superiority)
            true.append(truth[above.player] > truth[below.player])
    said, true = np.array(said), np.array(true)
    assert said.min() >= 0.5
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        bin_ = (low <= said) & (said <= high)
        error = 2.5 * np.sqrt(0.25 / bin_.sum())
        assert abs(said[bin_].mean() - true[bin_].mean()) < error


def test_intervals_do_not_take_the_two_games_of_a_pair_for_two_proofs():
    rng = random.Random(0)
    once = league(rng, dict.fromkeys("abc", 1500.0), pairs=100)
    single = [Game(g.player_a, g.player_b, i, g.score) for i, g in enumerate(once)]
    width = {r.player: r.high - r.low for r in bradley_terry(single)}
    doubled = {r.player: r.high - r.low for r in bradley_terry(single * 2)}
    for player in "abc":
        assert doubled[player] == pytest.approx(width[player], rel=0.1)


@pytest.mark.parametrize("games", [1, 20, 2000])
def test_who_has_only_won_or_only_lost_has_a_finite_rating_and_an_interval(games):
    sweep = [Game("winner", "loser", i // 2, 1.0) for i in range(games)]
    winner, loser = bradley_terry(sweep)
    assert (winner.player, loser.player) == ("winner", "loser")
    assert winner.rating + loser.rating == pytest.approx(3000)
    for r in (winner, loser):
        assert r.low < r.rating < r.high
        assert 100 < r.high - r.low < 2000
    # The less was seen, the nearer they stay.
    gap = {1: (100, 250), 20: (300, 900), 2000: (1000, 2500)}[games]
    assert gap[0] < winner.rating - loser.rating < gap[1]


def test_an_anchor_shifts_all_players_alike():
    games = league(random.Random(1), {"a": 1700.0, "b": 1500.0, "c": 1200.0}, pairs=30)
    free = {r.player: r.rating for r in bradley_terry(games)}
    fixed = {r.player: r for r in bradley_terry(games, anchor="c", anchor_rating=1000.0)}
    assert np.mean(list(free.values())) == pytest.approx(1500)
    assert [fixed["c"].rating, fixed["c"].low, fixed["c"].high] == pytest.approx([1000] * 3)
    for player in "ab":
        assert fixed[player].rating - 1000 == pytest.approx(free[player] - free["c"])
        assert fixed[player].low < fixed[player].rating < fixed[player].high


def test_an_unknown_anchor_is_named_with_the_choices():
    with pytest.raises(UserError, match=r"'ghost' has no games; choose one of: a, b"):
        bradley_terry([Game("a", "b", 0, 1.0)], anchor="ghost")


def test_a_league_without_games_has_no_ratings():
    assert bradley_terry([]) == []
