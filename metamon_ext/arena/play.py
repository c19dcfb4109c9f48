"""`metamon-ext play`: two policies against each other."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors.pool import BATTLES_AT_ONCE, Pool
from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.policy import identify
from metamon_ext.arena.schedule import BattleSpec, derive, matchup
from metamon_ext.arena.simulator.process import Simulator, SimulatorError, find_simulator
from metamon_ext.arena.store import ResultStore
from metamon_ext.arena.teams import BattleFormat, Team, find_team_set, load_format, load_teams
from metamon_ext.arguments import default_workers, positive, seed_value
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.terminal import print_json, track


def prepare(
    battle_format: str, team_set: str | None = "sample"
) -> tuple[BattleFormat, list[Team], str]:
    """Look up a format and load a team set by its name; what was loaded comes third.

    Raises UserError for what is wrong with either.
    """
    try:
        with Simulator() as simulator:
            found = load_format(battle_format, simulator)
            folder = None if found.random_teams else find_team_set(team_set, battle_format)
            return found, load_teams(found, folder, simulator), str(folder or "sample")
    except SimulatorError as error:
        raise RunStopped(
            f"{error}: {find_simulator()} may be damaged: run metamon-ext doctor"
        ) from None


def play_all(
    specs: Sequence[BattleSpec],
    settings: WorkerSettings,
    workers: int,
    store: ResultStore | None = None,
    what: str = "battles",
    at_once: int = BATTLES_AT_ONCE,
) -> tuple[dict[str, BattleResult], int]:
    """Play the battles that `store` lacks or that ended in trouble, with a progress bar on standard
    error.

    Returns the results of all `specs` by battle key, and how many were played now.
    """
    if store:
        store.forget_trouble()
    missing = store.missing(specs) if store else list(specs)
    with Pool(settings, workers, at_once) as pool:
        results = play_missing(missing, pool, store, what)
    if store:
        results = {row.key: row for row in store.rows()}
    return results, len(missing)


def play_missing(
    missing: Sequence[BattleSpec], pool: Pool, store: ResultStore | None, what: str
) -> dict[str, BattleResult]:
    """Play battles and keep each result as it comes. Returns the results by battle key."""
    results: dict[str, BattleResult] = {}
    with closing(pool.play(missing)) as played:
        for spec, result in track(played, what, total=len(missing)):
            results[spec.key] = result
            if store:
                store.add(spec, result)
    return results


def summarize(specs: Sequence[BattleSpec], results: dict[str, BattleResult]) -> dict[str, Any]:
    """Count one matchup by policy, not by seat; the digest is of all choices, battle by battle."""
    played = [results[spec.key] for spec in specs]
    swap = {"p1": "p2", "p2": "p1"}
    outcomes = Counter(
        swap.get(result.outcome, result.outcome) if spec.mirrored else result.outcome
        for spec, result in zip(specs, played, strict=True)
    )
    digest = hashlib.blake2b("".join(result.digest for result in played).encode(), digest_size=8)
    return {
        "battles": len(specs),
        "p1_wins": outcomes["p1"],
        "p2_wins": outcomes["p2"],
        "ties": outcomes["tie"],
        "unfinished": outcomes["unfinished"],
        "unfinished_reasons": Counter(r.reason for r in played if r.outcome == "unfinished"),
        "turns": sum(result.turns for result in played),
        "decisions": sum(result.p1_decisions + result.p2_decisions for result in played),
        "invalid": sum(result.p1_invalid + result.p2_invalid for result in played),
        "digest": digest.hexdigest(),
    }


def say_unfinished(results: Iterable[BattleResult]) -> int:
    """Say on standard error why battles are unfinished.

    Returns:
        The exit code of a command that has played them: 1 if an error ended any of them.

    Raises:
        RunStopped: an error ended every one.
    """
    results = list(results)
    failed = [result.reason for result in results if result.in_trouble]
    if failed and len(failed) == len(results):
        reason, count = Counter(failed).most_common(1)[0]
        raise RunStopped(f"every battle failed, {count:,} of {len(results):,} by: {reason}")
    unfinished = Counter(r.reason for r in results if r.outcome == "unfinished")
    for reason, count in unfinished.most_common():
        print(f"unfinished, {count:,} times: {reason}", file=sys.stderr)
    return int(bool(failed))


def add_seat_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that every command has which plays battles."""
    parser.add_argument(
        "--battle_format", default="gen1ou", help="a singles format of the simulator"
    )
    parser.add_argument("--seed", type=seed_value, default=0)
    parser.add_argument(
        "--workers", type=positive, default=default_workers(), help="processes; default: one a core"
    )


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext play`."""
    parser = commands.add_parser("play")
    parser.add_argument("--p1", required=True, help="a policy: see `metamon-ext models`")
    parser.add_argument("--p2", required=True)
    parser.add_argument("--battles", type=positive, default=100)
    add_seat_arguments(parser)
    parser.add_argument(
        "--teams", "--team_set", default="sample", help="a folder of Showdown exports, or a set"
    )
    parser.add_argument("--pairs", action="store_true", help="play in mirrored pairs")
    parser.add_argument(
        "--turn_limit", type=positive, default=1000, help="a longer battle ends as unfinished"
    )
    parser.add_argument("--save_trajectories_to", type=Path)
    parser.add_argument("--output_dir", type=Path, help="keep every result in results.sqlite there")
    parser.add_argument("--resume", action="store_true", help="play only what --output_dir lacks")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: with --resume they are played again."""
    if args.resume and not args.output_dir:
        raise UserError("--resume needs the --output_dir of the run that is to go on")
    weights = [identify(name).get("sha256") for name in (args.p1, args.p2)]
    battle_format, teams, _ = prepare(args.battle_format, args.teams)
    specs = matchup(args.p1, args.p2, args.battles, battle_format, teams, args.seed, args.pairs)
    store = None
    if args.output_dir:
        names = ("p1", "p2", "battle_format", "seed", "pairs", "turn_limit")
        settings = {name: getattr(args, name) for name in names}
        settings |= {"teams": team_set_id(teams), "weights": weights}
        store = ResultStore(args.output_dir / RESULTS, settings, args.resume)
    date = store.created if store else datetime.now(timezone.utc).replace(tzinfo=None)
    worker_settings = WorkerSettings(
        args.turn_limit, trajectories=args.save_trajectories_to, date=date
    )
    started = time.perf_counter()
    results, played = play_all(
        specs, worker_settings, args.workers, store, f"{args.p1} - {args.p2}"
    )
    seconds = time.perf_counter() - started
    summary = summarize(specs, results)
    rate = played / len(specs) / seconds  # of what was played now
    summary |= {
        "seconds": round(seconds, 3),
        "decisions_per_second": round(summary["decisions"] * rate, 1),
        "battles_per_second": round(len(specs) * rate, 2),
    }
    if store:
        store.close()
    if args.json:
        print_json(summary)
    else:
        _print_summary(args, summary, played)
    return say_unfinished(results[spec.key] for spec in specs)


def _print_summary(args: argparse.Namespace, summary: Mapping[str, Any], played: int) -> None:
    print(
        f"{args.p1} {summary['p1_wins']} - {summary['p2_wins']} {args.p2}"
        f"  (ties {summary['ties']}, unfinished {summary['unfinished']})\n"
        f"{played} battles in {summary['seconds']:.1f} s: "
        f"{summary['battles_per_second']} battles/s, "
        f"{summary['decisions_per_second']:.0f} decisions/s; digest {summary['digest']}"
    )


def team_set_id(teams: Sequence[Team]) -> str:
    """A hash of a team set's content."""
    return f"{derive(*sorted(f'{team.name}:{team.packed}' for team in teams)):016x}"
