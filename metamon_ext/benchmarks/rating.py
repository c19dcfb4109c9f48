"""Battles that sequential tests and adaptive play save over a fixed round robin."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamon_ext.evaluation.adaptive import allocate, decided
from metamon_ext.evaluation.ratings import ELO_PER_NAT, maximise
from metamon_ext.evaluation.sprt import SCORES, Sprt, expected_score
from metamon_ext.settings import check_at_least, check_seed
from metamon_ext.terminal import track

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
"""(leagues, pairings, 5): how many pairs scored 0, 1/2, 1, 3/2 and 2 points for the first player of
each pairing. The players of a league are numbers, its pairings their combinations."""

POPULATIONS = ((4, 50), (4, 100), (8, 50), (8, 100), (8, 200), (16, 100), (16, 300))
"""Players, and the standard deviation of their true ratings in Elo."""
TIES, LUCK = 0.02, 1.0
"""Share of ties between equals, and the standard deviation of what the teams of a pair add to the
log odds of its first battle and take from its second."""
FIXED_PAIRS = np.unique(np.geomspace(2, 2048, 41).astype(int))
REPEATS = 10
"""Fixed round robins: pairs a matchup, and how often each league plays them."""
LOOK, MOST_PAIRS = 8, 4000
PAIR_ROWS = np.array([[0, 0, 2], [0, 1, 1], [1, 0, 1], [1, 1, 0], [2, 0, 0]])
"""Wins, ties and losses of a pair of each of the five kinds."""


def benchmark_rating(
    error: float, indifference: float, leagues: int, seed: int
) -> list[dict[str, Any]]:
    """Simulated leagues: battles that sequential tests and adaptive play save.

    The error rate is the share of pairs of players, at least `indifference` Elo of the expected
    score apart, that are in the wrong order in the end; a draw counts half.

    SPRT: every matchup for itself, +indifference against -indifference, a look at every 8 pairs.
    Adaptive: until no pair of players is in doubt of more than `error`. Each is compared with the
    fixed round robin that has the same error rate, the order of two players being read from their
    own battles (head to head), or from Bradley-Terry ratings of all battles.
    """
    check_seed(seed)
    check_at_least(1, leagues=leagues)
    rows: list[dict[str, Any]] = []
    for number, (players, spread) in enumerate(track(POPULATIONS, "populations", len(POPULATIONS))):
        rng = np.random.default_rng([seed, number])
        elo = rng.normal(0, spread, (leagues, players))
        for row in compare(elo, error, indifference, rng):
            rows.append({"players": players, "spread": spread, **row})
    return rows


def compare(
    elo: Floats, error: float, indifference: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """A row for each method, on leagues of these true ratings, (leagues, players).

    `error` and `battles` (a matchup) are what came out; `than_head_to_head` and `than_ratings` the
    share of the battles that the fixed round robin with this error rate plays, judged either way.
    """
    chances = pair_chances(elo)
    edge = chances @ SCORES - 0.5
    truth = np.where(abs(edge) >= expected_score(indifference) - 0.5, np.sign(edge), 0)
    heads, ratings = fixed(chances, truth, rng)
    ended, llr = sequential(chances, error, indifference, rng)
    played = adaptive(chances, error, indifference, rng)
    rows = []
    for method, counts, found in (
        ("SPRT, verdicts", ended, llr),
        ("SPRT, ratings", ended, rating_gaps(ended)),
        ("adaptive", played, rating_gaps(played)),
    ):
        rate, pairs = error_rate(found, truth), counts.sum(-1).mean()
        rows.append(
            {
                "method": method,
                "error": rate,
                "battles": 2 * pairs,
                "than_head_to_head": pairs / pairs_for(rate, heads),
                "than_ratings": pairs / pairs_for(rate, ratings),
            }
        )
    return rows


def pair_chances(elo: Floats) -> Floats:
    """(leagues, players) true ratings -> (leagues, pairings, 5) chances of a pair's scores."""
    first, second = np.triu_indices(elo.shape[1], 1)
    gap = (elo[:, first] - elo[:, second]) / ELO_PER_NAT
    luck, weights = np.polynomial.hermite_e.hermegauss(15)
    odds = gap[..., None] + LUCK * luck * np.array([1, -1])[:, None, None, None]
    p = 1 / (1 + np.exp(-odds))
    tie = 4 * TIES * p * (1 - p)
    one, two = np.stack([1 - p - tie / 2, tie, p - tie / 2], -1)  # (leagues, pairings, luck, 3)
    chances = np.zeros((*gap.shape, 5))
    for i in range(3):
        for j in range(3):
            chances[..., i + j] += (one[..., i] * two[..., j]) @ (weights / weights.sum())
    return chances


