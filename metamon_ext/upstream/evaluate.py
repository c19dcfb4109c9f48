"""`metamon-ext evaluate`: a model's win rates against Metamon's baselines, with intervals."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.local import LocalExecutor
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.play import play_battles, print_unfinished
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec, matchup
from metamon_ext.arena.store import BattleRow
from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.arguments import default_workers, positive, seed_value
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import games_of, head_to_head
from metamon_ext.terminal import print_json

AT_ONCE = 32
"""Battles that one worker holds: half of them are in the simulator while it asks the model."""
EVAL_TYPES = {
    "heuristic": (
        "PokeEnvHeuristic",
        "Gen1BossAI",
        "Grunt",
        "GymLeader",
        "EmeraldKaizo",
        "RandomBaseline",
    ),
    "il": ("BaseRNN",),
}
"""Metamon's `--eval_type` -> baselines; the first is the paper's Heuristic Composite Score."""


@dataclass(frozen=True)
class Score:
    """A model against one baseline. [low, high] is the 95 % interval of the win rate."""

    battle_format: str
    agent: str
    baseline: str
    win_rate: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int
    unfinished: int
    invalid_actions: int


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext evaluate`."""
    parser = commands.add_parser("evaluate")
    parser.add_argument("--agent", required=True, help="a model: see `metamon-ext models`")
    parser.add_argument("--eval_type", choices=list(EVAL_TYPES), default="heuristic")
    parser.add_argument("--baselines", nargs="+", help="instead of those of --eval_type")
    parser.add_argument("--gens", type=int, nargs="+", default=[1])
    parser.add_argument("--formats", nargs="+", default=["ou"])
    parser.add_argument(
        "--total_battles",
        type=positive,
        default=120,
        help="of each agent in each format, shared among the baselines",
    )
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[None])
    parser.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest")
    parser.add_argument("--battle_backend", choices=["metamon", "pokeagent", "poke-env"])
    parser.add_argument(
        "--teams", "--team_set", default="sample", help="a folder of Showdown exports, or a set"
    )
    parser.add_argument("--turn_limit", type=positive, default=1000)
    parser.add_argument("--save_trajectories_to", type=Path)
    parser.add_argument("--workers", type=positive, default=default_workers())
    parser.add_argument("--seed", type=seed_value, default=0)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def policy_name(
    agent: str, checkpoint: int | None, temperature: float, battle_backend: str | None = None
) -> str:
    """The arena's name for a model with these options."""
    options: dict[str, object] = {"checkpoint": checkpoint, "battle_backend": battle_backend}
    options |= {} if temperature == 1.0 else {"temperature": temperature}
    query = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{agent}?{query}" if query else agent


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished, or none finished against a baseline."""
    if not has_metamon():
        raise UserError("Metamon is not installed here; run this in Metamon's environment")
    agents = [
        policy_name(args.agent, checkpoint, args.temperature, args.battle_backend)
        for checkpoint in args.checkpoints
    ]
    for agent in agents:
        PolicyRef.resolve(agent)
    baselines = list(dict.fromkeys(args.baselines or EVAL_TYPES[args.eval_type]))
    for baseline in baselines:
        PolicyRef.resolve(baseline)
    shares = share(args.total_battles, len(baselines))
    schedule: dict[tuple[str, str, str], list[BattleSpec]] = {}
    for battle_format in [f"gen{gen}{tier.lower()}" for gen in args.gens for tier in args.formats]:
        conditions = Conditions.load(battle_format, args.teams, args.turn_limit)
        for agent in agents:
            for baseline, battles in zip(baselines, shares, strict=True):
                schedule[battle_format, agent, baseline] = matchup(
                    agent, baseline, battles, conditions, args.seed, pairs=True
                )
    folder = args.save_trajectories_to
    recording = Recording(folder) if folder else None
    started = time.perf_counter()
    with LocalExecutor(args.workers, recording, AT_ONCE) as executor:
        rows = play_battles([*chain(*schedule.values())], executor, label=args.agent)
    seconds = time.perf_counter() - started
    scores = tabulate(schedule, rows)
    if args.json:
        answer = {"scores": [asdict(score) for score in scores], "seconds": round(seconds, 1)}
        print_json(answer)
    else:
        width = max(map(len, agents))
        figures = "win rate   95 % interval   W-L-T"
        print(f"{'format':<10}{'agent':<{width}}  {'baseline':<24} {figures}")
        for s in scores:
            print(
                f"{s.battle_format:<10}{s.agent:<{width}}  {s.baseline:<24} {s.win_rate:>7.1%}   "
                f"{s.low:>5.1%} to {s.high:<6.1%} {s.wins}-{s.losses}-{s.ties}"
            )
        print(f"{len(rows)} battles in {seconds:.0f} s")
    failed = print_unfinished(rows)
    return failed or int(any(s.wins + s.losses + s.ties == 0 for s in scores))


def share(battles: int, baselines: int) -> list[int]:
    """How many of the battles each baseline plays. Raises UserError where there are too few."""
    if battles < baselines:
        raise UserError(
            f"--total_battles {battles} is fewer than the {baselines} baselines. "
            f"Give at least {baselines}, or fewer --baselines."
        )
    each, rest = divmod(battles, baselines)
    return [each + (i < rest) for i in range(baselines)]


def tabulate(
    schedule: Mapping[tuple[str, str, str], Sequence[BattleSpec]], rows: Sequence[BattleRow]
) -> list[Score]:
    """A score for each format, agent and baseline of the schedule."""
    by_key = {row.key: row for row in rows}
    scores = []
    for (battle_format, agent, baseline), specs in schedule.items():
        own = [by_key[spec.key] for spec in specs]
        games, unfinished = games_of(own)
        result = head_to_head(games, agent, baseline)
        invalid = sum(row.a_invalid if row.player_a == agent else row.b_invalid for row in own)
        scores.append(
            Score(
                battle_format,
                agent,
                baseline,
                result.win_rate,
                result.low,
                result.high,
                result.wins,
                result.losses,
                result.ties,
                sum(unfinished.values()),
                invalid,
            )
        )
    return scores
