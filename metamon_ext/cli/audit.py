"""`metamon-ext audit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from metamon_ext.arguments import default_workers, positive
from metamon_ext.data.audit import audit
from metamon_ext.data.audit_report import print_audit
from metamon_ext.terminal import console, print_json


def add_parsers(commands: Any) -> None:
    """Register `metamon-ext audit`."""
    parser = commands.add_parser("audit")
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
    parser.add_argument(
        "--workers", type=positive, default=default_workers(), help="processes; default: one a core"
    )
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")
    parser.set_defaults(run=run_audit)


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
        print_json(report.to_dict())
    else:
        print_audit(console(), report)
    return 1 if report.verdict == "unusable" else 0
