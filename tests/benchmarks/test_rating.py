import json

import numpy as np
import pytest

from metamon_ext.benchmarks import rating as benchmark
from metamon_ext.benchmarks.rating import error_rate, pair_chances, pairs_for, rating_gaps
from metamon_ext.cli import main
from metamon_ext.evaluation.games import Game
from metamon_ext.evaluation.ratings import ELO_PER_NAT, bradley_terry
from metamon_ext.evaluation.sprt import SCORES


def test_the_benchmark_reports_each_method_and_repeats_with_its_seed(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "POPULATIONS", ((4, 200),))
    command = ["benchmark", "rating", "--leagues", "8", "--indifference", "60"]
    assert main([*command, "--json", "--seed", "1"]) == 0
    answer = json.loads(capsys.readouterr().out)
    verdicts, ratings, adaptive = answer["results"]
    assert adaptive["method"] == "adaptive"
    assert verdicts["battles"] == ratings["battles"] > adaptive["battles"]
    for row in answer["results"]:
        assert 0 < row["error"] < 0.15
        assert row["than_head_to_head"] > 0
        assert row["than_ratings"] > 0
    assert main([*command, "--json", "--seed", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    assert main([*command, "--seed", "2"]) == 0
    assert "4, 200 Elo" in capsys.readouterr().out


def test_simulated_pairs_are_fair_and_split_by_teams():
    chances = pair_chances(np.array([[100.0, 100.0, -300.0]]))[0]
    assert np.allclose(chances.sum(1), 1)
    assert chances[0] == pytest.approx(chances[0][::-1])
    assert 0.7 < chances[1] @ SCORES < 0.91
    score = chances[0] @ SCORES
    assert chances[0] @ (SCORES - score) ** 2 < 0.9 * 0.25 / 2


def test_ratings_of_the_benchmark_are_those_of_the_report():
    counts = np.random.default_rng(0).integers(0, 9, (2, 6, 5))
    pairings = [(a, b) for a in "abcd" for b in "abcd" if a < b]
    for league, gaps in zip(counts, rating_gaps(counts), strict=True):
        games = [
            Game(a, b, 0, score)
            for (a, b), kinds in zip(pairings, league, strict=True)
            for points, times in enumerate(kinds)
            for score in ((points + 1) // 2 / 2, points // 2 / 2)
            for _ in range(times)
        ]
        known = {r.player: r.rating for r in bradley_terry(games, resamples=2)}
        expected = [known[a] - known[b] for a, b in pairings]
        assert gaps * ELO_PER_NAT == pytest.approx(expected, abs=0.01)


def test_errors_count_what_matters_and_draws_half():
    truth = np.array([[1.0, -1.0, 0.0, 1.0]])
    assert error_rate(np.array([[2.0, 3.0, -1.0, 0.0]]), truth) == pytest.approx(1.5 / 3)
    assert error_rate(truth, truth) == pytest.approx(0.5 / 3)


def test_a_fixed_round_robin_errs_less_the_more_it_plays():
    """And less by ratings, that know of the battles against others, than by own battles."""
    rng = np.random.default_rng(0)
    chances = pair_chances(rng.normal(0, 100, (20, 6)))
    heads, ratings = benchmark.fixed(chances, np.sign(chances @ SCORES - 0.5), rng)
    assert heads[0] > 0.2 > heads[20] > heads[-1]
    assert ratings[0] > ratings[20] > ratings[-1]
    assert (ratings[5:25] < heads[5:25]).all()


def test_the_round_robin_of_an_error_rate_is_read_off_its_curve():
    rates = 1 / benchmark.FIXED_PAIRS
    assert pairs_for(1 / 50, rates) == pytest.approx(50)
