"""Filter trajectories: link the valid ones to a new folder, and count why others are dropped."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metamon_ext.data.audit import validate_all
from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.trajectory import FILTERING_STATS, TrajectoryName, trajectory_files
from metamon_ext.data.validation import ValidationResult, validate_trajectory_file
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import link_or_copy, lock_folder, require_separate, write_json
from metamon_ext.settings import check_at_least, check_seed


@dataclass(frozen=True)
class BattleRecord:
    """What the results of a run record about the battle of a trajectory: its turns, and the
    decisions and invalid choices of the trajectory's player."""

    turns: int
    decisions: int
    invalid: int


RecordOf = Callable[[Path], "BattleRecord | None"]


@dataclass(frozen=True)
class FilterConfig:
    """Which valid trajectories are kept.

    Turns and invalid choices come from the record of the battle. Without a record, the number of
    decisions stands for turns (there are a few more), and the rate of invalid choices is not
    checked.

    Attributes:
        min_decisions: of the player.
        max_decisions: of the player.
        keep_cut_off: keep battles stopped by a turn limit, which Metamon saves as losses.
        min_turns: drop shorter battles.
        max_turns: drop longer battles.
        max_invalid_rate: of the player's choices that the arena recorded as invalid.
    """

    min_decisions: int = 1
    max_decisions: int | None = None
    keep_cut_off: bool = False
    min_turns: int = 0
    max_turns: int | None = None
    max_invalid_rate: float | None = None

    def __post_init__(self) -> None:
        if self.max_invalid_rate is not None and not 0 <= self.max_invalid_rate <= 1:
            raise UserError(f"max_invalid_rate must be from 0 to 1, not {self.max_invalid_rate}.")
        check_at_least(1, min_decisions=self.min_decisions, max_decisions=self.max_decisions)
        for what in ("decisions", "turns"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if high is not None and high < low:
                raise UserError(f"max_{what} ({high}) must not be below min_{what} ({low}).")

    def apply(
        self, result: ValidationResult, record: BattleRecord | None = None
    ) -> ValidationResult:
        """The same result, with a reason if these rules drop the file."""
        if result.reason == "cut_off" and self.keep_cut_off:
            result = replace(result, reason=None, detail="")
        if result.reason is not None:
            return result
        turns = record.turns if record else result.decisions
        for value, low, high, unit in (
            (result.decisions, self.min_decisions, self.max_decisions, "decisions"),
            (turns, self.min_turns, self.max_turns, "turns" if record else "decisions"),
        ):
            if value < low:
                return replace(result, reason="too_short", detail=f"{value} {unit}")
            if high is not None and value > high:
                return replace(result, reason="too_long", detail=f"{value} {unit}")
        rate = record.invalid / max(record.decisions, 1) if record else 0.0
        if self.max_invalid_rate is not None and rate > self.max_invalid_rate:
            return replace(result, reason="invalid_choices", detail=f"{rate:.1%} of its choices")
        return result


def filter_trajectories(
    input_dir: Path,
    output_dir: Path,
    rules: FilterConfig | None = None,
    workers: int = 1,
    show_progress: bool = False,
    record_of: RecordOf | None = None,
    balance_seed: int | None = None,
    dry_run: bool = False,
) -> tuple[AuditReport, dict[str, Any]]:
    """Hard-link or copy the trajectories worth keeping to `output_dir/{format}/`.

    Also writes `output_dir/filtering_stats.json`. Running it again changes nothing, and adds the
    files that are new in `input_dir`. Nothing is deleted. Memory grows by about 1 KB a file.

    Args:
        record_of: The record of a file's battle, if there is one.
        balance_seed: Keep as many wins as losses of each player, choosing with this seed.
        dry_run: Only count.

    Returns:
        The report, and the content of `filtering_stats.json`.

    Raises:
        UserError: A folder cannot be read or written, or the output has other trajectories.
    """
    rules = rules or FilterConfig()
    if balance_seed is not None:
        check_seed(balance_seed)
    require_separate(output_dir, input_dir)
    files = trajectory_files(input_dir, separate=output_dir)
    paths = list(files)
    if not paths:
        raise UserError(f"{input_dir} contains no .json.lz4 or .json file.")

    with nullcontext() if dry_run else lock_folder(output_dir):
        report = AuditReport(notes=files.notes)
        results = validate_all(paths, workers, show_progress, len(paths), validate_trajectory_file)
        kept, unrecorded = _keep(results, rules, record_of, output_dir, report)
        for target in surplus_outcomes(kept, balance_seed) if balance_seed is not None else ():
            detail = f"a {kept[target].outcome} without a counterpart"
            report.add(replace(kept.pop(target), reason="surplus_outcome", detail=detail))
        for result in kept.values():
            report.add(result)

        stats = _stats(report, rules) | {"files_without_record": unrecorded}
        stats["balance_seed"] = balance_seed
        if not dry_run:
            _write(output_dir, kept, stats)
        return report, stats


def _keep(
    results: Iterable[ValidationResult],
    rules: FilterConfig,
    record_of: RecordOf | None,
    output_dir: Path,
    report: AuditReport,
) -> tuple[dict[Path, ValidationResult], int]:
    """Target -> valid file, and how many valid files have no record. Counts the other files."""
    kept: dict[Path, ValidationResult] = {}
    unrecorded = 0
    for result in results:
        record = record_of(result.path) if record_of and result.reason is None else None
        unrecorded += record is None and result.reason is None
        result = rules.apply(result, record)
        target = output_dir / result.format / result.path.name
        if result.reason is None and target in kept:
            result = replace(result, reason="same_name", detail=f"as {kept[target].path}")
        if result.reason is None:
            kept[target] = result
        else:
            report.add(result)
    return kept, unrecorded


def surplus_outcomes(files: Iterable[Path], seed: int) -> list[Path]:
    """The files to drop so that each player has as many wins as losses in each folder.

    The choice depends only on the seed, the battle ids and the players, not on the order of the
    files or the dates of the battles.
    """
    by_player: defaultdict[tuple[Path, str], dict[str, list[tuple[bytes, Path]]]] = defaultdict(
        lambda: {"WIN": [], "LOSS": []}
    )
    for file in files:
        name = TrajectoryName.parse(file.name)
        lot = hashlib.blake2b(f"{seed}/{name.battle_id}".encode(), digest_size=8).digest()
        by_player[file.parent, name.player][name.outcome].append((lot, file))

    surplus = []
    for outcomes in by_player.values():
        fewer = min(map(len, outcomes.values()))
        for same in outcomes.values():
            surplus += [file for _, file in sorted(same)[fewer:]]
    return surplus


def _stats(report: AuditReport, rules: FilterConfig) -> dict[str, Any]:
    found = report.to_dict()
    return {
        "input_files": report.files,
        "kept_files": report.usable_files,
        "kept_decisions": report.decisions,
        "kept_outcomes": found["outcomes"],
        "rules": rules,
        "reasons": found["reasons"],
        "notes": found["notes"],
    }


def _write(output_dir: Path, kept: Mapping[Path, ValidationResult], stats: dict[str, Any]) -> None:
    try:
        others = [path for path in trajectory_files(output_dir) if path not in kept]
        if others:
            raise UserError(
                f"{output_dir} has {len(others)} other trajectories, such as {others[0]}. "
                "Choose an empty folder."
            )
        for folder in {target.parent for target in kept} | {output_dir}:
            folder.mkdir(parents=True, exist_ok=True)
        for target, result in kept.items():
            link_or_copy(result.path, target)
        write_json(output_dir / FILTERING_STATS, stats)
    except OSError as error:
        raise cannot_write(output_dir, error) from error
