"""Sequential tests of one matchup on mirrored pairs: stop as soon as the answer is clear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from metamon_ext.errors import UserError

Verdict = Literal["better", "not better", "undecided"]
"""Short for: H1 accepted, H0 accepted, neither. `Sprt.sentence` says what H0 and H1 are: their Elo
differences may both be negative."""

SCORES = np.arange(5) / 4
"""What the five kinds of pairs score: 0, 1/2, 1, 3/2 or 2 points of 2."""
_EMPTY = 1e-3
_IMAGINARY = np.array([0.5, 0, 0, 0, 0.5])
_MOST_LOOKS = 400
_SIEGMUND = 0.5826
"""By how many standard deviations of a step a walk overshoots a bound, in the mean."""
_RESOLUTION = 128
"""The nodes resolve a step of at least so small a part of the distance between the bounds."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(256)


@dataclass(frozen=True)
class SprtState:
    """Where a test stands: its log likelihood ratio, what follows, and from how many pairs."""

    llr: float
    verdict: Verdict
    pairs: int


@dataclass(frozen=True)
class EloEstimate:
    """Elo difference with its 95 % interval [low, high].

    `kind`: "corrected" for early stopping, or "plain": that of so many pairs played in any case.
    """

    elo: float
    low: float
    high: float
    kind: Literal["corrected", "plain"]


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
        """The log likelihood ratio at which H0 is accepted: log(beta / (1 - alpha))."""
        return float(np.log(self.beta / (1 - self.alpha)))

    @cached_property
    def upper(self) -> float:
        """The log likelihood ratio at which H1 is accepted: log((1 - beta) / alpha)."""
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

    def sentence(self, verdict: Verdict, first: str, second: str) -> str:
        """What was tested of `first` against `second`, and what was decided."""
        h0 = f"{first} is {_at_most(self.elo0)} {second}"
        h1 = f"{first} is {_at_least(self.elo1)} {second}"
        if verdict == "better":
            return f"H1 accepted: {h1}. H0 rejected: {h0}."
        if verdict == "not better":
            return f"H0 accepted: {h0}. H1 rejected: {h1}."
        return f"undecided at the limit between H0: {h0}, and H1: {h1}."

    def estimate(self, counts: ArrayLike, look: int = 1) -> EloEstimate:
        """The Elo difference at the end of a test that was looked at every `look` pairs, whether a
        bound or the limit of pairs ended it.

        Plain estimates exaggerate, as a test ends early where luck helps. With T the
        `outcome_chance`,

            T(low) = 0.025,  T(elo) = 0.5,  T(high) = 0.975

        so that `elo` is too high as often as too low, and the interval holds the truth 95 % of the
        time (simulated tests: 94 to 97 %; 96 to 100 % where fewer than 100 pairs were not split, as
        the ratio is slower at first than a normal walk). A clean sweep counts as half a tie less.

        Counts that no such test ends with (see `could_end`) get the plain estimate. Of two results
        of as many pairs the better one has an `elo` at least as high. The ends of the interval need
        not follow: a better result can have a smaller variance. Raises UserError without a pair.
        """
        pairs = int(np.sum(counts))
        if not pairs:
            raise UserError("no mirrored pair has finished: nothing to estimate from")
        corrected = self._estimate(counts, look, "corrected")
        if self.could_end(counts, look):
            return corrected
        plain = self._estimate(counts, pairs, "plain")
        # No step back at the border between the two: with bounds at unequal distances a correction
        # can lead outwards.
        winning = float(np.dot(counts, SCORES)) > pairs * self._gap_and_middle[1]
        outwards = corrected.elo > plain.elo if winning else corrected.elo < plain.elo
        return corrected if outwards else plain

    def _estimate(
        self, counts: ArrayLike, look: int, kind: Literal["corrected", "plain"]
    ) -> EloEstimate:
        edge = elo_of(1 - 1 / (8 * int(np.sum(counts))))

        def quantile(level: float) -> float:
            if self.outcome_chance(counts, -edge, look) >= level:
                return -edge
            if self.outcome_chance(counts, edge, look) <= level:
                return edge
            return float(
                brentq(lambda elo: self.outcome_chance(counts, elo, look) - level, -edge, edge)
            )

        return EloEstimate(quantile(0.5), quantile(0.025), quantile(0.975), kind)

    def could_end(self, counts: ArrayLike, look: int = 1) -> bool:
        """Whether a test that is looked at every `look` pairs can end with this score after so many
        pairs. Imported results and battles in flight at a decision can be beyond it.

        No pairs have more variance than those that one player wins or loses outright. Even a walk
        of these must be within the bounds one look earlier, before a sweep, and its standard
        deviation there at most sqrt(2) times their distance: fewer than 1 in 10,000 last longer.
        """
        counts = np.asarray(counts)
        before = int(counts.sum()) - look
        gap, middle = self._gap_and_middle
        ahead = float(counts @ (SCORES - middle))
        bound, sweep = (self.upper, 1 - middle) if ahead > 0 else (-self.lower, middle)
        most = middle * (1 - middle)
        inside = gap * (abs(ahead) - look * sweep) < bound * most
        return inside and before * gap**2 < 2 * most * (self.upper - self.lower) ** 2

    @cached_property
    def _gap_and_middle(self) -> tuple[float, float]:
        """Of the expected scores of H0 and H1."""
        s0, s1 = expected_score(self.elo0), expected_score(self.elo1)
        return s1 - s0, (s0 + s1) / 2

    def outcome_chance(self, counts: ArrayLike, elo: float, look: int = 1) -> float:
        """The chance that a test, looked at every `look` pairs, ends at least as high as this one
        did, if the difference is `elo`.

        Outcomes are ordered by when they came: from an early "better" over a late one to a late and
        at last an early "not better", at one look by their score (Siegmund 1985, Sequential
        Analysis, ch. III.4; Jennison & Turnbull 1999, Group Sequential Methods, ch. 8.4). The log
        likelihood ratio is taken for a normal random walk. With s_0, s_1 the expected scores of H0
        and H1, m = (s_0 + s_1) / 2, and v the variance of a pair's score about m, a pair adds

            mean  (s_1 - s_0) / v  (s(elo) - m),    variance  (s_1 - s_0)^2 / v

        v is the one seen (half a pair lost and half a one won besides, as sweeps show none), but
        never so small that the test would have stopped before its last look: the straight path to
        this result is inside the bounds then, and sd sqrt(pairs) is at most their distance. Beyond
        a bound the answer so depends on the score alone, and rises with it. With a single look
        nothing stops early, and v is the variance about the mean.
        """
        counts = np.asarray(counts)
        pairs = int(counts.sum())
        taken = max(round(pairs / look), 1)
        (gap, middle), lower, upper = self._gap_and_middle, self.lower, self.upper
        ahead = float(counts @ (SCORES - middle))
        shares = (counts + _IMAGINARY) / (pairs + _IMAGINARY.sum())
        if taken == 1:
            variance = float(shares @ (SCORES - shares @ SCORES) ** 2)
        else:
            bound = (upper if ahead > 0 else -lower) * taken / (taken - 1)
            variance = max(
                float(shares @ (SCORES - middle) ** 2),
                gap * abs(ahead) / bound,
                pairs * (gap / (upper - lower)) ** 2,
            )
        value, sd = gap / variance * ahead, gap / variance**0.5
        drift = gap / variance * (expected_score(elo) - middle)
        resolved = pairs * (_RESOLUTION * sd / (upper - lower)) ** 2
        looks = max(min(taken, _MOST_LOOKS, int(resolved)), 1)
        if looks < taken:
            # Fewer looks let more walks pass; bounds further in make up for it (Siegmund, ch. X.2).
            inwards = _SIEGMUND * sd * ((pairs / looks) ** 0.5 - (pairs / taken) ** 0.5)
            lower, upper = lower + inwards, upper - inwards
            value = min(max(value, lower), upper)
        step = pairs / looks
        return _ends_above(value, lower, upper, step * drift, step**0.5 * sd, looks)


def _at_most(elo: float) -> str:
    if elo > 0:
        return f"at most {elo:g} Elo stronger than"
    return f"at least {-elo:g} Elo weaker than" if elo < 0 else "not better than"


def _at_least(elo: float) -> str:
    if elo > 0:
        return f"at least {elo:g} Elo stronger than"
    return f"at most {-elo:g} Elo weaker than" if elo < 0 else "at least as strong as"


def in_words(estimate: Mapping[str, Any]) -> str:
    """The `elo`, `low`, `high` and `kind` of an estimate."""
    how = {
        "corrected": "allowing for the early stop",
        "plain": "plain, not corrected for early stopping: the test would have stopped earlier",
    }[estimate["kind"]]
    return "{elo:+.0f} Elo, 95 % interval {low:+.0f} to {high:+.0f}, ".format(**estimate) + how


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
