"""Figures of recorded decisions against values by hand and against a naive implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metamon_ext.data.featurized import FeaturizedTrajectory
from metamon_ext.evaluation import plots
from metamon_ext.evaluation.offline import DecisionTable, Predictions, discounted_returns, predict
from metamon_ext.evaluation.offline_figures import (
    BINS,
    mean_figures,
    offline_figures,
    outcome_rewards,
    win_probability,
)


class Recited:
    """A predictor whose rows are the indices of ready predictions."""

    featurizer: Any = None

    def __init__(self, predictions: list[Predictions], gammas: Sequence[float]) -> None:
        self.gammas = gammas
        self._predictions = predictions

    def predict(self, trajectories: Sequence[NDArray[np.void]]) -> list[Predictions]:
        return [self._predictions[int(rows["i"][0])] for rows in trajectories]


def make_table(
    predictions: list[Predictions], gammas: Sequence[float], **columns: Sequence[Any]
) -> DecisionTable:
    """The table of trajectories whose attributes are the columns."""
    rows = [np.array([(i,)], [("i", int)]) for i in range(len(predictions))]
    values = [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
    trajectories = [
        FeaturizedTrajectory(rows=row, **value) for row, value in zip(rows, values, strict=True)
    ]
    return predict(Recited(predictions, gammas), trajectories)


def by_hand() -> DecisionTable:
    """A won battle of two decisions, and a lost one whose first action is missing."""
    illegal = -1e30
    won = Predictions(
        log_probs=np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]),
        legal=np.array([[True, True, False], [True, True, True]]),
        action=np.array([0, 2]),
        reward=np.array([0.0, 1.0]),
        value=np.array([[0.0], [0.5]]),
        q_taken=np.array([[0.2], [0.5]]),
    )
    lost = Predictions(
        log_probs=np.array([[0.0, illegal, illegal], [math.log(0.6), math.log(0.4), illegal]]),
        legal=np.array([[True, False, False], [False, True, False]]),
        action=np.array([-1, 0]),
        reward=np.array([0.0, -1.0]),
        value=np.array([[-0.5], [-1.5]]),
        q_taken=np.array([[9.0], [-1.0]]),
    )
    return make_table(
        [won, lost],
        [0.5],
        battle_id=["a", "b"],
        battle_format=["gen1ou", "gen9ou"],
        rating=[1500, None],
        won=[True, False],
    )


def test_figures_by_hand() -> None:
    figures = offline_figures(by_hand())
    overall = figures.overall
    assert (overall.battles, overall.trajectories) == (2, 2)
    assert (overall.decisions, overall.missing) == (3, 1)
    assert figures.rewards == (1.0, -1.0) and figures.cut_off == 0
    # legal are {0, 1} with 2/3 and 1/3; all three; and {0, 1}, as the game took action 0
    values = {name: estimate.value for name, estimate in overall.figures.items()}
    assert values == pytest.approx(
        {
            "accuracy": 2 / 3,
            "cross_entropy": (-math.log(2 / 3) - math.log(0.1) - math.log(0.6)) / 3,
            # Q - R: 0.2 - 0.5, 0.5 - 1, -1 + 1
            "critic_loss": (0.3**2 + 0.5**2 + 0) / 3,
            # p = 0.5 and 0.75 for the won battle, 0.25 and 0 (clipped) for the lost one
            "brier": (0.5**2 + 0.25**2 + 0.25**2 + 0) / 4,
            "positive_advantage_won[0.5]": 1 / 2,
            "positive_advantage_lost[0.5]": 1.0,
        }
    )
    assert list(figures.by["rating"]) == ["unrated", "1400-1599"]
    assert list(figures.by["format"]) == ["gen1ou", "gen9ou"]
    assert list(figures.by["turn"]) == ["1-10"]
    assert figures.by["format"]["gen9ou"].figures["accuracy"].value == 1.0
    assert figures.by["format"]["gen9ou"].figures["accuracy"].low is None  # a single battle
    assert figures.by["format"]["gen9ou"].figures["positive_advantage_won[0.5]"].value is None
    curve = [(one.forecast, one.won.value, one.decisions) for one in figures.reliability]
    assert curve == [(0.0, 0.0, 1), (0.25, 0.0, 1), (0.5, 1.0, 1), (0.75, 1.0, 1)]


def test_returns_by_hand() -> None:
    returns = discounted_returns(np.array([1.0, 0.0, 2.0]), np.array([0.5, 1.0]))
    assert returns.tolist() == [[1.5, 3.0], [1.0, 2.0], [2.0, 2.0]]


def random_table(seed: int, battles: int = 60, gammas: Sequence[float] = (0.99, 0.9)) -> Any:
    """Predictions at random: both points of view of each battle, the last one cut off."""
    rng = np.random.default_rng(seed)
    predictions, about = [], []
    for number in range(2 * battles):
        n = int(rng.integers(1, 50))
        logits = rng.normal(size=(n, 9))
        won = bool(rng.random() < 0.5) if number < 2 * battles - 2 else None
        reward = np.zeros(n)
        reward[-1] = {True: 1.0, False: -1.0, None: 0.0}[won]
        predictions.append(
            Predictions(
                log_probs=logits - np.log(np.exp(logits).sum(-1, keepdims=True)),
                legal=rng.random((n, 9)) < 0.7,
                action=rng.integers(-1, 9, n),
                reward=reward,
                value=rng.normal(size=(n, len(gammas))),
                q_taken=rng.normal(size=(n, len(gammas))),
            )
        )
        about.append(
            {
                "battle_id": f"b{number // 2}",
                "battle_format": ["gen1ou", "gen4ou"][number // 2 % 2],
                "rating": [None, 1199, 1200, 1900][number // 2 % 4],
                "won": won,
            }
        )
    columns = {key: [one[key] for one in about] for key in about[0]}
    return make_table(predictions, gammas, **columns), predictions, about


def naive(predictions: list[Predictions], about: list[dict[str, Any]]) -> dict[str, float]:
    """The figures decision by decision, with discounts (0.99, 0.9)."""
    kept: dict[str, list[float]] = {}
    for one, facts in zip(predictions, about, strict=True):
        for t, action in enumerate(one.action.tolist()):
            if facts["won"] is not None:
                p = min(max((one.value[t, 0] + 1) / 2, 0), 1)
                kept.setdefault("brier", []).append((p - facts["won"]) ** 2)
            if action == -1:
                continue
            legal = [a for a in range(9) if one.legal[t, a] or a == action]
            total = sum(math.exp(one.log_probs[t, a]) for a in legal)
            best = max(legal, key=lambda a: one.log_probs[t, a])
            kept.setdefault("accuracy", []).append(best == action)
            nll = math.log(total) - one.log_probs[t, action]
            kept.setdefault("cross_entropy", []).append(nll)
            for g, gamma in enumerate((0.99, 0.9)):
                future = one.reward[t:]
                target = sum(gamma**k * r for k, r in enumerate(future))
                kept.setdefault("critic_loss", []).append((one.q_taken[t, g] - target) ** 2)
                if facts["won"] is not None:
                    name = f"positive_advantage_{'won' if facts['won'] else 'lost'}[{gamma:g}]"
                    kept.setdefault(name, []).append(one.q_taken[t, g] > one.value[t, g])
    return {name: sum(values) / len(values) for name, values in kept.items()}


def test_figures_are_those_of_a_naive_implementation() -> None:
    table, predictions, about = random_table(0)
    figures = offline_figures(table, resamples=20)
    assert figures.gammas == (0.9, 0.99) and figures.cut_off == 2
    overall = {name: estimate.value for name, estimate in figures.overall.figures.items()}
    assert overall == pytest.approx(naive(predictions, about))
    assert overall == pytest.approx(mean_figures(table))
    for rating, bucket in ((None, "unrated"), (1199, "up to 1199"), (1900, "1800 and up")):
        some = [i for i, one in enumerate(about) if one["rating"] == rating]
        expected = naive([predictions[i] for i in some], [about[i] for i in some])
        found = figures.by["rating"][bucket]
        assert {k: v.value for k, v in found.figures.items()} == pytest.approx(expected)
        assert found.battles == len({about[i]["battle_id"] for i in some})
    assert sum(group.decisions for group in figures.by["turn"].values()) == sum(
        int((one.action >= 0).sum()) for one in predictions
    )


def test_intervals_depend_on_the_seed_only_and_treat_a_battle_as_one() -> None:
    table, *_ = random_table(1)
    one, same, other = (offline_figures(table, seed=seed).overall for seed in (0, 0, 1))
    assert one == same != other
    for estimate in one.figures.values():
        assert estimate.low < estimate.value < estimate.high
    # the same decisions as twice as many battles: nothing new was seen
    doubled = replace(
        table,
        **{
            name: np.concatenate([getattr(table, name)] * 2)
            for name in ("number", "known", "correct", "cross_entropy", "value", "advantage",
                         "error", "final_reward", "battle", "battle_format", "rating", "won")
        },
        trajectory=np.concatenate([table.trajectory, table.trajectory + len(table.won)]),
    )  # fmt: skip
    assert offline_figures(doubled).overall.figures["brier"].low == pytest.approx(
        one.figures["brier"].low
    )


def test_intervals_cover_the_truth() -> None:
    """95 % of them, of battles whose decisions are all alike."""
    covered, (table, *_) = 0, random_table(0)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        lucky = rng.random(len(table.won)) < 0.3
        lucky[1::2] = lucky[::2]
        table = replace(table, correct=lucky[table.trajectory], known=table.known | True)
        table = replace(table, gammas=(), battle_format=np.repeat("gen1ou", len(table.won)))
        accuracy = offline_figures(table, resamples=100, seed=seed).overall.figures["accuracy"]
        covered += accuracy.low <= 0.3 <= accuracy.high
    assert 88 <= covered <= 99


def test_the_value_becomes_a_probability_by_the_rewards_of_the_outcomes() -> None:
    table = by_hand()
    assert outcome_rewards(table) == (1.0, -1.0)
    assert outcome_rewards(replace(table, won=np.array([1.0, np.nan]))) == (1.0, -1.0)
    assert outcome_rewards(replace(table, won=np.array([np.nan, 0.0]))) == (1.0, -1.0)
    assert outcome_rewards(replace(table, won=np.full(2, np.nan))) is None
    assert outcome_rewards(replace(table, final_reward=np.zeros(2))) is None
    p = win_probability(np.array([-150.0, -100.0, 0.0, 50.0, 300.0]), (100.0, -100.0))
    assert p.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0]


def test_without_critics_there_are_no_figures_of_a_value() -> None:
    table, *_ = random_table(2, gammas=())
    figures = offline_figures(table, resamples=10)
    assert set(figures.overall.figures) == {"accuracy", "cross_entropy"}
    assert figures.reliability == [] and figures.rewards is None


def test_a_calibrated_forecast_is_on_the_diagonal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the figures and in the picture of them."""
    rng = np.random.default_rng(0)
    predictions, won = [], []
    for _ in range(4000):
        p = rng.random()
        won.append(bool(rng.random() < p))
        value = np.array([[2 * p - 1]])
        reward = np.array([1.0 if won[-1] else -1.0])
        legal = np.ones((1, 2), bool)
        predictions.append(
            Predictions(np.zeros((1, 2)), legal, np.array([0]), reward, value, value)
        )
    names = [str(i) for i in range(4000)]
    columns = {"battle_id": names, "battle_format": ["gen1ou"] * 4000, "rating": [None] * 4000}
    bins = offline_figures(make_table(predictions, [1.0], **columns, won=won)).reliability
    assert len(bins) == BINS
    for one in bins:
        assert one.won.value == pytest.approx(one.forecast, abs=0.08)
    kept: dict[str, Any] = {}
    monkeypatch.setattr(plots, "_save", lambda figure, path: kept.update(figure=figure))
    plots.reliability_curves(tmp_path / "x.png", {"net": bins})
    _, line = kept["figure"].axes[0].get_lines()
    assert line.get_xdata().tolist() == [one.forecast for one in bins]
    assert line.get_ydata().tolist() == [one.won.value for one in bins]
