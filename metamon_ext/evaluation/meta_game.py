"""The meta-game of a population: which mixture to play, and how much of the strength is cyclic.

**Exploitability.** The value of this game is 0: by symmetry both sides win half of the games. A
Nash mixture loses to no member of the population, so that *inside the population* its
exploitability is 0 by construction. What can be measured is how far a new policy beats it:
exploitability here means the win rate of a trained best response against the mixture minus one
half, with its interval. It is a lower bound, as a better response may exist. A well-known
"exploitability of 0.44" is something else: the largest minus the smallest win rate of the members
against the Nash mixture, that is, how badly the *weakest member* loses to it. That number says
nothing about the mixture: a new member that always loses raises it, and the mixture stays the same.
`deviation_gain` here is the largest win rate of a member against the meta-strategy minus one half.
It is 0 for Nash, and more for another meta-solver or with `exploration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from metamon_ext.errors import UserError, cannot_write, first_few
from metamon_ext.evaluation.games import Games
from metamon_ext.evaluation.meta_solvers import META_SOLVERS, MetaSolver, explore, nash
from metamon_ext.evaluation.payoffs import Estimate, PayoffMatrix, choose_players
from metamon_ext.evaluation.ratings import Rating, bradley_terry
from metamon_ext.evaluation.results import read_head_to_head, read_tournament
from metamon_ext.files import lock_folder, write_json
from metamon_ext.settings import check_at_least, check_seed

ANALYSIS = "meta_game_analysis.json"
INTERACTIONS = "interaction_matrix.json"
STRATEGY = "meta_strategy.json"


@dataclass(frozen=True, kw_only=True)
class MetaGameConfig:
    """What to analyze, and how.

    Attributes:
        run_folders: folders of tournaments or of Metamon's battle logs; players of one name are one
        head_to_head: instead, a CSV with the columns player, opponent, wins, losses, ties
        solver: nash, projected_replicator_dynamics, alpha_rank, prioritized, or uniform
        exploration: this share of the meta-strategy is spread evenly over all players
        min_games: leave players out until all pairs have at least so many games
        players: analyze these only
        draws: from the posterior of the win rates, for intervals
        seed: of the draws
        output_dir: default: meta_game/ in the first run folder, or beside the CSV
    """

    run_folders: tuple[Path, ...] = ()
    head_to_head: Path | None = None
    solver: str = "nash"
    exploration: float = 0.0
    min_games: int = 0
    players: tuple[str, ...] = ()
    draws: int = 400
    seed: int = 0
    output_dir: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.run_folders) == (self.head_to_head is not None):
            raise UserError("Pass either the folders of tournaments or --head_to_head.")
        if len({folder.resolve() for folder in self.run_folders}) < len(self.run_folders):
            raise UserError("A run folder is named twice. Its games would count twice.")
        META_SOLVERS.find(self.solver)
        if not 0 <= self.exploration <= 1:
            raise UserError(f"exploration must be from 0 to 1, not {self.exploration}.")
        check_at_least(0, min_games=self.min_games)
        check_at_least(2, draws=self.draws)
        check_seed(self.seed)

    @property
    def folder(self) -> Path:
        """Where the files go."""
        sources = [*self.run_folders, *([self.head_to_head.parent] if self.head_to_head else [])]
        return self.output_dir or sources[0] / "meta_game"


@dataclass(frozen=True)
class Member:
    """A player of the population.

    Attributes:
        rating: by Bradley-Terry, from the games of this population.
        probability: in the meta-strategy.
        nash_average: win rate against the Nash mixture minus one half, at most 0 (Balduzzi et al.
            2018, "Re-evaluating evaluation", who average logits; a mixture of policies averages win
            rates). Unlike a rating it does not depend on copies or on weak opponents.
    """

    rating: Rating
    probability: Estimate
    nash_average: Estimate


@dataclass(frozen=True)
class MetaGame:
    """What the games of a population say of it as a game.

    Attributes:
        payoffs: the win rates; players in the order of their ratings.
        low, high: (n, n) ends of the 95 % interval of each win rate.
        members: the players, in the same order.
        cyclic_share, uncorrected_cyclic_share: see the function `cyclic_share`.
        deviation_gain: the best member's win rate against the meta-strategy minus one half.
    """

    payoffs: PayoffMatrix
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    members: Sequence[Member]
    cyclic_share: Estimate
    uncorrected_cyclic_share: float
    deviation_gain: Estimate


def analyze(
    games: Games,
    players: Sequence[str],
    solver: MetaSolver = nash,
    exploration: float = 0.0,
    draws: int = 400,
    seed: int = 0,
) -> MetaGame:
    """Analyze the game between these players.

    Args:
        games: games of any players.
        players: at least two, each with games against others of them (see `choose_players`).
        solver: a meta-solver.
        exploration: see `explore`.
        draws: from the posterior of the win rates.
        seed: of the draws.
    """
    ratings = bradley_terry(games.among(players), seed=seed)
    payoffs = PayoffMatrix.of(games, [rating.player for rating in ratings])
    posterior = payoffs.posterior(draws, seed)
    win_rates = np.concatenate([payoffs.win_rates[None], posterior])  # the estimate, then the draws

    def solve(solver: MetaSolver) -> NDArray[np.float64]:
        return np.array([solver(each) for each in win_rates])

    equilibria = solve(nash)
    sigma = explore(equilibria if solver is nash else solve(solver), exploration)
    averages = _against(win_rates, equilibria)
    gains = _against(win_rates, sigma).max(1)
    low, high = np.quantile(posterior, [0.025, 0.975], axis=0)
    members = map(Member, ratings, _estimates(sigma), _estimates(averages))
    share, uncorrected = cyclic_share(payoffs, posterior)
    return MetaGame(
        payoffs,
        low,
        high,
        [*members],
        share,
        uncorrected,
        Estimate.of(gains[0], gains[1:]),
    )


def _against(win_rates: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each player's win rate against a mixture minus one half, (m, n, n), (m, n) -> (m, n)."""
    return np.einsum("mij,mj->mi", win_rates, sigma) - 0.5


