"""`metamon-ext self_play_tournament`: everybody against everybody, in mirrored pairs of battles."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from metamon_ext.arena.commands import list_models
from metamon_ext.arena.conditions import Conditions, add_condition_arguments
from metamon_ext.arena.executors.pool import Pool
from metamon_ext.arena.play import say_unfinished
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import BattleRow, ResultStore
from metamon_ext.arguments import positive
from metamon_ext.data.trajectory import RESULTS, TOURNAMENT_RESULTS
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.evaluation.exports import results_of, write_battle_logs
from metamon_ext.evaluation.games import games_of
from metamon_ext.evaluation.ratings import bradley_terry
from metamon_ext.evaluation.report import print_tables
from metamon_ext.evaluation.schedules import (
    Adaptive,
    Arrangement,
    Pairing,
    Plan,
    Sequential,
    fixed,
    outcomes_of,
    play_rounds,
)
from metamon_ext.evaluation.sprt import Sprt, in_words, pentanomial
from metamon_ext.files import write_json
from metamon_ext.terminal import console, print_json

LOOK = 8
"""Mirrored pairs between two looks at a matchup."""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext self_play_tournament`."""
    parser = commands.add_parser("self_play_tournament")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="see --list_models")
    parser.add_argument("--list_models", action="store_true", help="who can play here")
    parser.add_argument("--save_dir", type=Path, default=Path("runs"), help="for --list_models")
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--battles_per_matchup", type=positive, default=200)
    add_condition_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--sprt",
        nargs=2,
        type=float,
        metavar=("ELO0", "ELO1"),
        help="a matchup ends when it is decided whether the player named first is ELO1 stronger "
        "rather than ELO0, at error rates of 5 %%; --battles_per_matchup is the most it may take",
    )
    how.add_argument(
        "--adaptive",
        action="store_true",
        help="battles go where the order of the players is least certain, and stop when it is "
        "certain; --battles_per_matchup is the most on average",
    )
    parser.add_argument("--gauntlet", metavar="MODEL", help="only this one against the rest")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="insist that --output_dir holds a run to go on with (it is gone on with anyway)",
    )
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    if args.list_models:
        return list_models(args)
    if not args.models or args.output_dir is None:
        raise UserError("--models and --output_dir are needed; --list_models says who can play")
    results = args.output_dir / RESULTS
    if args.resume and not results.is_file():
        raise UserError(f"there is no run to resume in {args.output_dir}: leave --resume out")
    pairings = pairings_of(args.models, args.gauntlet)
    names = "battles_per_matchup models gauntlet sprt adaptive"
    settings = {name: getattr(args, name) for name in names.split()}
    trajectories = args.output_dir / "trajectories"
    rows, content = play_tournament(
        args, args.models, args.output_dir, plan_of(args, pairings), settings, trajectories
    )
    if args.json:
        print_json(content)
    else:
        _report(args, rows, content)
    return say_unfinished(rows)


def play_tournament(
    args: argparse.Namespace,
    models: Sequence[str],
    output_dir: Path,
    plan: Plan,
    settings: dict[str, Any],
    trajectories: Path | None = None,
) -> tuple[list[BattleRow], dict[str, Any]]:
    """Play what the plan asks for, and write what there is, also where the run is stopped.

    `args` holds what `add_condition_arguments` gave; `settings` is what else must be the same for a
    run to be gone on with. Returns the results and the content of `tournament_results.json`. Raises
    UserError for bad input, RunStopped for trouble on the way.
    """
    conditions = Conditions.of(args, models)
    settings = {**settings, "team_set": conditions.team_set, **conditions.settings}
    with closing(ResultStore(output_dir / RESULTS, settings, resume=True)) as store:
        store.forget_trouble()
        worker_settings = conditions.for_workers(store.created, trajectories)
        arrangement = Arrangement(conditions.battle_format, conditions.teams, args.seed)
        specs: list[BattleSpec] = []
        stopped: UserError | None = None
        try:
            with Pool(worker_settings, args.workers) as pool:
                specs = play_rounds(plan, arrangement, pool, store)
        except RunStopped as error:
            stopped = error
        rows = in_order(specs, list(store.rows()))
        content = results_of(rows, settings, conditions.players, verdicts_of(plan, rows))
        try:
            write_battle_logs(output_dir / "team_results", rows)
            write_json(output_dir / TOURNAMENT_RESULTS, content)
        except OSError as error:
            stopped = stopped or cannot_write(output_dir, error)
    if stopped:
        raise stopped
    return rows, content


def pairings_of(models: Sequence[str], gauntlet: str | None) -> list[Pairing]:
    """Who meets whom, the one listed first as the first player; in a gauntlet the candidate."""
    if twice := [name for name in dict.fromkeys(models) if models.count(name) > 1]:
        raise UserError(f"{twice[0]} is listed twice in --models: name every player once")
    if gauntlet is None:
        if len(models) < 2:
            raise UserError("a tournament needs at least two --models")
        return list(combinations(models, 2))
    others = [name for name in models if name != gauntlet]
    if len(others) == len(models) or not others:
        raise UserError(f"--gauntlet {gauntlet} must be one of at least two --models")
    return [(gauntlet, name) for name in others]


def plan_of(args: argparse.Namespace, pairings: Sequence[Pairing]) -> Plan:
    """The plan that the flags ask for."""
    if args.sprt:
        return Sequential(pairings, Sprt(*args.sprt), args.battles_per_matchup, LOOK)
    if args.adaptive:
        return Adaptive(pairings, args.battles_per_matchup * len(pairings))
    return fixed(pairings, args.battles_per_matchup)


def in_order(specs: Sequence[BattleSpec], rows: Sequence[BattleRow]) -> list[BattleRow]:
    """Results in the order of the schedule; the rest, where a run was stopped, after them."""
    place = {spec.key: i for i, spec in enumerate(specs)}
    return sorted(rows, key=lambda row: (place.get(row.key, len(place)), row.key))


def verdicts_of(plan: Plan, rows: Sequence[BattleRow]) -> dict[Pairing, dict[str, Any]]:
    """How the sequential tests ended, and the Elo differences that they estimate."""
    if not isinstance(plan, Sequential):
        return {}
    verdicts = {}
    for pairing, outcomes in outcomes_of(rows, dict.fromkeys(plan.pairings, 0)).items():
        counts = pentanomial(outcomes)
        state = plan.test.state(counts)
        verdicts[pairing] = asdict(state)
        verdicts[pairing]["decided"] = plan.test.sentence(state.verdict, *pairing)
        if state.pairs:
            verdicts[pairing] |= asdict(plan.test.estimate(counts, plan.look))
    return verdicts


def _report(args: argparse.Namespace, rows: Sequence[BattleRow], content: dict[str, Any]) -> None:
    games, unfinished = games_of(rows)
    print_tables(console(), bradley_terry(games), games, unfinished)
    for verdict in content["sprt"]:
        print(verdict["decided"])
        if "elo" in verdict:
            print(f"  {in_words(verdict)}; {verdict['pairs']} mirrored pairs")
    print(
        f"{len(rows)} battles in {args.output_dir}; next: metamon-ext visualize_results "
        f"--tournament_dir {args.output_dir}"
    )
