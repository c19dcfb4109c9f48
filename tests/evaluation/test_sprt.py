from itertools import product

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from metamon_ext.errors import UserError
from metamon_ext.evaluation import sprt
from metamon_ext.evaluation.games import Game, tally
from metamon_ext.evaluation.sprt import SCORES, Sprt, elo_of, expected_score, pentanomial

KINDS = {
    "independent": {},
    "ties": {"ties": 0.3},
    "teams decide": {"luck": 2.0},
    "games alike": {"form": 1.0},
}


def pair_law(elo, ties=0.0, luck=0.0, form=0.0):
    """Chances (5,) of a pair's scores whose mean is exactly the expected score of `elo`. The log
    odds of its games are d +- luck and d -+ luck, and both + form or both - form."""

    def game(odds):
        p = 1 / (1 + np.exp(-odds))
        tie = 4 * ties * p * (1 - p)
        return [1 - p - tie / 2, tie, p - tie / 2]

    def law(d):
        signs = product((-1, 1), repeat=2)
        return sum(
            np.convolve(game(d + a * luck + b * form), game(d - a * luck + b * form)) / 4
            for a, b in signs
        )

    return law(brentq(lambda d: law(d) @ SCORES - expected_score(elo), -20, 20))


def play(test, elo, look, limit=10**6, runs=2000, seed=0, **kind):
    """Counts (runs, 5) at the end of as many tests, and their log likelihood ratios."""
    rng, law = np.random.default_rng(seed), pair_law(elo, **kind)
    counts, llr = np.zeros((runs, 5), dtype=int), np.zeros(runs)
    going = np.ones(runs, dtype=bool)
    while going.any() and counts.sum(1).max() < limit:
        counts[going] += rng.multinomial(look, law, going.sum())
        llr[going] = (counts[going] * test.jumps(counts[going])).sum(1)
        going = (llr > test.lower) & (llr < test.upper)
    return counts, llr