def _estimates(values: NDArray[np.float64]) -> list[Estimate]:
    """Of each column of (1 + draws, n)."""
    return [Estimate.of(column[0], column[1:]) for column in values.T]


def cyclic_share(payoffs: PayoffMatrix, posterior: NDArray[np.float64]) -> tuple[Estimate, float]:
    """The share of the players' strength that no rating explains, in [0, 1].

    The log odds A_ij = log(w_ij / w_ji) of the pairs that have met fall into two orthogonal parts
    (Jiang et al. 2011, Math. Program. 127:203; Balduzzi et al. 2018 and 2019, "Open-ended learning
    in symmetric zero-sum games"):

        A = G + C,   G_ij = r_i - r_j,   r = argmin sum_ij (A_ij - r_i + r_j)^2

    G is transitive: the ratings r explain it. C is cyclic: each player's sum over its opponents is
    0, as in rock-paper-scissors. The share is |C|^2 / (|C|^2 + |G|^2). If all have met, r_i is the
    mean of row i.

    Errors of the win rates add to both parts, and mostly to C: a league without any cycle has a
    share above 0. So the expected squares of the errors are subtracted, once from those of the
    posterior mean, and twice from those of a draw, which has the errors of the posterior too.
    Negative differences are set to 0. In simulated leagues the intervals cover the truth at least
    92 % of the time, and the mean value is at most 0.03 too small: where in many pairs one player
    won all games.

    Args:
        payoffs: the games.
        posterior: (draws, n, n) win rates.

    Returns:
        The share, and the share without the correction, as other analyses give it.
    """
    log_odds = logit(posterior.clip(1e-12, 1 - 1e-12))
    mean = log_odds.mean(0)
    parts = _squares(payoffs.games > 0, np.concatenate([mean[None], log_odds]))
    noise = _squares(payoffs.games > 0, log_odds - mean).mean(0)
    uncorrected = parts[0, 0] / parts[0].sum().clip(1e-12)
    parts -= np.where(np.arange(len(parts)) == 0, 1, 2)[:, None] * noise
    cyclic, transitive = parts.clip(0).T
    share = cyclic / (cyclic + transitive).clip(1e-12)
    return Estimate.of(share[0], share[1:]), float(uncorrected)


