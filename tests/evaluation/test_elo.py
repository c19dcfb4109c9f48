import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.evaluation.elo import gxe, last_ratings, progression
from metamon_ext.evaluation.games import Game, Games

results = st.lists(
    st.tuples(
        st.sampled_from([("a", "b"), ("b", "a"), ("c", "a"), ("b", "c")]),
        st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=50,
)


def games_of(rows):
    return Games.of(Game(a, b, i, score) for i, ((a, b), score) in enumerate(rows))


def test_elo_by_hand():
    games = games_of([(("a", "b"), 1.0), (("b", "c"), 0.5), (("c", "a"), 1.0)])
    after = progression(games, k_factor=32, initial_rating=1500)
    assert after[0].tolist() == [1516, 1484]
    b_expected = 1 / (1 + 10 ** (16 / 400))
    assert after[1] == pytest.approx(
        [1484 + 32 * (0.5 - b_expected), 1500 - 32 * (0.5 - b_expected)]
    )
    c = after[1, 1]
    c_expected = 1 / (1 + 10 ** ((1516 - c) / 400))
    assert after[2] == pytest.approx([c + 32 * (1 - c_expected), 1516 - 32 * (1 - c_expected)])
    assert last_ratings(games, after) == pytest.approx(
        {"a": after[2, 1], "b": after[1, 0], "c": after[2, 0]}
    )


@given(results, st.floats(1e-3, 1e9), st.floats(-1e4, 1e4))
def test_elo_only_moves_points_from_one_to_the_other(rows, k_factor, initial):
    games = games_of(rows)
    after = progression(games, k_factor, initial)
    assert after.shape == (len(rows), 2)
    ratings = dict.fromkeys(games.players, initial)
    for game, (a, b) in zip(games, after, strict=True):
        gain = a - ratings[game.player_a]
        assert gain == pytest.approx(ratings[game.player_b] - b, abs=1e-9 * k_factor)
        assert abs(gain) <= k_factor * (1 + 1e-9)
        assert game.score == 0.5 or (gain >= 0) == (game.score == 1.0) or gain == 0
        ratings |= {game.player_a: a, game.player_b: b}
    assert last_ratings(games, after) == pytest.approx(ratings)


def test_elo_depends_on_the_order_which_is_why_it_is_not_what_to_read():
    rows = [(("a", "b"), 1.0)] * 10 + [(("a", "b"), 0.0)] * 10
    assert progression(games_of(rows))[-1, 0] < 1500 < progression(games_of(rows[::-1]))[-1, 0]


@given(st.floats(0, 4000), st.floats(0, 350))
def test_gxe_is_what_showdowns_login_server_computes(rating, deviation):
    exponent = (1500 - rating) / 400 / math.sqrt(1 + 0.0000100724 * (deviation**2 + 130 * 130))
    assert gxe(rating, deviation) == pytest.approx(100 / (1 + 10**exponent), abs=1e-3)


def test_gxe_is_half_for_an_average_player_and_nearer_to_it_for_an_unknown_one():
    assert gxe(1500, 0) == gxe(1500, 130) == 50
    assert 50 < gxe(1800, 130) < gxe(1800, 25) < 100
    assert gxe(1800, 50) + gxe(1200, 50) == pytest.approx(100)
    assert np.isfinite(gxe(1e5, 0))
