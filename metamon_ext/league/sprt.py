"""Sequential tests of one matchup on mirrored pairs: stop as soon as the answer is clear."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from metamon_ext.errors import UserError

Verdict = Literal["better", "not better", "undecided"]

SCORES = np.arange(5) / 4
"""What the five kinds of pairs score: 0, 1/2, 1, 3/2 or 2 points of 2."""
_EMPTY = 1e-3
_IMAGINARY = np.array([0.5, 0, 0, 0, 0.5])
_MOST_LOOKS = 400
_SIEGMUND = 0.5826
"""By how many standard deviations of a step a walk overshoots a bound, in the mean."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(256)


@dataclass(frozen=True)
class SprtState:
    """Where a test stands: its log likelihood ratio, what follows, and from how many pairs."""

    llr: float
    verdict: Verdict
    pairs: int


@dataclass(frozen=True)
class EloEstimate:
    """Elo difference with its 95 % interval [low, high]."""

    elo: float
    low: float
    high: float


def pentanomial(outcomes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pairs brought 0, 1/2, 1, 3/2 and 2 points, (5,), from the (pairs, 3) wins, ties and
    losses of one player (see `tally`). Pairs without exactly two finished games are left out: half
    a pair still holds the luck of its teams."""
    whole = outcomes[outcomes.sum(1) == 2]
    return np.bincount(whole @ [2, 1, 0], minlength=5)


def expected_score(elo: float) -> float:
    """1 / (1 + 10^(-elo / 400))."""
    return float(1 / (1 + 10 ** (-elo / 400)))


def elo_of(score: float) -> float:
    """The inverse of `expected_score`, for 0 < score < 1."""
    return float(400 * np.log10(score / (1 - score)))


@dataclass(frozen=True)
class Sprt:
    """Wald's sequential probability ratio test of H1, the first player is `elo1` stronger, against
    H0, `elo0` stronger: Elo of the expected score of a game, ties and luck of teams included.

    Play some pairs, ask `state`, stop at the first verdict that is not "undecided", else play on:

        test = Sprt(elo0=0, elo1=20)
        state = test.state(pentanomial(outcomes))     # after every round of, say, 8 pairs
        answer = test.estimate(pentanomial(outcomes), look=8)    # once, after the last

    "better" (H1) is wrong at most `alpha` of the time where the difference is elo0 or less, "not
    better" (H0) at most `beta` of the time where it is elo1 or more. Fewer looks make both rarer.
    The bounds are Wald's (1945, Ann. Math. Stat. 16:117):

        lower = log(beta / (1 - alpha)),  upper = log((1 - beta) / alpha)

    For the order of two players take elo0 = -x, elo1 = x: "better" says the first is ahead, "not
    better" the second. Raises UserError where elo0 >= elo1 or an error is not in (0, 1/2).
    """

    elo0: float
    elo1: float
    alpha: float = 0.05
    beta: float = 0.05

    def __post_init__(self) -> None:
        if not self.elo0 < self.elo1:
            raise UserError(f"a test needs elo0 < elo1, not {self.elo0:g} and {self.elo1:g}")
        for name in ("elo0", "elo1"):
            if abs(getattr(self, name)) > 1000:
                raise UserError(f"{name} = {getattr(self, name):g} is beyond 1000 Elo: lower it")
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) < 0.5:
                raise UserError(f"{name} is an error rate in (0, 0.5), not {getattr(self, name)}")

    @cached_property
    def lower(self) -> float:
        return float(np.log(self.beta / (1 - self.alpha)))

    @cached_property
    def upper(self) -> float:
        return float(np.log((1 - self.beta) / self.alpha))

    def jumps(self, counts: ArrayLike) -> NDArray[np.float64]:
        """What a pair of each kind adds to the log likelihood ratio, (..., 5), given the pairs so
        far, `counts` (..., 5).

        The ratio is the generalised one: the likelihoods of H0 and H1 are those of their best laws
        p_0, p_1 over the five kinds, of all laws with mean score s_0, s_1. With q the seen shares
        and a the scores of the kinds, these are, as for Owen's empirical likelihood,

            p(a) = q(a) / (1 + x (a - s)),  x such that sum_a p(a) a = s,     jump = log p_1 / p_0

        (M. Van den Bergh, "The generalized maximum likelihood ratio for the expectation value of a
        distribution", and its use in fishtest). A kind that was not seen counts as 1/1000 pair.
        """
        shares = _shares(counts)
        s0, s1 = expected_score(self.elo0), expected_score(self.elo1)
        return np.log(_with_mean(shares, s1) / _with_mean(shares, s0))

    def state(self, counts: ArrayLike) -> SprtState:
        """Where the test stands after these pentanomial `counts` (5,)."""
        counts = np.asarray(counts)
        llr = float(counts @ self.jumps(counts)) if counts.sum() else 0.0
        verdict: Verdict = "undecided"
        if llr >= self.upper:
            verdict = "better"
        elif llr <= self.lower:
            verdict = "not better"
        return SprtState(llr, verdict, int(counts.sum()))

    def estimate(self, counts: ArrayLike, look: int = 1) -> EloEstimate:
        """The Elo difference at the end of a test that was looked at every `look` pairs, whether a
        bound or the limit of pairs ended it.

        Plain estimates exaggerate, as a test ends early where luck helps. With T the
        `outcome_chance`,

            T(low) = 0.025,  T(elo) = 0.5,  T(high) = 0.975

        so that `elo` is too high as often as too low, and the interval holds the truth 95 % of the
        time (simulated tests: 94 to 97 %; 96 to 100 % where fewer than 100 pairs were not split, as
        the ratio is slower at first than a normal walk). A clean sweep counts as half a tie less.
        Raises UserError without a pair.
        """
        pairs = int(np.sum(counts))
        if not pairs:
            raise UserError("no mirrored pair has finished: nothing to estimate from")
        edge = elo_of(1 - 1 / (8 * pairs))

        def quantile(level: float) -> float:
            if self.outcome_chance(counts, -edge, look) >= level:
                return -edge
            if self.outcome_chance(counts, edge, look) <= level:
                return edge
            return float(
                brentq(lambda elo: self.outcome_chance(counts, elo, look) - level, -edge, edge)
            )

        return EloEstimate(quantile(0.5), quantile(0.025), quantile(0.975))

    def outcome_chance(self, counts: ArrayLike, elo: float, look: int = 1) -> float:
        """The chance that a test, looked at every `look` pairs, ends at least as high as this one
        did, if the difference is `elo`.

        Outcomes are ordered by when they came: from an early "better" over a late one to a late and
        at last an early "not better", at one look by their ratio (Siegmund 1985, Sequential
        Analysis, ch. III.4; Jennison & Turnbull 1999, Group Sequential Methods, ch. 8.4). The ratio
        is taken for a normal random walk, whose steps are the `jumps`: their mean is moved from the
        one seen by the regression of jump on score, their variance is the one seen. For slope and
        variance half a pair counts as lost and half a one as won besides, as sweeps show none.
        """
        counts = np.asarray(counts)
        pairs, jumps = int(counts.sum()), self.jumps(counts)
        shares = (counts + _IMAGINARY) / (pairs + _IMAGINARY.sum())
        distance, deviation = SCORES - shares @ SCORES, jumps - shares @ jumps
        slope = float(shares @ (distance * deviation) / (shares @ distance**2))
        sd = float(np.sqrt(shares @ deviation**2))
        value, lower, upper = float(counts @ jumps), self.lower, self.upper
        drift = value / pairs + slope * (expected_score(elo) - float(counts @ SCORES) / pairs)
        taken = max(round(pairs / look), 1)
        looks = min(taken, _MOST_LOOKS)
        if looks < taken:
            # Fewer looks let more walks pass; bounds further in make up for it (Siegmund, ch. X.2).
            inwards = _SIEGMUND * sd * ((pairs / looks) ** 0.5 - (pairs / taken) ** 0.5)
            lower, upper = lower + inwards, upper - inwards
            value = min(max(value, lower), upper)
        step = pairs / looks
        return _ends_above(value, lower, upper, step * drift, step**0.5 * sd, looks)


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    filled = np.maximum(counts, _EMPTY)
    return filled / filled.sum(-1, keepdims=True)


def _with_mean(shares: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """The law with this mean score under which `shares` (..., 5) are most likely."""
    gap = SCORES - mean
    low = np.full(shares.shape[:-1], -1 / (1 - mean))
    high = np.full(shares.shape[:-1], 1 / mean)
    for _ in range(60):  # the mean of p(a) (a - s) falls from +inf to -inf between these
        x = (low + high) / 2
        above = (shares * gap / (1 + x[..., None] * gap)).sum(-1) > 0
        low, high = np.where(above, x, low), np.where(above, high, x)
    law = shares / (1 + low[..., None] * gap)
    return law / law.sum(-1, keepdims=True)


def _ends_above(
    value: float, lower: float, upper: float, drift: float, sd: float, looks: int
) -> float:
    """The chance that a walk from 0 with `looks` steps of Normal(drift, sd^2) leaves (lower, upper)
    upwards before its last step, or is still inside and then at `value` or above.

    The density of where it is, step by step (Armitage, McPherson & Rowe 1969, J. R. Stat. Soc. A
    132:235), on the nodes of a Gauss-Legendre quadrature.
    """
    sd = max(sd, (upper - lower) / 128)  # what the nodes can resolve
    if looks == 1:
        return float(ndtr((drift - value) / sd))
    at = (lower + upper) / 2 + (upper - lower) / 2 * _NODES
    weights = (upper - lower) / 2 * _WEIGHTS

    def density(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-(((distance - drift) / sd) ** 2) / 2) / (sd * np.sqrt(2 * np.pi))

    kernel = density(at[:, None] - at) * weights
    leave = weights * ndtr((at + drift - upper) / sd)
    inside, chance = density(at), float(ndtr((drift - upper) / sd))
    for _ in range(looks - 2):
        chance += leave @ inside
        inside = kernel @ inside
    return float(chance + weights * ndtr((at + drift - value) / sd) @ inside)
