"""`metamon-ext audit`."""

from __future__ import annotations

from pathlib import Path

from metamon_ext.cli.flags import WORKERS, Json, Positional, Workers
from metamon_ext.data.audit import audit
from metamon_ext.data.audit_report import print_audit
from metamon_ext.errors import UserError
from metamon_ext.settings import check_at_least
from metamon_ext.terminal import console, print_json


def audit_command(
    paths: Positional[tuple[Path, ...]],
    sample: int | None = None,
    quarantine: Path | None = None,
    forbid_usernames: bool = False,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> int:
    """Exit code 0 for usable files, after quarantine too, and 1 for unusable ones.

    Args:
        paths: folders or files: .json, .json.gz, .json.lz4, .jsonl, .parquet, .tar, .tar.gz
        sample: judge about so many battles only
        quarantine: move bad files to DIR/{reason}/, and list bad records of larger files there
        forbid_usernames: real names and chat are faults
    """
    if not paths:
        raise UserError("Missing PATH: the files or folders to audit.")
    check_at_least(1, sample=sample, workers=workers)
    report = audit(
        paths,
        workers,
        show_progress=True,
        sample_size=sample,
        quarantine=quarantine,
        forbid_usernames=forbid_usernames,
    )
    if as_json:
        print_json(report.to_dict())
    else:
        print_audit(console(), report)
    return 1 if report.verdict == "unusable" else 0
