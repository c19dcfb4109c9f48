"""Meta-solvers: from win rates of a population to a meta-strategy, a mixture of its players.

A meta-solver is a function of the (n, n) win rates, with w_ij + w_ji = 1 and 1/2 on the diagonal,
that returns n probabilities. Find one by name with `META_SOLVERS.find`, or call it directly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.optimize import linprog, minimize
from scipy.special import xlogy

from metamon_ext.errors import UserError
from metamon_ext.registry import Registry

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
MetaSolver = Callable[[Matrix], Vector]
META_SOLVERS: Registry[MetaSolver] = Registry("meta-solver", "metamon_ext.meta_solvers")


def nash(win_rates: Matrix) -> Vector:
    """The Nash equilibrium of the symmetric zero-sum game; the one of maximum entropy, if many.

    With payoffs A = W - W^T, a mixture x is an equilibrium where no pure strategy gains against it:
    x^T A >= 0. The linear program

        max sum_i t_i   with   0 <= t_i <= 1,  t_i <= y_i,  y^T A >= 0

    finds a multiple y of an equilibrium with the largest support: t_i is 1 for every strategy that
    some equilibrium plays, else 0. All equilibria on this support differ from y / sum y by vectors
    that leave the payoffs inside it at 0, and the entropy has one maximum among them. The choice
    is that of Balduzzi et al. (2018, "Re-evaluating evaluation"): copies of a strategy share its
    probability and change nothing else.
    """
    payoffs = win_rates - win_rates.T
    n = len(payoffs)
    zero, one = np.zeros((n, n)), np.eye(n)
    if (dominant := (payoffs + one > 0).all(1)).any():
        return dominant.astype(float)  # who beats all others is the only equilibrium
    found = linprog(
        c=np.repeat([0.0, -1.0], n),
        A_ub=np.block([[-payoffs.T, zero], [-one, one]]),
        b_ub=np.zeros(2 * n),
        bounds=[(0, None)] * n + [(0, 1)] * n,
        method="highs",
    )
    support = found.x[n:] > 0.5
    y = np.where(support, found.x[:n], 0.0)
    return _maximize_entropy(payoffs, y / y.sum(), support)


def _maximize_entropy(payoffs: Matrix, start: Vector, support: NDArray[np.bool_]) -> Vector:
    """The equilibrium of maximum entropy, from one of the largest support."""
    inside = payoffs[np.ix_(support, support)]
    directions = null_space(np.vstack([inside, np.ones(len(inside))]))
    if not directions.shape[1]:
        return start  # the only equilibrium
    # Probabilities and payoffs of the strategies outside the support are not negative.
    lowest = np.vstack([np.eye(len(inside)), payoffs[np.ix_(support, ~support)].T])
    base = start[support]

    def log(z: Vector) -> Vector:
        return np.log((base + directions @ z).clip(1e-300))

    best = minimize(
        lambda z: xlogy(p := (base + directions @ z).clip(0), p).sum(),
        np.zeros(directions.shape[1]),
        jac=lambda z: directions.T @ log(z),  # the directions sum to 0
        constraints={
            "type": "ineq",
            "fun": lambda z: lowest @ (base + directions @ z),
            "jac": lambda z: lowest @ directions,
        },
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    sigma = np.zeros(len(payoffs))
    sigma[support] = (base + directions @ best.x).clip(0)
    return sigma / sigma.sum()


def projected_replicator_dynamics(win_rates: Matrix) -> Vector:
    """The average of projected replicator dynamics from the uniform mixture (Lanctot et al. 2017,
    "A unified game-theoretic approach to multiagent reinforcement learning"), by OpenSpiel.

    Payoffs are W - W^T in [-1, 1]. 2,000 steps of 0.05 cover the same time as OpenSpiel's default
    of 100,000 steps of 0.001, in 2 % of the time.
    """
    try:
        from open_spiel.python.algorithms import projected_replicator_dynamics as open_spiel
    except ImportError as error:
        raise _not_installed(error) from None
    payoffs = win_rates - win_rates.T
    (sigma, _) = open_spiel.projected_replicator_dynamics(
        [payoffs, payoffs.T], prd_iterations=2000, prd_dt=0.05
    )
    return np.asarray(sigma)


def alpha_rank(win_rates: Matrix) -> Vector:
    """The stationary distribution of alpha-rank (Omidshafiei et al. 2019, "alpha-Rank"), by
    OpenSpiel.

    In the limit of an infinite ranking intensity, as in Rowland et al. (2019, "Multiagent
    evaluation under incomplete information"): evolution moves to a player that wins more than half
    against the present one, with a probability of 1 % otherwise. Only the winner of each
    pairing counts, not by how much.
    """
    try:
        from open_spiel.python.egt import alpharank
    except ImportError as error:
        raise _not_installed(error) from None
    _, _, sigma, *_ = alpharank.compute([win_rates], use_inf_alpha=True, inf_alpha_eps=0.01)
    return np.asarray(sigma)


def prioritized(win_rates: Matrix, champion: int | None = None, power: float = 2.0) -> Vector:
    """Prioritized fictitious self-play: proportional to (1 - p)^power, p being the champion's win
    rate against each player (Vinyals et al. 2019, "Grandmaster level in StarCraft II").

    Args:
        win_rates: the (n, n) win rates.
        champion: its index. Default: the player with the highest mean win rate. Against itself p is
            1/2.
        power: how much hard opponents are preferred. 0 is the uniform mixture.
    """
    if champion is None:
        champion = int(win_rates.mean(1).argmax())
    weights = (1 - win_rates[champion]) ** power
    return np.asarray(weights / weights.sum())


def uniform(win_rates: Matrix) -> Vector:
    """The uniform mixture."""
    return np.full(len(win_rates), 1 / len(win_rates))


def explore(sigma: Vector, exploration: float) -> Vector:
    """Mix with the uniform mixture, so that each of n players has at least `exploration` / n.

    Args:
        sigma: probabilities in the last dimension.
        exploration: in [0, 1].
    """
    return (1 - exploration) * sigma + exploration / sigma.shape[-1]


def _not_installed(error: ImportError) -> UserError:
    return UserError(
        f"This meta-solver needs OpenSpiel: {error}. Run pip install 'metamon_ext[psro]' with "
        "Python 3.11 or newer, or choose another --solver."
    )


for _solver in (nash, projected_replicator_dynamics, alpha_rank, prioritized, uniform):
    META_SOLVERS.register(_solver.__name__, _solver)
