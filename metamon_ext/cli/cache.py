"""`metamon-ext cache build` and `metamon-ext cache verify`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metamon_ext.arguments import default_workers, positive
from metamon_ext.data.cache.arrays import Header
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.verify import verify
from metamon_ext.terminal import print_json
from metamon_ext.walk import print_notes
from metamon_ext.workflows.featurizers import LITE_SPACE, featurizer_class

FAULTS_SHOWN = 20


def add_parsers(commands: Any) -> None:
    """Add the command to what `ArgumentParser.add_subparsers` gave."""
    cache = commands.add_parser("cache")
    actions = cache.add_subparsers(dest="cache", metavar="WHAT", required=True)

    text = "make a cache, or add what is new; a killed build goes on where it was"
    parser = actions.add_parser("build", help=text, description=text)
    parser.add_argument("path", type=Path, help="a folder of trajectories, as Metamon reads it")
    parser.add_argument("--output", type=Path, required=True, metavar="CACHE.mmap")
    parser.add_argument(
        "--obs_space", default=LITE_SPACE, help=f"Metamon's or ours; {LITE_SPACE} is the learner's"
    )
    parser.add_argument("--reward_function", default="WinLossReward")
    parser.add_argument("--tokenizer", help="Metamon's; DefaultObservationSpace-v1 if not given")
    parser.add_argument("--action_space", help="Metamon's; DefaultActionSpace if not given")
    parser.add_argument(
        "--train_gin_config", help="a gin file, for what it binds to the reward function"
    )
    parser.add_argument("--workers", type=positive, default=default_workers())
    parser.add_argument(
        "--keep_cut_off", action="store_true", help="keep battles stopped by a turn limit"
    )
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")
    parser.set_defaults(run=run_build)

    text = "check all checksums and files, and compare every Nth trajectory with Metamon's loader"
    parser = actions.add_parser("verify", help=text, description=text)
    parser.add_argument("path", type=Path, metavar="CACHE")
    parser.add_argument("--every", type=positive, default=100, metavar="N")
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")
    parser.set_defaults(run=run_verify)


def run_build(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when not one trajectory was fit for the cache."""
    kind = "lite" if args.obs_space == LITE_SPACE else "metamon"
    featurizer = featurizer_class(kind).named(
        args.obs_space,
        args.reward_function,
        args.tokenizer,
        args.action_space,
        args.train_gin_config,
    )
    report = build(
        args.path, args.output, featurizer, args.workers, args.keep_cut_off, show_progress=True
    )
    if args.json:
        print_json(asdict(report))
    else:
        print_notes(report.notes)
        for reason, files in report.set_aside.items():
            print(f"set aside: {files:,} {reason}", file=sys.stderr)
        print(
            f"{report.trajectories:,} trajectories in {args.output}, {report.added:,} of them new; "
            f"{report.rows:,} states, {report.bytes / 2**20:,.1f} MB."
        )
    return 0 if report.trajectories else 1


def run_verify(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 for a difference."""
    kind = Header.read(args.path).definition.get("featurizer")
    report = verify(args.path, featurizer_class(str(kind)).of_cache(args.path), args.every, True)
    if args.json:
        print_json(asdict(report))
    else:
        for fault in report.faults[:FAULTS_SHOWN]:
            print(fault)
        print(
            f"{report.trajectories:,} trajectories checked, {report.compared:,} compared value for "
            f"value ({report.values:,} values): {len(report.faults):,} faults."
        )
    return 1 if report.faults else 0
