"""Games whose answer is known: from noisy results, the intervals cover it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import Game, Games
from metamon_ext.evaluation.meta_game import MetaGame, analyze
from metamon_ext.evaluation.meta_solvers import nash, uniform
from metamon_ext.evaluation.payoffs import Estimate, PayoffMatrix, choose_players

Matrix = NDArray[np.float64]
CYCLE = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])


def league(rng: np.random.Generator, rates: Matrix, pairs: int, split: float = 0.0) -> Games:
    """Games in mirrored pairs of players "a", "b", ... with these true win rates.

    `split` is the share of pairs that the teams decide, so that each player wins one game.
    """
    n = len(rates)
    a, b = np.triu_indices(n, 1)
    first, second = (rng.random((2, len(a), pairs)) < rates[a, b][:, None]).astype(float)
    second = np.where(rng.random(first.shape) < split, 1 - first, second)
    columns = (np.repeat(each, 2 * pairs) for each in (a, b))
    score = np.stack([first, second], axis=2).ravel()
    return Games([chr(97 + i) for i in range(n)], *columns, np.arange(len(score)) // 2, score)


def spinning_top(strengths: Sequence[float], cycle: float) -> Matrix:
    """Log odds: a ladder, and a cycle of its first three players."""
    log_odds = np.subtract.outer(strengths, strengths).astype(float)
    log_odds[:3, :3] += cycle * CYCLE
    return log_odds


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def by_player(game: MetaGame) -> dict[str, Estimate]:
    return {member.rating.player: member.probability for member in game.members}


@pytest.mark.parametrize(("rate", "pairs"), [(0.5, 4), (0.8, 10), (0.97, 50)])
def test_the_posterior_of_a_win_rate_covers_it(rate: float, pairs: int) -> None:
    """In mirrored pairs, of which the teams decide none, and half."""
    rng, leagues = np.random.default_rng(0), 120
    rates = np.array([[0.5, rate], [1 - rate, 0.5]])
    for split in (0.0, 0.5):
        truth = rate * (1 - split) + split / 2
        covered = 0
        for seed in range(leagues):
            payoffs = PayoffMatrix.of(league(rng, rates, pairs, split), "ab")
            drawn = payoffs.posterior(400, seed)[:, 0, 1]
            low, high = np.quantile(drawn, [0.025, 0.975])
            covered += low <= truth <= high
        assert covered / leagues > 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / leagues)


def test_single_games_have_the_posterior_of_a_beta_distribution() -> None:
    games = Games.of(Game("a", "b", i, float(i < 7)) for i in range(10))
    drawn = PayoffMatrix.of(games, "ab").posterior(20_000)
    assert drawn[:, 0, 1].mean() == pytest.approx(8 / 12, abs=0.005)
    assert drawn[:, 0, 1].std() == pytest.approx(np.sqrt(8 * 4 / 12**2 / 13), rel=0.03)
    assert drawn + drawn.transpose(0, 2, 1) == pytest.approx(np.ones((20_000, 2, 2)))


def test_players_that_have_not_met_may_have_any_win_rate() -> None:
    games = Games.of([Game("a", "b", 0, 1.0), Game("b", "c", 1, 0.5)])
    payoffs = PayoffMatrix.of(games, "abc")
    assert payoffs.unplayed == 1 and np.isnan(payoffs.observed[0, 2])
    assert payoffs.win_rates[0] == pytest.approx([0.5, 2 / 3, 0.5])
    low, high = np.quantile(payoffs.posterior(2000)[:, 0, 2], [0.025, 0.975])
    assert low < 0.04 and high > 0.96


def test_the_order_of_the_players_and_of_a_game_changes_nothing() -> None:
    games = league(np.random.default_rng(0), expit(spinning_top([2, 1, 0, 0], 1)), 20)
    mirrored = [Game(g.player_b, g.player_a, g.pair, 1 - g.score) for g in games]
    one, other = PayoffMatrix.of(games, "abcd"), PayoffMatrix.of(Games.of(mirrored), "dbca")
    order = [3, 1, 2, 0]
    assert (other.points == one.points[np.ix_(order, order)]).all()
    assert (other.games == one.games[np.ix_(order, order)]).all()


def test_players_are_left_out_until_all_pairs_are_covered() -> None:
    met = {"ab": 9, "ac": 9, "bc": 9, "ad": 9, "bd": 2, "cd": 3, "ae": 30}
    games = Games.of(
        Game(*pair, 100 * i + game, 1.0)
        for i, (pair, count) in enumerate(met.items())
        for game in range(count)
    )
    assert choose_players(games) == [*"abcde"]
    assert choose_players(games, min_games=1) == [*"abcd"]
    assert choose_players(games, min_games=4) == [*"abc"]
    assert choose_players(games, min_games=10) == [*"ae"]
    assert choose_players(games, "dab", min_games=3) == [*"ab"]
    for players, lowest, said in (
        ("", 31, "Fewer than two of the 5 players remain. Lower --min_games 31."),
        ("a", 0, "Fewer than two of the 1 players remain. Name two players."),
        ("ax", 0, "Player 'x' has no games."),
        ("be", 0, "Player 'b' has no games against the other players."),
    ):
        with pytest.raises(UserError) as error:
            choose_players(games, players, lowest)
        assert str(error.value).startswith(said)


def test_rock_paper_scissors_with_noise() -> None:
    """All of the strength is cyclic, and all three are worth the same."""
    rng = np.random.default_rng(0)
    for seed in range(3):
        game = analyze(league(rng, expit(CYCLE), 100), "abc", draws=100, seed=seed)
        assert game.cyclic_share.value > 0.9 and covers(game.cyclic_share, 1)
        assert game.deviation_gain.high < 1e-6
        for member in game.members:
            assert covers(member.nash_average, 0) and member.nash_average.value < 1e-6


def test_intervals_of_a_meta_strategy_cover_the_equilibrium() -> None:
    """Of rock-paper-scissors, where it is 1/3 each."""
    rng, leagues, hits = np.random.default_rng(0), 16, []
    for seed in range(leagues):
        payoffs = PayoffMatrix.of(league(rng, expit(CYCLE), 100), "abc")
        sigma = np.array([nash(rates) for rates in payoffs.posterior(100, seed)])
        low, high = np.quantile(sigma, [0.025, 0.975], axis=0)
        hits += [*(low <= 1 / 3) & (high >= 1 / 3)]
    # The three of a league err together: counted as 1.5. 100 draws give a little less than 95 %.
    assert np.mean(hits) > 0.93 - 2.5 * np.sqrt(0.93 * 0.07 / (1.5 * leagues))


def test_a_transitive_ladder() -> None:
    """The best player is the equilibrium, and nothing is cyclic."""
    rng, covered = np.random.default_rng(1), []
    for seed in range(6):
        rates = expit(spinning_top([2.4, 1.2, 0.6, 0, -0.6, -1.2], 0))
        game = analyze(league(rng, rates, 50), "abcdef", draws=100, seed=seed)
        best = game.members[0]
        assert best.rating.player == "a" and by_player(game)["a"].value == pytest.approx(1)
        assert game.cyclic_share.value < 0.03 and covers(game.cyclic_share, 0)
        assert game.uncorrected_cyclic_share > game.cyclic_share.value
        truth = dict(zip("abcdef", rates[:, 0] - 0.5, strict=True))
        covered += [covers(each.nash_average, truth[each.rating.player]) for each in game.members]
    assert np.mean(covered) > 0.8


def test_a_spinning_top() -> None:
    """A cycle of three at the top, which all beat the rest: the equilibrium is in the cycle."""
    rng, shares = np.random.default_rng(2), []
    log_odds = spinning_top([1.5, 1.5, 1.5, 0, -0.8, -1.5], 1.4)
    ratings = log_odds.mean(1)
    cyclic = log_odds - np.subtract.outer(ratings, ratings)
    truth = (cyclic**2).sum() / (log_odds**2).sum()
    for seed in range(8):
        game = analyze(league(rng, expit(log_odds), 100), "abcdef", draws=100, seed=seed)
        strategy = by_player(game)
        assert all(covers(strategy[player], 0) for player in "def")
        assert sum(strategy[player].value for player in "abc") > 0.999
        shares.append(covers(game.cyclic_share, truth))
    assert 0.05 < truth < 0.2 and sum(shares) >= 7


def test_a_strategy_that_is_not_nash_has_a_deviation_gain() -> None:
    games = league(np.random.default_rng(0), expit(spinning_top([2, 0, -1], 0)), 50)
    game = analyze(games, "abc", uniform)
    expected = game.payoffs.win_rates.mean(1).max() - 0.5
    assert game.deviation_gain.value == pytest.approx(expected)
    assert {estimate.value for estimate in by_player(game).values()} == {1 / 3}
    explored = analyze(games, "abc", exploration=0.3)
    assert by_player(explored)["c"].low == pytest.approx(0.1)
    assert explored.deviation_gain.value > 0


def test_games_of_several_tournaments_are_joined() -> None:
    one = Games.of([Game("a", "b", 7, 1.0), Game("a", "b", 7, 0.0)])
    two = Games.of([Game("c", "a", 7, 0.5)])
    joined = Games.concatenate([one, two, one])
    assert [(g.player_a, g.player_b, g.pair, g.score) for g in joined] == [
        *(("a", "b", 0, 1.0), ("a", "b", 0, 0.0), ("c", "a", 2, 0.5)),
        *(("a", "b", 3, 1.0), ("a", "b", 3, 0.0)),
    ]
    assert len(joined.among("ab")) == 4 and len(joined.among("c")) == 0
