"""The public API that needs no torch. Use it as `import metamon_ext as mx`."""

# ruff: noqa: F401

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.executors.protocol import Executor, Recording, register_executor
from metamon_ext.arena.play import play_battles
from metamon_ext.arena.policy import Decision, Policy
from metamon_ext.arena.policy_ref import PolicyRef, register_policy
from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import BattleSpec, Player, matchup
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.audit import audit
from metamon_ext.data.filter import FilterConfig, filter_trajectories
from metamon_ext.data.trajectory import Trajectory, read_trajectory, write_trajectory
from metamon_ext.evaluation.elo import elo
from metamon_ext.evaluation.games import Game, games_of, head_to_head
from metamon_ext.evaluation.ratings import bradley_terry
from metamon_ext.evaluation.sprt import Sprt
from metamon_ext.spaces.observations import MatchupObservationSpace
from metamon_ext.spaces.registry import register_observation_space, register_reward
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.training.trainer import Trainer, register_trainer
from metamon_ext.workflows.gate import GateConfig, gate
from metamon_ext.workflows.generate import GenerateConfig, generate
from metamon_ext.workflows.iterate import IterateConfig, iterate
from metamon_ext.workflows.play import PlayConfig, play
from metamon_ext.workflows.psro import psro
from metamon_ext.workflows.psro_config import PsroConfig
from metamon_ext.workflows.quickstart import QuickstartConfig, quickstart
from metamon_ext.workflows.tournament import TournamentConfig, tournament
