"""`metamon-ext filter_selfplay_data`: set bad battles aside, link the good ones."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from metamon_ext.arena.recorded import recorded
from metamon_ext.arguments import default_workers, positive, seed_value
from metamon_ext.data.audit_report import print_reasons
from metamon_ext.data.filter import FilterRules, filter_trajectories
from metamon_ext.terminal import console, print_json


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext filter_selfplay_data`, and `filter`, the same in short."""
    parser = commands.add_parser("filter_selfplay_data", aliases=["filter"])
    parser.add_argument("--input_dir", type=Path, required=True, help="is only read")
    parser.add_argument("--output_dir", type=Path, required=True, help="gets {format}/ folders")
    parser.add_argument(
        "--max_invalid_rate",
        type=float,
        default=0.05,
        help="of the player's choices that the arena recorded as invalid",
    )
    parser.add_argument("--min_turns", type=int, default=10, help="drop shorter battles")
    parser.add_argument("--max_turns", type=int, default=1000, help="drop longer battles")
    parser.add_argument("--min_decisions", type=positive, default=1, help="of the player")
    parser.add_argument("--max_decisions", type=positive)
    parser.add_argument(
        "--keep_cut_off", action="store_true", help="keep battles stopped by a turn limit"
    )
    parser.add_argument(
        "--balance_outcomes", action="store_true", help="as many wins as losses of each player"
    )
    parser.add_argument(
        "--seed", type=seed_value, default=42, help="which of a surplus are dropped"
    )
    parser.add_argument("--dry_run", action="store_true", help="only count")
    parser.add_argument("--workers", type=positive, default=default_workers())
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when no file was worth keeping."""
    rules = FilterRules(**{rule.name: getattr(args, rule.name) for rule in fields(FilterRules)})
    report, stats = filter_trajectories(
        args.input_dir,
        args.output_dir,
        rules,
        args.workers,
        show_progress=True,
        record_of=recorded(args.input_dir),
        balance_seed=args.seed if args.balance_outcomes else None,
        dry_run=args.dry_run,
    )
    if args.json:
        print_json(stats)
    else:
        print_reasons(console(), report)
        if lost := stats["files_without_record"]:
            print(
                f"{lost:,} files have no results.sqlite of their battle beside them: decisions "
                "stand for turns, and invalid choices are not known."
            )
        verb = "Would keep" if args.dry_run else "Kept"
        print(
            f"{verb} {report.usable_files:,} of {report.files:,} files, "
            f"{report.decisions:,} decisions."
        )
    return 0 if report.usable_files else 1