def _squares(played: NDArray[np.bool_], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The squared norms of the cyclic and the transitive part, (draws, n, n) -> (draws, 2)."""
    met = played.astype(float)
    ratings = (log_odds * met).sum(2) @ np.linalg.pinv(np.diag(met.sum(1)) - met)
    transitive = (ratings[:, :, None] - ratings[:, None, :]) * met
    cyclic = log_odds * met - transitive
    return np.stack([(part**2).sum((1, 2)) for part in (cyclic, transitive)], axis=1)


def meta_game(config: MetaGameConfig) -> tuple[MetaGame, dict[str, Any]]:
    """Analyze a league, and write the three files.

    Returns:
        The analysis, and what `meta_game_analysis.json` holds.

    Raises:
        UserError: no battles, unknown players, or a folder that cannot be written.
    """
    games, notes = _read(config)
    chosen = choose_players(games, config.players, config.min_games)
    with lock_folder(config.folder):
        game = analyze(
            games,
            chosen,
            META_SOLVERS.find(config.solver),
            config.exploration,
            config.draws,
            config.seed,
        )
        content = write_meta_game(game, config, [*notes, *_notes(game, games, config)])
    return game, content


def write_meta_game(game: MetaGame, config: MetaGameConfig, notes: Sequence[str]) -> dict[str, Any]:
    """Write the three files, in a folder that the caller has locked.

    Returns what `meta_game_analysis.json` holds. Raises UserError for a folder that cannot be
    written.
    """
    content = content_of(game, config) | {"notes": notes}
    try:
        write_json(config.folder / INTERACTIONS, interactions_of(game))
        write_json(config.folder / STRATEGY, strategy_of(game, config))
        write_json(config.folder / ANALYSIS, content)
    except OSError as error:
        raise cannot_write(config.folder, error) from None
    return content


def _read(config: MetaGameConfig) -> tuple[Games, list[str]]:
    if config.head_to_head is not None:
        results = [read_head_to_head(config.head_to_head)]
    else:
        results = [read_tournament(folder) for folder in config.run_folders]
    notes = dict.fromkeys(note for each in results for note in each.notes)
    return Games.concatenate([each.games for each in results]), [*notes]


def _notes(game: MetaGame, games: Games, config: MetaGameConfig) -> list[str]:
    """What was left out, and what is not known."""
    notes, n = [], len(game.members)
    everyone = {games.players[i] for i in {*games.a.tolist(), *games.b.tolist()}}
    if left := sorted((everyone & {*config.players} or everyone) - {*game.payoffs.players}):
        notes.append(
            f"Left out, as not all pairs have {config.min_games} games: {first_few(left)}."
        )
    if unplayed := game.payoffs.unplayed:
        notes.append(
            f"{unplayed} of {n * (n - 1) // 2} pairs have not met. Their win rate may be anything "
            "from 0 to 1 here, and counts as 1/2 in the estimate. --min_games 1 leaves players out "
            "until all have met."
        )
    return notes


def content_of(game: MetaGame, config: MetaGameConfig) -> dict[str, Any]:
    """What `meta_game_analysis.json` holds, but for the notes."""
    settings = ("solver", "exploration", "min_games", "draws", "seed")
    return {
        **{name: getattr(config, name) for name in settings},
        "games": int(game.payoffs.games.sum()) // 2,
        "value": 0.5,
        "deviation_gain": asdict(game.deviation_gain),
        "cyclic_share": asdict(game.cyclic_share),
        "uncorrected_cyclic_share": game.uncorrected_cyclic_share,
        "members": [asdict(member) for member in game.members],
        "unplayed_pairs": game.payoffs.unplayed,
    }


def interactions_of(game: MetaGame) -> dict[str, Any]:
    """What `interaction_matrix.json` holds: win rates of the row's player against the column's.

    `observed` is null where two players have not met. `win_rate` is the estimate, in the 95 %
    interval [`low`, `high`].
    """
    payoffs = game.payoffs
    return {
        "players": payoffs.players,
        "games": payoffs.games.tolist(),
        "observed": payoffs.observed.tolist(),  # nan is null in JSON
        "win_rate": payoffs.win_rates.tolist(),
        "low": game.low.tolist(),
        "high": game.high.tolist(),
    }


def strategy_of(game: MetaGame, config: MetaGameConfig) -> dict[str, Any]:
    """What `meta_strategy.json` holds: the probability of each player."""
    return {
        "solver": config.solver,
        "exploration": config.exploration,
        "strategy": {each.rating.player: asdict(each.probability) for each in game.members},
    }