@pytest.mark.parametrize("look", [1, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_at_most_what_was_asked(kind, look):
    """And not far below, and with fewer pairs than a test of fixed length needs."""
    test, runs = Sprt(0, 80, alpha=0.05, beta=0.1), 2000
    for elo, asked, wrong in ((0, 0.05, 1), (80, 0.1, -1)):
        counts, llr = play(test, elo, look, runs=runs, seed=look, **KINDS[kind])
        errors = (np.sign(llr) == wrong).mean()
        assert 0.25 * asked < errors < asked + 3 * np.sqrt(asked * (1 - asked) / runs)
        law = pair_law(elo, **KINDS[kind])
        sd = np.sqrt(law @ (SCORES - law @ SCORES) ** 2)
        fixed = ((1.645 + 1.282) * sd / (expected_score(80) - 0.5)) ** 2
        assert counts.sum(1).mean() < 0.9 * fixed


def test_a_weaker_difference_is_mistaken_less_often():
    """10 Elo worse than H0: below 5 % still, and below what it is at H0."""
    at, below = (np.mean(play(Sprt(0, 60), elo, 8)[1] > 0) for elo in (0, -10))
    assert below < at < 0.065


@pytest.mark.parametrize(
    ("elo", "bounds", "look", "limit", "kind"),
    [
        (0, (0, 50), 8, 1000, "independent"),
        (50, (0, 50), 8, 1000, "teams decide"),
        (25, (0, 50), 8, 100, "ties"),
        (60, (0, 50), 8, 60, "games alike"),
        (-150, (0, 50), 8, 1000, "independent"),
        (15, (-20, 20), 1, 1000, "teams decide"),
        (0, (-20, 20), 32, 640, "independent"),
        (20, (0, 20), 8, 3000, "ties"),
    ],
)
def test_estimates_are_right_after_early_stopping(elo, bounds, look, limit, kind):
    """The estimate is too high half of the time, and the interval holds the truth 95 % of the time,
    or more where few pairs were not split."""
    test, runs = Sprt(*bounds), 400
    counts, _ = play(test, elo, look, limit, runs, seed=1, **KINDS[kind])
    chance = np.array([test.outcome_chance(c, elo, look) for c in counts])
    covered = ((chance > 0.025) & (chance < 0.975)).mean()
    error = 3 * np.sqrt(0.95 * 0.05 / runs)
    unsplit = counts[:, [0, 1, 3, 4]].sum(1).mean()
    assert 0.95 - error < covered < (0.95 + error if unsplit > 100 else 1.01)
    assert abs((chance < 0.5).mean() - 0.5) < 3 * 0.5 / np.sqrt(runs)


def test_the_plain_estimate_would_be_biased():
    """What the estimate is for: the mean score is above the truth in far more than half of the
    tests that a better player takes."""
    counts, _ = play(Sprt(0, 50), 50, 8)
    assert (counts @ SCORES / counts.sum(1) > expected_score(50)).mean() > 0.58


def test_an_estimate_turns_the_outcome_chance_around():
    test, counts = Sprt(0, 50), [17, 10, 50, 14, 37]
    answer = test.estimate(counts, look=8)
    chances = [test.outcome_chance(counts, e, 8) for e in (answer.low, answer.elo, answer.high)]
    assert chances == pytest.approx([0.025, 0.5, 0.975], abs=1e-4)
    plain = elo_of(counts @ SCORES / 128)
    assert test.state(counts).verdict == "better"
    assert answer.low < answer.elo < plain - 2 < plain < answer.high


def test_one_look_at_the_end_gives_the_plain_estimate():
    counts = np.array([30, 20, 100, 20, 32])
    answer = Sprt(0, 50).estimate(counts, look=202)
    score = counts @ SCORES / 202
    error = np.sqrt(counts @ (SCORES - score) ** 2) / 202
    expected = [elo_of(score + z * error) for z in (0, -1.96, 1.96)]
    assert [answer.elo, answer.low, answer.high] == pytest.approx(expected, abs=1)


def test_thousands_of_looks_are_taken_together_without_harm(monkeypatch):
    test, counts = Sprt(0, 20), [300, 100, 800, 100, 380]
    at_most_400 = [test.outcome_chance(counts, elo) for elo in (0, 8, 20)]
    monkeypatch.setattr(sprt, "_MOST_LOOKS", 10**6)
    assert at_most_400 == pytest.approx(
        [test.outcome_chance(counts, elo) for elo in (0, 8, 20)], abs=1e-3
    )


kinds_of_pairs = st.lists(st.integers(0, 60), min_size=5, max_size=5).filter(any)


@settings(max_examples=10, deadline=None)
@given(kinds_of_pairs)
def test_any_results_give_an_estimate_that_mirrors(counts):
    test, mirrored = Sprt(-10, 40), Sprt(-40, 10)
    assert test.state(counts).llr == pytest.approx(-mirrored.state(counts[::-1]).llr, abs=1e-6)
    ours, theirs = test.estimate(counts, 4), mirrored.estimate(counts[::-1], 4)
    assert ours.low <= ours.elo <= ours.high
    assert ours.high - ours.low > 1
    assert np.isfinite([ours.low, ours.high]).all()
    assert [ours.low, ours.elo, ours.high] == pytest.approx(
        [-theirs.high, -theirs.elo, -theirs.low], abs=1
    )


BEYOND_A_BOUND = [([0, 0, 0, 29, 46], 4), ([59, 50, 20, 67, 4], 1)]
"""Counts and pairs between looks. A test of -10 against 40 Elo would have stopped earlier."""

error_rates = st.sampled_from([0.01, 0.05, 0.1, 0.2])


@st.composite
def any_tests(draw):
    elo0 = draw(st.integers(-200, 200))
    return Sprt(elo0, elo0 + draw(st.integers(1, 300)), draw(error_rates), draw(error_rates))


looks = st.sampled_from([1, 2, 4, 8, 16, 50])


@pytest.mark.parametrize(("counts", "look"), BEYOND_A_BOUND)
def test_counts_beyond_a_bound_get_the_plain_estimate(counts, look):
    test, counts = Sprt(-10, 40), np.array(counts)
    answer, pairs = test.estimate(counts, look), counts.sum()
    score = counts @ SCORES / pairs
    error = np.sqrt(counts @ (SCORES - score) ** 2) / pairs
    assert not test.could_end(counts, look) and answer.kind == "plain"
    assert answer.elo == pytest.approx(elo_of(score), abs=0.01)
    ends = [elo_of(score + z * error) for z in (-1.96, 1.96)]
    assert [answer.low, answer.high] == pytest.approx(ends, rel=0.1)


@given(kinds_of_pairs, any_tests(), looks)
@example([0, 0, 0, 29, 46], Sprt(-10, 40), 4)
@example([59, 50, 20, 67, 4], Sprt(-10, 40), 1)
@settings(max_examples=6)
def test_any_estimate_is_ordered_and_mirrors(counts, test, look):
    mirrored = Sprt(-test.elo1, -test.elo0, test.beta, test.alpha)
    ours, theirs = test.estimate(counts, look), mirrored.estimate(counts[::-1], look)
    assert np.isfinite([ours.low, ours.elo, ours.high]).all()
    assert ours.low <= ours.elo <= ours.high
    assert ours.kind == theirs.kind
    assert [ours.low, ours.elo, ours.high] == pytest.approx(
        [-theirs.high, -theirs.elo, -theirs.low], abs=0.01
    )


@given(kinds_of_pairs, any_tests(), looks, st.integers(0, 3), st.integers(1, 4))
@example([0, 0, 0, 29, 46], Sprt(-10, 40), 4, 3, 1)
@example([59, 50, 20, 67, 4], Sprt(-10, 40), 1, 0, 4)
@example([1, 0, 0, 12, 12], Sprt(0, 50), 1, 0, 1)  # an upset less: the variance falls by much
@example([36, 0, 0, 3, 0], Sprt(0, 30, 0.001, 0.001), 16, 3, 1)
@example([4, 3, 32, 15, 47], Sprt(0, 400, 0.001, 0.2), 2, 0, 1)  # here it becomes plain
@settings(max_examples=6)
def test_a_better_result_has_no_lower_estimate(counts, test, look, kind, better):
    assume(counts[kind])
    moved = np.array(counts)
    moved[kind] -= 1
    moved[min(kind + better, 4)] += 1
    assert test.estimate(moved, look).elo >= test.estimate(counts, look).elo - 1e-6


@pytest.mark.parametrize("bounds", [(-10, 40), (-300, 0)])
@pytest.mark.parametrize("look", [2, 32])
def test_no_test_that_is_played_ends_where_none_could(bounds, look):
    """Walks simulated on their own, also of the kinds of pairs that vary most."""
    test = Sprt(*bounds)
    for kind, elo in (
        ("games alike", 0),
        ("ties", 30),
        ("independent", -120),
        ("independent", 200),
    ):
        counts, _ = play(test, elo, look, limit=600, runs=60, seed=2, **KINDS[kind])
        assert all(test.could_end(ended, look) for ended in counts)


@pytest.mark.parametrize(
    ("bounds", "h1", "h0"),
    [
        ((0, 30), "at least 30 Elo stronger than", "not better than"),
        ((10, 30), "at least 30 Elo stronger than", "at most 10 Elo stronger than"),
        ((-20, 20), "at least 20 Elo stronger than", "at least 20 Elo weaker than"),
        ((-10, 0), "at least as strong as", "at least 10 Elo weaker than"),
        ((-120, -30), "at most 30 Elo weaker than", "at least 120 Elo weaker than"),
    ],
)
def test_a_verdict_says_what_was_tested(bounds, h1, h0):
    test = Sprt(*bounds)
    assert (
        test.sentence("better", "a", "b") == f"H1 accepted: a is {h1} b. H0 rejected: a is {h0} b."
    )
    other = test.sentence("not better", "a", "b")
    assert other == f"H0 accepted: a is {h0} b. H1 rejected: a is {h1} b."
    neither = test.sentence("undecided", "a", "b")
    assert neither == f"undecided at the limit between H0: a is {h0} b, and H1: a is {h1} b."


def test_without_splits_and_ties_the_ratio_is_the_binomials():
    s0, s1 = expected_score(-20), expected_score(40)
    expected = 70 * np.log(s1 / s0) + 30 * np.log((1 - s1) / (1 - s0))
    assert Sprt(-20, 40).state([30, 0, 0, 0, 70]).llr == pytest.approx(expected, rel=1e-3)


def test_the_ratio_is_that_of_the_best_laws():
    """Against scipy's constrained optimiser."""
    counts = np.array([12.0, 7.0, 40.0, 9.0, 22.0])

    def best(score):
        limits = [
            {"type": "eq", "fun": lambda p: p.sum() - 1},
            {"type": "eq", "fun": lambda p: p @ SCORES - score},
        ]
        return -minimize(
            lambda p: -counts @ np.log(p), counts / 90, bounds=[(1e-9, 1)] * 5, constraints=limits
        ).fun

    expected = best(expected_score(40)) - best(expected_score(-10))
    assert Sprt(-10, 40).state(counts).llr == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", range(5))
def test_a_few_pairs_alike_do_not_decide(kind):
    """However sure they look: the variance that they show is 0."""
    counts = np.zeros(5, dtype=int)
    assert Sprt(0, 20).state(counts).verdict == "undecided"
    for _ in range(8):
        counts[kind] += 1
        assert Sprt(0, 20).state(counts).verdict == "undecided"


def test_a_sweep_is_decided_in_the_end():
    assert Sprt(0, 20).state([0, 0, 0, 0, 200]).verdict == "better"
    assert Sprt(0, 20).state([200, 0, 0, 0, 0]).verdict == "not better"
    assert Sprt(0, 20).state([0, 0, 3000, 0, 0]).verdict == "not better"


def test_half_pairs_are_left_out():
    scores = [(1.0, 1.0), (1.0, 0.5), (1.0, 0.0), (0.5, 0.5), (0.0, 0.0), (1.0,), (0.5,)]
    games = [Game("a", "b", i, score) for i, pair in enumerate(scores) for score in pair]
    assert pentanomial(tally(games)["a", "b"]).tolist() == [1, 0, 2, 1, 1]
    assert pentanomial(np.zeros((0, 3), dtype=int)).tolist() == [0] * 5


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="elo0 < elo1"):
        Sprt(10, 10)
    with pytest.raises(UserError, match=r"elo1 = 1e\+09 is beyond 1000 Elo"):
        Sprt(0, 1e9)
    with pytest.raises(UserError, match="alpha is an error rate"):
        Sprt(0, 10, alpha=0.5)
    with pytest.raises(UserError, match="no mirrored pair has finished"):
        Sprt(0, 10).estimate([0] * 5)
