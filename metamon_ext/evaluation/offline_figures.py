"""Figures of a network on recorded decisions, with intervals over battles.

accuracy         share of decisions whose recorded action is the network's most likely legal action
cross_entropy    -log pi(a|s) of the recorded action over the legal ones, in nats
critic_loss      mean_g (Q_g(s, a) - R_g)^2, R_g the discounted return that followed
brier            (p - won)^2, the Brier score (Brier 1950) of the forecast p below
positive_advantage_won[g], positive_advantage_lost[g]
                 share of A_g(s, a) > 0 among the recorded actions of won, and of lost battles

    p = clip((V_g(s) - r_lost) / (r_won - r_lost), 0, 1)

is the value as a probability of winning, with the longest discount g, and r_won and r_lost the mean
last reward of won and of lost battles: (1 + V) / 2 where the reward is +1 or -1 at the end. A
forecast of 0.5 has a Brier score of 0.25. The discount and shaped rewards along the way are part of
V, so a perfect critic is calibrated only with g near 1 and no shaping. V is the value of the
network's policy, the outcomes are those of the recorded players.

Decisions without a recorded action count for `brier` only, battles that were cut off for neither
`brier` nor the advantages by outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamon_ext.evaluation.offline import DecisionTable, Floats

RESAMPLES = 1000
RATINGS = (1200, 1400, 1600, 1800)
TURNS = (10, 20, 40)
"""Bounds of the buckets. The number of the player's decision stands for the turn."""
BINS = 10
"""Bins of the reliability curve, of equal width."""
BLOCK_BYTES = 2**24

Ratio = tuple[Floats, Floats]
"""Numerator and denominator of a figure for each decision."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; None where there is no decision, or a single battle."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """The figures of some decisions. `battles` and `trajectories` have any of them, `decisions`
    are those with a recorded action, `missing` those without."""

    battles: int
    trajectories: int
    decisions: int
    missing: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions of similar forecasts: their mean forecast, and the share that was won."""

    decisions: int
    forecast: float
    won: Figure


@dataclass(frozen=True)
class OfflineFigures:
    """All figures of one network.

    Attributes:
        gammas: the discounts of its critics, ascending.
        cut_off: trajectories of battles without an outcome.
        rewards: r_won and r_lost, None if they do not differ or are unknown.
        by: "rating", "format" or "turn" -> bucket -> its figures.
        reliability: empty without critics.
    """

    gammas: tuple[float, ...]
    cut_off: int
    rewards: tuple[float, float] | None
    overall: Group
    by: dict[str, dict[str, Group]]
    reliability: list[ReliabilityBin]


def offline_figures(
    decisions: DecisionTable, resamples: int = RESAMPLES, seed: int = 0
) -> OfflineFigures:
    """All figures of the decisions.

    Intervals are the Bayesian bootstrap over battles (Rubin 1981, Ann. Stat. 9:130): each battle,
    with both points of view, counts with a random Exp(1) weight. They are too narrow for fewer
    than about 20 battles.
    """
    rewards = outcome_rewards(decisions)
    ratios = _ratios(decisions, rewards)
    battle = np.unique(decisions.battle, return_inverse=True)[1][decisions.trajectory]
    everything = np.ones(len(decisions.known), bool)

    def group(mask: NDArray[np.bool_]) -> Group:
        names, values = list(ratios), [(n[mask], d[mask]) for n, d in ratios.values()]
        estimates = _estimates(battle[mask], values, resamples, seed)
        known = int(decisions.known[mask].sum())
        return Group(
            battles=len(np.unique(battle[mask])),
            trajectories=len(np.unique(decisions.trajectory[mask])),
            decisions=known,
            missing=int(mask.sum()) - known,
            figures=dict(zip(names, estimates, strict=True)),
        )

    by: dict[str, dict[str, Group]] = {"rating": {}, "format": {}, "turn": {}}
    for dimension, bucket, mask in _buckets(decisions):
        if mask.any():
            by[dimension][bucket] = group(mask)
    return OfflineFigures(
        gammas=decisions.gammas,
        cut_off=int(np.isnan(decisions.won).sum()),
        rewards=rewards,
        overall=group(everything),
        by=by,
        reliability=_reliability(decisions, rewards, battle, resamples, seed),
    )


def mean_figures(decisions: DecisionTable) -> dict[str, float]:
    """The figures over all decisions, without intervals; nan where there is no decision."""
    ratios = _ratios(decisions, outcome_rewards(decisions))
    with np.errstate(invalid="ignore"):
        return {name: float(n.sum() / d.sum()) for name, (n, d) in ratios.items()}


