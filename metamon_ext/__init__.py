"""Offline-RL extensions for Metamon and AMAGO: training, self-play, and honest measurement.

The names of `__all__` are the public API. Importing this package loads none of them; each is loaded
when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metamon_ext.about import GIN_CONFIGS, __version__

if TYPE_CHECKING:
    from metamon_ext.api import (
        BattleSpec,
        Conditions,
        Decision,
        Executor,
        FilterConfig,
        Game,
        GateConfig,
        GenerateConfig,
        IterateConfig,
        LocalExecutor,
        MarginReward,
        MatchupObservationSpace,
        PlayConfig,
        Player,
        Policy,
        PolicyRef,
        PotentialShapedReward,
        PsroConfig,
        QuickstartConfig,
        Recording,
        ResultStore,
        Sprt,
        TournamentConfig,
        Trainer,
        Trajectory,
        UniversalState,
        WinLossReward,
        audit,
        bradley_terry,
        elo,
        filter_trajectories,
        games_of,
        gate,
        generate,
        head_to_head,
        iterate,
        matchup,
        play,
        play_battles,
        psro,
        quickstart,
        read_results,
        read_trajectory,
        register_executor,
        register_observation_space,
        register_policy,
        register_reward,
        register_trainer,
        tournament,
        write_trajectory,
    )
    from metamon_ext.learning.advantage import behavior_cloning_filter, binary_advantage_filter
    from metamon_ext.training.lite.train import TrainConfig, train

__all__ = [
    "GIN_CONFIGS",
    "BattleSpec",
    "Conditions",
    "Decision",
    "Executor",
    "FilterConfig",
    "Game",
    "GateConfig",
    "GenerateConfig",
    "IterateConfig",
    "LocalExecutor",
    "MarginReward",
    "MatchupObservationSpace",
    "PlayConfig",
    "Player",
    "Policy",
    "PolicyRef",
    "PotentialShapedReward",
    "PsroConfig",
    "QuickstartConfig",
    "Recording",
    "ResultStore",
    "Sprt",
    "TournamentConfig",
    "TrainConfig",
    "Trainer",
    "Trajectory",
    "UniversalState",
    "WinLossReward",
    "__version__",
    "audit",
    "behavior_cloning_filter",
    "binary_advantage_filter",
    "bradley_terry",
    "elo",
    "filter_trajectories",
    "games_of",
    "gate",
    "generate",
    "head_to_head",
    "iterate",
    "matchup",
    "play",
    "play_battles",
    "psro",
    "quickstart",
    "read_results",
    "read_trajectory",
    "register_executor",
    "register_observation_space",
    "register_policy",
    "register_reward",
    "register_trainer",
    "tournament",
    "train",
    "write_trajectory",
]


def __getattr__(name: str) -> Any:
    """Load a name of the public API. Those that need torch are loaded by themselves."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module: Any
    if name.endswith("_filter"):
        from metamon_ext.learning import advantage as module
    elif name in ("TrainConfig", "train"):
        from metamon_ext.training.lite import train as module
    else:
        from metamon_ext import api as module
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
