"""Meta-solvers: what each of them promises, and OpenSpiel's own as the reference."""

from __future__ import annotations

import builtins
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metamon_ext.errors import UserError
from metamon_ext.evaluation.meta_solvers import (
    META_SOLVERS,
    alpha_rank,
    explore,
    nash,
    prioritized,
    projected_replicator_dynamics,
    uniform,
)

Matrix = NDArray[np.float64]
OPEN_SPIEL = pytest.mark.skipif(
    find_spec("open_spiel") is None, reason="OpenSpiel is not installed: pip install -e '.[psro]'"
)
ROCK_PAPER_SCISSORS = np.array([[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])


def symmetric(upper: Matrix) -> Matrix:
    """Win rates whose part above the diagonal is that of `upper`."""
    above = np.triu(upper, 1)
    return above + np.tril(1 - above.T, -1) + np.eye(len(upper)) / 2


@st.composite
def win_rates(draw: Any) -> Matrix:
    """Of 1 to 8 players: any rates, or few values, so that many equilibria exist."""
    n = draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        return symmetric(rng.random((n, n)))
    return symmetric(rng.choice(draw(st.sampled_from([[0.5], [0, 1], [0, 0.5, 1]])), (n, n)))


@settings(max_examples=150)
@given(win_rates())
def test_against_nash_no_player_gains(rates: Matrix) -> None:
    sigma = nash(rates)
    assert sigma.sum() == pytest.approx(1) and sigma.min() >= 0
    assert (rates @ sigma).max() <= 0.5 + 1e-6


@settings(max_examples=60)
@given(win_rates(), st.randoms())
def test_the_order_of_the_players_changes_nothing(rates: Matrix, rng: Any) -> None:
    order = rng.sample(range(len(rates)), len(rates))
    shuffled = rates[np.ix_(order, order)]
    for solver in (nash, uniform, prioritized):
        # Of equally good champions prioritized takes the first.
        if solver is not prioritized or len({*rates.mean(1).round(9)}) == len(rates):
            assert solver(shuffled) == pytest.approx(solver(rates)[order], abs=1e-6)


@settings(max_examples=60)
@given(win_rates(), st.integers(0, 7), st.integers(1, 3))
def test_copies_share_the_probability_of_nash(rates: Matrix, who: int, copies: int) -> None:
    who %= len(rates)
    index = [*range(len(rates)), *[who] * copies]
    sigma, expected = nash(rates[np.ix_(index, index)]), nash(rates)
    same = [who, *range(len(rates), len(index))]
    assert np.ptp(sigma[same]) < 1e-6
    assert (rates[:, index] @ sigma).max() <= 0.5 + 1e-6
    if np.isclose(rates, 0.5).sum() == len(rates):  # the equilibrium without copies is unique
        others = [i for i in range(len(rates)) if i != who]
        assert sigma[others] == pytest.approx(expected[others], abs=1e-6)


def test_known_equilibria() -> None:
    assert nash(ROCK_PAPER_SCISSORS) == pytest.approx([1 / 3] * 3)
    assert nash(np.full((5, 5), 0.5)) == pytest.approx([0.2] * 5)
    ladder = 1 / (1 + np.exp(np.subtract.outer(np.arange(5), np.arange(5))))
    assert nash(ladder) == pytest.approx([1, 0, 0, 0, 0])
    index = [0, 0, 1, 2]  # two rocks
    assert nash(ROCK_PAPER_SCISSORS[np.ix_(index, index)]) == pytest.approx(
        [1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=1e-6
    )


def test_the_largest_entropy_is_chosen_among_equilibria_of_different_sizes() -> None:
    """Two cycles of three that draw with each other: every mixture of their Nash is one."""
    rates = np.full((6, 6), 0.5)
    rates[:3, :3] = rates[3:, 3:] = ROCK_PAPER_SCISSORS
    assert nash(rates) == pytest.approx([1 / 6] * 6, abs=1e-6)


def test_prioritized_prefers_opponents_that_beat_the_champion() -> None:
    rates = symmetric(np.array([[0, 0.9, 0.3], [0, 0, 0.8], [0, 0, 0]]))
    assert prioritized(rates, champion=0) == pytest.approx(
        np.array([0.25, 0.01, 0.49]) / 0.75, abs=1e-9
    )
    assert prioritized(rates) == pytest.approx(prioritized(rates, champion=0))  # 57 % on average
    assert prioritized(rates, champion=1, power=0) == pytest.approx([1 / 3] * 3)


def test_exploration_is_a_floor() -> None:
    sigma = explore(np.array([[1.0, 0.0, 0.0, 0.0]]), 0.2)
    assert sigma == pytest.approx(np.array([[0.85, 0.05, 0.05, 0.05]]))
    assert explore(np.array([1.0, 0.0]), 1) == pytest.approx([0.5, 0.5])


def test_solvers_are_found_by_name() -> None:
    assert META_SOLVERS.find("nash") is nash
    with pytest.raises(UserError, match=r"Unknown meta-solver 'nahs'. Did you mean 'nash'"):
        META_SOLVERS.find("nahs")


@pytest.mark.parametrize("solver", [projected_replicator_dynamics, alpha_rank])
def test_without_open_spiel_the_fix_is_named(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name.startswith("open_spiel"):
            raise ImportError("No module named 'open_spiel'")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"No module named 'open_spiel'. Run pip install '.*psro"):
        solver(ROCK_PAPER_SCISSORS)


@OPEN_SPIEL
def test_nash_is_that_of_open_spiels_regret_matching() -> None:
    """Which approaches it: OpenSpiel's linear program needs a solver that is no wheel."""
    from open_spiel.python.algorithms.regret_matching import regret_matching

    rates = symmetric(np.random.default_rng(0).random((7, 7)))
    payoffs = rates - rates.T
    expected, _ = regret_matching([payoffs, payoffs.T], iterations=5000, gamma=0.0)
    assert (expected > 0.1).sum() == 3
    assert nash(rates) == pytest.approx(expected, abs=0.05)


@OPEN_SPIEL
def test_projected_replicator_dynamics_is_that_of_open_spiels_defaults() -> None:
    """With coarser steps: the defaults, at a tenth of their steps, take a second here."""
    from open_spiel.python.algorithms import projected_replicator_dynamics as open_spiel

    rates = symmetric(np.random.default_rng(0).random((5, 5)))
    payoffs = rates - rates.T
    expected, _ = open_spiel.projected_replicator_dynamics(
        [payoffs, payoffs.T], prd_iterations=10_000, prd_dt=0.01
    )
    assert projected_replicator_dynamics(rates) == pytest.approx(expected, abs=0.01)
    ladder = 1 / (1 + np.exp(np.subtract.outer(np.arange(5), np.arange(5))))
    assert projected_replicator_dynamics(ladder)[0] > 0.9


@OPEN_SPIEL
def test_alpha_rank_finds_the_cycle_and_the_best() -> None:
    assert alpha_rank(ROCK_PAPER_SCISSORS) == pytest.approx([1 / 3] * 3)
    top = np.full((4, 4), 0.9)  # a cycle of three that all beat the fourth
    top[:3, :3] = ROCK_PAPER_SCISSORS
    top[3] = [0.1, 0.1, 0.1, 0.5]
    assert alpha_rank(top)[:3] == pytest.approx([1 / 3] * 3, abs=0.01)
    ladder = 1 / (1 + np.exp(np.subtract.outer(np.arange(5), np.arange(5))))
    assert alpha_rank(ladder).argmax() == 0 and alpha_rank(ladder)[0] > 0.9