def outcome_rewards(decisions: DecisionTable) -> tuple[float, float] | None:
    """r_won and r_lost. If only one outcome occurs, the other has its negative; None: unknown."""
    won, final = decisions.won, decisions.final_reward
    means = [float(final[won == outcome].mean()) for outcome in (1, 0) if (won == outcome).any()]
    if not means or not decisions.gammas:
        return None
    if len(means) == 1:
        means = [means[0], -means[0]] if (won == 1).any() else [-means[0], means[0]]
    return (means[0], means[1]) if means[0] > means[1] else None


def win_probability(value: Floats, rewards: tuple[float, float]) -> Floats:
    """p of the module's docstring."""
    r_won, r_lost = rewards
    return np.clip((value - r_lost) / (r_won - r_lost), 0.0, 1.0)


def _ratios(decisions: DecisionTable, rewards: tuple[float, float] | None) -> dict[str, Ratio]:
    """Each figure as numerator and denominator of every decision."""
    known = decisions.known.astype(float)
    ratios = {
        "accuracy": (decisions.correct * known, known),
        "cross_entropy": (decisions.cross_entropy * known, known),
    }
    if not decisions.gammas:
        return ratios
    won = decisions.won[decisions.trajectory]
    ratios["critic_loss"] = ((decisions.error**2).mean(-1) * known, known)
    if rewards is not None:
        p = win_probability(decisions.value[:, -1], rewards)
        finished = np.isfinite(won).astype(float)
        ratios["brier"] = (np.nan_to_num((p - won) ** 2), finished)
    for outcome, name in ((1, "won"), (0, "lost")):
        of_outcome = known * (won == outcome)
        for g, gamma in enumerate(decisions.gammas):
            positive = decisions.advantage[:, g] > 0
            ratios[f"positive_advantage_{name}[{gamma:g}]"] = (positive * of_outcome, of_outcome)
    return ratios


def _buckets(decisions: DecisionTable) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Dimension, name and decisions of every bucket, in the order of the report."""
    of = decisions.trajectory
    rating = decisions.rating[of]
    yield "rating", "unrated", np.isnan(rating)
    for low, high in zip((None, *RATINGS), (*RATINGS, None), strict=True):
        inside = (rating >= (low or -np.inf)) & (rating < (high or np.inf))
        yield "rating", _bucket_name(low, high and high - 1), inside
    for name in np.unique(decisions.battle_format).tolist():
        yield "format", name, (decisions.battle_format == name)[of]
    for before, last in zip((0, *TURNS), (*TURNS, None), strict=True):
        inside = (decisions.number > before) & (decisions.number <= (last or np.inf))
        yield "turn", _bucket_name(before + 1, last), inside


def _bucket_name(low: int | None, high: int | None) -> str:
    if low is None:
        return f"up to {high}"
    return f"{low} and up" if high is None else f"{low}-{high}"


def _reliability(
    decisions: DecisionTable,
    rewards: tuple[float, float] | None,
    battle: NDArray[np.intp],
    resamples: int,
    seed: int,
) -> list[ReliabilityBin]:
    if rewards is None:
        return []
    p = win_probability(decisions.value[:, -1], rewards)
    won = decisions.won[decisions.trajectory]
    which = np.minimum((p * BINS).astype(int), BINS - 1)
    bins = []
    for one in range(BINS):
        mask = (which == one) & np.isfinite(won)
        if count := int(mask.sum()):
            ratio = won[mask], np.ones(count)
            (share,) = _estimates(battle[mask], [ratio], resamples, seed)
            bins.append(ReliabilityBin(count, float(p[mask].mean()), share))
    return bins


def _estimates(
    battle: NDArray[np.intp], ratios: list[Ratio], resamples: int, seed: int
) -> list[Figure]:
    """sum(numerator) / sum(denominator) of each ratio, with its interval over battles."""
    battle = np.unique(battle, return_inverse=True)[1]
    count = int(battle.max()) + 1
    above, below = (
        np.array([np.bincount(battle, ratio[part], count) for ratio in ratios]) for part in (0, 1)
    )
    rng = np.random.default_rng(seed)
    size = max(1, BLOCK_BYTES // (8 * count))
    resampled = []
    with np.errstate(invalid="ignore"):
        for first in range(0, resamples, size):
            weights = rng.standard_exponential((min(size, resamples - first), count))
            resampled.append((weights @ above.T) / (weights @ below.T))
        low, high = np.quantile(np.concatenate(resampled), (0.025, 0.975), axis=0)
    estimates = []
    for k, battles in enumerate((below > 0).sum(1)):
        value = float(above[k].sum() / below[k].sum()) if battles else None
        interval = (float(low[k]), float(high[k])) if battles > 1 else (None, None)
        estimates.append(Figure(value, *interval))
    return estimates