def error_rate(found: Floats, truth: Floats) -> float:
    """Share of wrong orders where `truth` is 1 or -1, not 0; half a one where none is wrong."""
    matters = truth != 0
    wrong = (1 - np.sign(found) * truth)[matters].sum() / 2
    return float(max(wrong, 0.5) / matters.sum())


def rating_gaps(counts: Counts) -> Floats:
    """Differences of Bradley-Terry ratings, (leagues, pairings), as `bradley_terry` finds them."""
    k = _players(counts.shape[1])
    first, second = np.triu_indices(k, 1)
    points = np.zeros((len(counts), k + 1, k + 1))
    points[:, k, :k] = points[:, :k, k] = 1
    points[:, first, second] = counts @ (2 * SCORES)
    points[:, second, first] = counts @ (2 - 2 * SCORES)
    theta = maximise(points, np.zeros((len(counts), k)))
    return theta[:, first] - theta[:, second]


def _players(pairings: int) -> int:
    """k where k (k - 1) / 2 = pairings."""
    return round((1 + (1 + 8 * pairings) ** 0.5) / 2)


def fixed(chances: Floats, truth: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Error rates of round robins with `FIXED_PAIRS` pairs a matchup, by own battles and by
    ratings."""
    chances, truth = np.tile(chances, (REPEATS, 1, 1)), np.tile(truth, (REPEATS, 1))
    counts, heads, ratings = np.zeros(chances.shape, dtype=int), [], []
    for more in np.diff(FIXED_PAIRS, prepend=0):
        counts += rng.multinomial(more, chances)
        heads.append(error_rate(counts @ (SCORES - 0.5), truth))
        ratings.append(error_rate(rating_gaps(counts), truth))
    return np.array(heads), np.array(ratings)


def pairs_for(rate: float, rates: Floats) -> float:
    """Pairs a matchup of the round robin with this error rate, between `FIXED_PAIRS` on the line
    through the logarithms."""
    falling = -np.log(np.minimum.accumulate(rates))
    return float(np.exp(np.interp(-np.log(rate), falling, np.log(FIXED_PAIRS))))


def sequential(
    chances: Floats, error: float, indifference: float, rng: np.random.Generator
) -> tuple[Counts, Floats]:
    """Every matchup until its test ends: the pairs played, and the log likelihood ratios."""
    test = Sprt(-indifference, indifference, error, error)
    counts, llr = np.zeros(chances.shape, dtype=int), np.zeros(chances.shape[:2])
    for _ in range(0, MOST_PAIRS, LOOK):
        going = (llr > test.lower) & (llr < test.upper)
        if not going.any():
            break
        counts[going] += rng.multinomial(LOOK, chances[going])
        llr[going] = (counts[going] * test.jumps(counts[going])).sum(-1)
    return counts, llr


def adaptive(
    chances: Floats, error: float, indifference: float, rng: np.random.Generator
) -> Counts:
    """The pairs that leagues play, in rounds of half as many pairs as they have pairings, at least
    4, until they are decided or have played `MOST_PAIRS` a matchup."""
    m = chances.shape[1]
    players = [f"{i:02d}" for i in range(_players(m))]
    pairings = list(combinations(players, 2))
    played = np.zeros(chances.shape, dtype=int)
    for counts, chance in zip(played, chances, strict=True):
        counts += rng.multinomial(2, chance)
        while counts.sum() < MOST_PAIRS * m:
            rows = (np.repeat(PAIR_ROWS, kinds, axis=0) for kinds in counts)
            outcomes = dict(zip(pairings, rows, strict=True))
            if decided(outcomes, indifference, error):
                break
            given = allocate(outcomes, max(4, m // 2), indifference)
            counts += rng.multinomial([*given.values()], chance)
    return played
