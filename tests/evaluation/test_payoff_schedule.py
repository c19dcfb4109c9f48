"""The payoff matrix is filled where the meta-strategy depends on it, within its limit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from metamon_ext.evaluation.adaptive import Pairing
from metamon_ext.evaluation.games import Game, Games
from metamon_ext.evaluation.meta_game import MetaGame, analyze
from metamon_ext.evaluation.meta_solvers import nash, uniform
from metamon_ext.evaluation.payoff_schedule import FIRST_PAIRS, PayoffSchedule
from metamon_ext.evaluation.schedules import NO_GAMES, Counts

Matrix = NDArray[np.float64]
CYCLE = np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])


class League:
    """Simulated players "a", "b", ... whose n-th mirrored pair always ends alike."""

    def __init__(self, log_odds: Matrix, seed: int = 0) -> None:
        self.rates = expit(log_odds)
        self.players = [chr(97 + i) for i in range(len(log_odds))]
        self._rng, self._wins = np.random.default_rng(seed), dict[Pairing, list[int]]()

    def outcomes(self, battles: Counts) -> dict[Pairing, NDArray[np.int64]]:
        found = {}
        for pairing, count in battles.items():
            wins = self._wins.setdefault(pairing, [])
            rate = self.rates[tuple(self.players.index(player) for player in pairing)]
            while len(wins) < count // 2:
                wins.append(int((self._rng.random(2) < rate).sum()))
            rows = [(won, 0, 2 - won) for won in wins[: count // 2]]
            found[pairing] = np.array(rows) if rows else NO_GAMES
        return found

    def play(self, schedule: PayoffSchedule) -> list[Counts]:
        """The rounds of a schedule."""
        rounds: list[Counts] = [{}]
        while (wanted := schedule(self.outcomes(rounds[-1]), rounds[-1])) != rounds[-1]:
            rounds.append(wanted)
        return rounds

    def analyze(self, battles: Counts) -> MetaGame:
        """The meta-game of these battles."""
        rows = [(p, won) for p, each in self.outcomes(battles).items() for won, _, _ in each]
        games = [
            Game(*pairing, pair, float(game < won))
            for pair, (pairing, won) in enumerate(rows)
            for game in range(2)
        ]
        return analyze(Games.of(games), self.players, draws=100)


def width(game: MetaGame) -> float:
    """Mean width of the intervals of the meta-strategy."""
    return float(np.mean([m.probability.high - m.probability.low for m in game.members]))


def ladder(*strengths: float) -> Matrix:
    return np.subtract.outer(strengths, strengths)


def cycle_and_weak_players() -> Matrix:
    """Log odds: a noisy cycle of three, and four that lose to all of these."""
    log_odds = ladder(0, 0, 0, -3, -3.5, -4, -4.5)
    log_odds[:3, :3] += 1.2 * CYCLE
    return log_odds


def test_battles_are_saved_where_nothing_depends_on_them() -> None:
    """A cycle of three and four weak players: 21 entries, of which three decide."""
    league = League(cycle_and_weak_players())
    battles = league.play(PayoffSchedule(league.players, limit=200, draws=100))[-1]
    decisive = {pairing for pairing in battles if set(pairing) <= set("abc")}
    rest = [count for pairing, count in battles.items() if pairing not in decisive]
    assert np.mean([battles[pairing] for pairing in decisive]) > 4 * np.mean(rest)
    filled = sum(battles.values()) // len(battles)
    assert filled < 80
    everywhere = dict.fromkeys(battles, filled - filled % 2)
    assert width(league.analyze(battles)) < 0.8 * width(league.analyze(everywhere))


def test_a_clear_best_player_needs_few_battles() -> None:
    league = League(ladder(4, 0, -1, -2))
    battles = league.play(PayoffSchedule(league.players, limit=1000, draws=100))[-1]
    assert sum(battles.values()) < 40 * len(battles)
    assert {n for pairing, n in battles.items() if "a" not in pairing} == {2 * FIRST_PAIRS}
    sigma = {m.rating.player: m.probability for m in league.analyze(battles).members}
    assert sigma["a"].low > 0.9


@pytest.mark.parametrize(
    ("log_odds", "truth"),
    [
        (1.0 * CYCLE, [1 / 3] * 3),
        (ladder(1.5, 0.5, 0, -0.5), [1, 0, 0, 0]),
    ],
    ids=["rock-paper-scissors", "ladder"],
)
def test_intervals_of_the_meta_strategy_cover_known_equilibria(
    log_odds: Matrix, truth: list[float]
) -> None:
    covered, leagues = np.zeros(len(truth)), 10
    for seed in range(leagues):
        league = League(log_odds, seed)
        game = league.analyze(league.play(PayoffSchedule(league.players, limit=24, draws=40))[-1])
        sigma = {m.rating.player: m.probability for m in game.members}
        for i, player in enumerate(league.players):
            covered[i] += sigma[player].low - 1e-9 <= truth[i] <= sigma[player].high + 1e-9
    assert covered.min() >= leagues - 2  # P(fewer | 0.95) = 0.012
    assert covered.mean() > 0.9 * leagues


@settings(max_examples=25)
@given(
    st.lists(st.floats(-2, 2), min_size=3, max_size=4),
    st.integers(2, 41),
    st.integers(0, 100),
)
def test_rounds_only_grow_within_the_limit_and_depend_on_results_alone(
    strengths: list[float], limit: int, earlier: int
) -> None:
    league = League(ladder(*strengths))
    schedule = PayoffSchedule(league.players, limit, given={("a", "b"): earlier}, look=8, draws=20)
    rounds = league.play(schedule)
    for before, after in pairwise(rounds[1:]):
        assert all(before[pairing] <= after[pairing] for pairing in before)
        assert 0 < sum(after.values()) - sum(before.values()) <= 16
    for battles in rounds[1:]:
        assert all(2 * min(FIRST_PAIRS, limit // 2) <= n <= limit for n in battles.values())
        assert all(n % 2 == 0 for n in battles.values())
    assert rounds[1]["a", "b"] == min(max(2 * FIRST_PAIRS, earlier), limit) // 2 * 2
    assert league.play(schedule) == rounds


def test_a_meta_strategy_that_does_not_depend_on_payoffs_needs_the_first_battles_only() -> None:
    league = League(ladder(0, 0, 0))
    assert len(league.play(PayoffSchedule("abc", limit=100, solver=uniform))) == 2
    assert len(league.play(PayoffSchedule("abc", limit=100, solver=nash))) > 2
