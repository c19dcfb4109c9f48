"""`metamon-ext audit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from metamon_ext.arguments import default_workers, positive
from metamon_ext.data.audit import audit
from metamon_ext.data.audit_report import print_audit


def add_parsers(subparsers: Any) -> None:
    """Add the command to what `ArgumentParser.add_subparsers` gave."""
    parser = _add(
        subparsers, "audit", run_audit, "judge trajectories or raw replays: are they fit to train?"
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="folders or files: .json, .json.gz, .json.lz4, .jsonl, .parquet, .tar, .tar.gz",
    )
    parser.add_argument("--sample", type=positive, metavar="N", help="judge about N battles only")
    parser.add_argument(
        "--quarantine",
        type=Path,
        metavar="DIR",
        help="move bad files to DIR/{reason}/, and list bad records of larger files there",
    )
    parser.add_argument(
        "--forbid_usernames", action="store_true", help="real names and chat are faults"
    )


def _add(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--workers", type=positive, default=default_workers(), help="processes; default: one a core"
    )
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")
    parser.set_defaults(run=run)
    return parser


def run_audit(args: argparse.Namespace) -> int:
    """Exit code 0 for usable files, after quarantine too, and 1 for unusable ones."""
    report = audit(
        args.paths,
        args.workers,
        show_progress=True,
        sample_size=args.sample,
        quarantine=args.quarantine,
        forbid_usernames=args.forbid_usernames,
    )
    if args.json:
        print(orjson.dumps(report.to_dict()).decode())
    else:
        print_audit(Console(), report)
    return 1 if report.verdict == "unusable" else 0
