"""`metamon-ext generate_selfplay_data`: battles to learn from, and where each of them came from."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import metamon_ext
from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.conditions import Conditions, add_condition_arguments
from metamon_ext.arena.executors.pool import Pool
from metamon_ext.arena.play import play_missing, say_unfinished
from metamon_ext.arena.schedule import BattleSpec, battle, derive
from metamon_ext.arena.simulator.process import SIMULATOR_VERSION
from metamon_ext.arena.store import BattleRow, ResultStore
from metamon_ext.arguments import positive
from metamon_ext.data.trajectory import MANIFEST, RESULTS
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.files import write_json
from metamon_ext.terminal import print_json

PACKAGES = ("metamon", "amago", "poke-env", "torch")

Draw = Callable[[int], tuple[str, str]]
"""The number of a battle -> who plays it."""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext generate_selfplay_data`."""
    parser = commands.add_parser("generate_selfplay_data")
    parser.add_argument("--model", help="a policy: see `metamon-ext models`")
    parser.add_argument("--opponent_model", help="default: the model itself")
    parser.add_argument(
        "--population",
        type=Path,
        help='a JSON file {"policy": weight, ...} to draw the opponents from, or, without --model, '
        "both players",
    )
    parser.add_argument(
        "--num_battles", type=positive, required=True, help="won or lost; ties come on top"
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    add_condition_arguments(parser)
    parser.add_argument(
        "--parallel_instances",
        type=positive,
        default=32,
        help="battles at the same time; --workers processes share them",
    )
    parser.add_argument("--temperature", type=float, help="of the models; heuristics have none")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    weights = population_of(args)
    players = dict.fromkeys([args.model or next(iter(weights)), *weights])
    conditions = Conditions.of(args, players, args.temperature)
    settings = {"model": args.model, "opponents": weights, **conditions.settings}
    draw = drawer(args.model, weights, args.seed)

    def spec_of(number: int) -> BattleSpec:
        battle_format, teams = conditions.battle_format, conditions.teams
        return battle(*draw(number), number, 0, battle_format, teams, args.seed)

    with closing(ResultStore(args.output_dir / RESULTS, settings, True)) as store:
        workers = min(args.workers, args.parallel_instances)
        worker_settings = conditions.for_workers(store.created, args.output_dir)
        at_once = -(-args.parallel_instances // workers)
        stopped: UserError | None = None
        try:
            with Pool(worker_settings, workers, at_once) as pool:
                play_decided(args.num_battles, spec_of, pool, store)
        except RunStopped as error:
            stopped = error
        rows = list(store.rows())
        about = manifest(rows, store, settings, conditions)
        try:
            write_json(args.output_dir / MANIFEST, about)
        except OSError as error:
            stopped = stopped or cannot_write(args.output_dir, error)
    if stopped:
        raise stopped
    if args.json:
        print_json(about)
    else:
        print(
            f"{about['battles']} battles, {about['trajectories']} trajectories in "
            f"{args.output_dir / args.battle_format} ({about['ties']} ties, "
            f"{about['unfinished']} unfinished); {MANIFEST} says where they came from"
        )
    return say_unfinished(rows)


def population_of(args: argparse.Namespace) -> dict[str, float]:
    """The opponents and their weights. Raises UserError for flags that do not go together."""
    if args.population is None:
        if args.model is None:
            raise UserError("who is to play? name a --model, or a --population file")
        return {args.opponent_model or args.model: 1.0}
    if args.opponent_model is not None:
        raise UserError("--opponent_model and --population exclude each other: leave one out")
    cure = f'{args.population} must hold {{"policy": weight, ...}} with weights in (0, 1e100)'
    try:
        weights = json.loads(args.population.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{cure}: {error}") from None
    if not isinstance(weights, dict) or not weights:
        raise UserError(cure)
    if not all(type(w) in (int, float) and 0 < w < 1e100 for w in weights.values()):
        raise UserError(cure)
    return weights


def drawer(model: str | None, weights: Mapping[str, float], seed: int) -> Draw:
    """The model against opponents in the proportion of their weights, in either seat in turn;
    without a model two of these, drawn one by one."""
    names = list(weights)

    def draw(number: int) -> tuple[str, str]:
        rng = random.Random(derive(seed, "players", number))
        first, second = rng.choices(names, list(weights.values()), k=2)
        pair = (model or first, second)
        return pair if number % 2 == 0 else (pair[1], pair[0])

    return draw


def play_decided(
    wanted: int, spec_of: Callable[[int], BattleSpec], pool: Pool, store: ResultStore
) -> None:
    """Play until exactly so many battles are won or lost, as the files can hold no others.

    For each one tied or over the turn limit another is played. One in trouble is not replaced: it
    is to be played again. Raises UserError if there are more than `wanted` already, RunStopped if
    hardly any battle is decided.
    """
    store.forget_trouble()
    known: dict[str, BattleResult] = {row.key: row for row in store.rows()}
    if (held := sum(not _is_void(result) for result in known.values())) > wanted:
        raise UserError(f"{store.path} holds {held} battles: ask for at least as many")
    specs: list[BattleSpec] = []
    while (lacking := wanted - sum(not _is_void(known[spec.key]) for spec in specs)) > 0:
        if len(specs) > 4 * wanted + 100:
            raise RunStopped(f"{wanted - lacking} of {len(specs)} battles were won or lost: enough")
        specs += [spec_of(i) for i in range(len(specs), len(specs) + lacking)]
        missing = [spec for spec in specs if spec.key not in known]
        known |= play_missing(missing, pool, store, "battles")


def _is_void(result: BattleResult) -> bool:
    """Neither won nor lost, and never will be."""
    return result.outcome in ("tie", "unfinished") and not result.in_trouble


def manifest(
    rows: list[BattleRow],
    store: ResultStore,
    settings: Mapping[str, Any],
    conditions: Conditions,
) -> dict[str, Any]:
    """Who made this data, from what, and how it went: enough to trace it, or to make it again."""
    outcomes = Counter(row.outcome for row in rows)
    decided = outcomes["p1"] + outcomes["p2"]
    unfinished = Counter((r.reason, r.in_trouble) for r in rows if r.outcome == "unfinished")
    versions = {"python": platform.python_version(), "metamon_ext": metamon_ext.__version__}
    versions["pokemon-showdown"] = SIMULATOR_VERSION
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "created": f"{store.created.isoformat()}Z",
        "battles": decided,
        "trajectories": 2 * decided,
        "ties": outcomes["tie"],
        "unfinished": outcomes["unfinished"],
        "unfinished_reasons": [
            {"reason": reason, "in_trouble": trouble, "battles": count}
            for (reason, trouble), count in unfinished.items()
        ],
        "decisions": sum(row.p1_decisions + row.p2_decisions for row in rows),
        "invalid_decisions": sum(row.p1_invalid + row.p2_invalid for row in rows),
        "settings": settings,
        "team_set": conditions.team_set,
        "team_files": sorted({team for row in rows for team in (row.p1_team, row.p2_team)}),
        "players": conditions.players,
        "versions": versions,
    }
