"""What a network makes of recorded decisions, decision by decision: the input of offline figures.

A network is judged on battles that it was not trained on, without playing: see `Predictor` for what
is asked of it and `metamon_ext.evaluation.offline_figures` for what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from metamon_ext.data.cache.arrays import Featurizer
from metamon_ext.data.featurized import FeaturizedTrajectory

Floats = NDArray[np.float64]
AT_ONCE = 16
"""Trajectories in one batch of predictions."""


@dataclass(frozen=True)
class Predictions:
    """A network's output for the N decisions of a trajectory, with A actions and G discounts.

    Attributes:
        log_probs: (N, A), log pi(a|s).
        legal: (N, A), bool.
        action: (N,), the recorded action, -1 where it is missing.
        reward: (N,), what followed each decision, by the network's own reward function.
        value: (N, G), V_g(s) = sum_a pi(a|s) Q_g(s, a), in units of the reward.
        q_taken: (N, G), Q_g(s, a) of the recorded action; any number where it is missing.
    """

    log_probs: NDArray[np.floating]
    legal: NDArray[np.bool_]
    action: NDArray[np.integer]
    reward: NDArray[np.floating]
    value: NDArray[np.floating]
    q_taken: NDArray[np.floating]


class Predictor(Protocol):
    """A network to be judged.

    A policy has one if its class has a method `predictor(**options) -> Predictor`, with the options
    of the PolicyRef.
    """

    @property
    def featurizer(self) -> Featurizer:
        """Makes the rows that `predict` takes."""

    @property
    def gammas(self) -> Sequence[float]:
        """The discounts of the critics. Empty without trained critics."""

    def predict(self, trajectories: Sequence[NDArray[np.void]]) -> list[Predictions]:
        """The predictions for the rows of each trajectory."""


@dataclass(frozen=True)
class DecisionTable:
    """N recorded decisions with what a network made of them, of T trajectories, G discounts.

    Attributes:
        gammas: ascending; empty without trained critics.
        trajectory: (N,), index of the trajectory.
        number: (N,), 1 for the first decision of its trajectory.
        known: (N,), bool: whether the action is recorded.
        correct: (N,), bool: whether the recorded action is the most likely legal one.
        cross_entropy: (N,), -log pi of the recorded action among the legal ones, in nats.
        value, advantage, error: (N, G). A = Q(s, a) - V(s), and the error is Q(s, a) minus the
            discounted return that followed.
        final_reward: (T,), the last reward of each trajectory.
        battle, battle_format: (T,), names.
        rating: (T,), nan for unrated.
        won: (T,), 1 or 0, nan for a battle that was cut off.
    """

    gammas: tuple[float, ...]
    trajectory: NDArray[np.int64]
    number: NDArray[np.int64]
    known: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    cross_entropy: Floats
    value: Floats
    advantage: Floats
    error: Floats
    final_reward: Floats
    battle: NDArray[np.str_]
    battle_format: NDArray[np.str_]
    rating: Floats
    won: Floats


def predict(predictor: Predictor, trajectories: Iterable[FeaturizedTrajectory]) -> DecisionTable:
    """Let a network predict every decision of some trajectories.

    Rows are read in batches of `AT_ONCE` trajectories and not kept; what is kept takes about 100
    bytes a decision.
    """
    order = np.argsort(predictor.gammas, kind="stable")
    gammas = np.asarray(predictor.gammas, float)[order]
    about: list[FeaturizedTrajectory] = []
    columns: list[tuple[NDArray[np.generic], ...]] = []
    final_rewards: list[float] = []
    for batch in _batches(trajectories):
        rows = [one.rows for one in batch]
        for one, predictions in zip(batch, predictor.predict(rows), strict=True):
            columns.append(_columns(predictions, order, gammas))
            final_rewards.append(float(predictions.reward[-1]))
            about.append(replace(one, rows=np.empty(0, one.rows.dtype)))
    lengths = [len(known) for known, *_ in columns]
    known, correct, cross_entropy, value, advantage, error = map(
        np.concatenate, zip(*columns, strict=True)
    )
    return DecisionTable(
        gammas=tuple(gammas.tolist()),
        trajectory=np.repeat(np.arange(len(about)), lengths),
        number=np.concatenate([np.arange(1, n + 1) for n in lengths]),
        known=known,
        correct=correct,
        cross_entropy=cross_entropy,
        value=value,
        advantage=advantage,
        error=error,
        final_reward=np.array(final_rewards),
        battle=np.array([one.battle_id for one in about]),
        battle_format=np.array([one.battle_format for one in about]),
        rating=np.array([np.nan if one.rating is None else one.rating for one in about]),
        won=np.array([np.nan if one.won is None else one.won for one in about], float),
    )


def _batches(trajectories: Iterable[FeaturizedTrajectory]) -> Iterator[list[FeaturizedTrajectory]]:
    rest = iter(trajectories)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch


def _columns(
    predictions: Predictions, order: NDArray[np.intp], gammas: Floats
) -> tuple[NDArray[np.generic], ...]:
    """The columns of `DecisionTable` from `known` to `error`, of one trajectory."""
    action = predictions.action
    known = action >= 0
    decisions = np.arange(len(action))
    taken = np.maximum(action, 0)
    legal = predictions.legal.copy()
    legal[decisions[known], taken[known]] = True  # the game took it, whatever the state says
    log_probs = log_softmax(np.where(legal, predictions.log_probs.astype(float), -np.inf), axis=-1)
    correct = known & (log_probs.argmax(-1) == action)
    cross_entropy = np.where(known, -log_probs[decisions, taken], 0.0)
    value, q_taken = (x[:, order].astype(float) for x in (predictions.value, predictions.q_taken))
    error = q_taken - discounted_returns(predictions.reward, gammas)
    return known, correct, cross_entropy, value, q_taken - value, error


def discounted_returns(reward: NDArray[np.floating], gammas: Floats) -> Floats:
    """R_g(t) = r(t) + gamma_g R_g(t + 1) of a complete battle: (N,), (G,) -> (N, G)."""
    returns = np.zeros((len(reward) + 1, len(gammas)))
    for t in reversed(range(len(reward))):
        returns[t] = reward[t] + gammas * returns[t + 1]
    return returns[:-1]
