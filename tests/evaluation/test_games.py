import math
from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from metamon_ext.evaluation.games import Game, Games, head_to_head, score_pairs, tally

# The chances that a pair brings its first player 2, 1 or 0 points (unpaired: 1 or 0).
PAIRINGS = {
    "unpaired": lambda p, q: [p, q],
    "independent": lambda p, q: [p * p, 2 * p * q, q * q],
    "teams decide": lambda p, q: [p * p - 0.8 * q * q, 2 * q * (p + 0.8 * q), 0.2 * q * q],
    "games alike": lambda p, q: [p - 0.2 * p * q, 0.4 * p * q, q - 0.2 * p * q],
}


@pytest.mark.parametrize("rate", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_interval_covers_the_truth_95_percent_of_the_time(pairing, rate):
    """Exactly: over all results that 50 pairs can have, weighed by their chance."""
    chances = PAIRINGS[pairing](rate, 1 - rate)
    games = len(chances) - 1  # of a pair
    kinds = [(games - lost, 0, lost) for lost in range(games + 1)]
    coverage = 0.0
    for counts in product(range(51), repeat=games):
        if sum(counts) <= 50:
            counts = (*counts, 50 - sum(counts))
            result = score_pairs(np.repeat(kinds, counts, axis=0))
            coverage += (result.low <= rate <= result.high) * multinomial.pmf(counts, 50, chances)
    assert 0.94 < coverage < 0.98


def test_pairs_that_the_teams_decide_say_more_than_as_many_single_battles():
    mirrored = [Game("a", "b", i, s) for i in range(50) for s in (1.0, 1.0 if i < 5 else 0.0)]
    single = [Game("a", "b", i, g.score) for i, g in enumerate(mirrored)]
    paired, alone = (head_to_head(games, "a", "b") for games in (mirrored, single))
    assert (paired.wins, paired.losses) == (alone.wins, alone.losses) == (55, 45)
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)


def test_pairs_whose_games_always_agree_say_as_little_as_half_the_battles():
    once = [Game("a", "b", i, float(i % 5 > 0)) for i in range(200)]
    twice, alone = head_to_head(once * 2, "a", "b"), head_to_head(once, "a", "b")
    assert twice.pairs == alone.pairs == 200
    assert np.allclose([twice.low, twice.high], [alone.low, alone.high], atol=2e-3)


def test_interval_of_single_battles_is_wilsons():
    games = [Game("a", "b", i, float(i < 930)) for i in range(1000)]
    reference = binomtest(930, 1000).proportion_ci(method="wilson")
    result = head_to_head(games, "a", "b")
    assert np.allclose([result.low, result.high], [reference.low, reference.high], atol=3e-4)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1
    ),
    st.randoms(),
)
def test_any_results_give_an_open_interval_that_mirrors_and_ignores_order(rows, rng):
    games = [
        Game("b", "a", pair, 1 - s) if seat else Game("a", "b", pair, s) for pair, s, seat in rows
    ]
    ours = head_to_head(games, "a", "b")
    assert ours.games == len(games)
    assert ours.pairs == len({g.pair for g in games})
    assert math.isclose(ours.win_rate, sum(s for _, s, _ in rows) / len(rows))
    assert 0 <= ours.low <= ours.win_rate <= ours.high <= 1
    assert ours.high - ours.low > 0.03

    theirs = head_to_head(games, "b", "a")
    assert (theirs.wins, theirs.losses, theirs.ties) == (ours.losses, ours.wins, ours.ties)
    assert np.allclose([1 - theirs.low, 1 - theirs.high], [ours.high, ours.low])

    rng.shuffle(games)
    assert head_to_head(games, "a", "b") == ours


def test_a_clean_sweep_is_not_certainty_and_more_of_it_is_worth_more():
    lows = [
        head_to_head([Game("a", "b", i // 2, 1.0) for i in range(2 * pairs)], "a", "b").low
        for pairs in (1, 5, 50, 500)
    ]
    assert lows == sorted(lows)
    assert lows[0] < 0.1
    assert 0.95 < lows[2] < 0.98


def test_only_the_two_players_games_count_and_none_is_no_evidence():
    games = [Game("a", "b", 0, 1.0), Game("a", "c", 0, 0.0), Game("c", "b", 0, 0.0)]
    assert head_to_head(games, "a", "b").games == 1
    nothing = head_to_head(games, "a", "d")
    assert math.isnan(nothing.win_rate)
    assert (nothing.games, nothing.low, nothing.high) == (0, 0.0, 1.0)


games = st.builds(
    Game,
    *[st.sampled_from("abcd")] * 2,
    st.integers(-(10**12), 10**12),
    st.sampled_from([0, 0.5, 1]),
)


@given(st.lists(games))
def test_columns_hold_the_same_games_in_the_same_order(rows):
    assert list(Games.of(rows)) == rows
    assert len(Games.of(rows)) == len(rows)


@given(st.lists(games))
def test_tally_counts_by_hand(rows):
    expected = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for g in rows:
        a, b, score = min((g.player_a, g.player_b, g.score), (g.player_b, g.player_a, 1 - g.score))
        expected[a, b][g.pair][[1, 0.5, 0].index(score if a != b else g.score)] += 1
    found = tally(rows)
    assert list(found) == sorted(expected)
    for players, outcomes in found.items():
        assert outcomes.tolist() == sorted(expected[players].values())
