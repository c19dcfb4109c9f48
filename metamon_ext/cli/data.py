"""`metamon-ext audit`, and `filter_selfplay_data` with its short name `filter`."""

from __future__ import annotations

from pathlib import Path

from metamon_ext.arena.recorded import recorded
from metamon_ext.cli.flags import WORKERS, Functions, Json, Positional, Workers
from metamon_ext.data.audit import audit
from metamon_ext.data.audit_report import print_audit, print_reasons
from metamon_ext.data.filter import FilterConfig, filter_trajectories
from metamon_ext.errors import UserError
from metamon_ext.settings import check_at_least, check_seed
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


RULES = FilterConfig(max_invalid_rate=0.05, min_turns=10, max_turns=1000)


def filter_command(
    input_dir: Path,
    output_dir: Path,
    rules: FilterConfig = RULES,
    balance_outcomes: bool = False,
    seed: int = 42,
    dry_run: bool = False,
    workers: Workers = WORKERS,
    as_json: Json = False,
) -> int:
    """Exit code 0, or 1 when no file was worth keeping.

    Args:
        input_dir: is only read
        output_dir: gets {format}/ folders
        balance_outcomes: keep as many wins as losses of each player
        seed: chooses which files of a surplus are dropped
        dry_run: only count
    """
    check_at_least(1, workers=workers)
    check_seed(seed)
    report, stats = filter_trajectories(
        input_dir,
        output_dir,
        rules,
        workers,
        show_progress=True,
        record_of=recorded(input_dir),
        balance_seed=seed if balance_outcomes else None,
        dry_run=dry_run,
    )
    if as_json:
        print_json(stats)
        return 0 if report.usable_files else 1
    print_reasons(console(), report)
    if lost := stats["files_without_record"]:
        print(
            f"{lost:,} files have no results.sqlite of their battle beside them: decisions stand "
            "for turns, and invalid choices are not known."
        )
    print(
        f"{'Would keep' if dry_run else 'Kept'} {report.usable_files:,} of {report.files:,} files, "
        f"{report.decisions:,} decisions."
    )
    return 0 if report.usable_files else 1


FUNCTIONS: Functions = {
    "audit": audit_command,
    "filter_selfplay_data": filter_command,
    "filter": filter_command,
}
