"""Set bad trajectories aside, each for a reason that is counted, and link the good ones."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metamon_ext.data.audit import judge_all
from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.judge import Verdict, judge_trajectory
from metamon_ext.data.trajectory import (
    FILTERING_STATS,
    TrajectoryName,
    trajectory_files,
)
from metamon_ext.errors import UserError, cannot_write
from metamon_ext.files import atomic_write, lock_folder, write_json
from metamon_ext.settings import check_at_least, check_seed


@dataclass(frozen=True)
class BattleRecord:
    """What is known of a trajectory's battle beside the file: its turns, and of the player whose
    trajectory it is, how many decisions there were and how many choices were not legal."""

    turns: int
    decisions: int
    invalid: int


RecordOf = Callable[[Path], "BattleRecord | None"]


@dataclass(frozen=True)
class FilterRules:
    """Which files without a fault are kept. None: no limit.

    Turns and invalid choices are in no file; they come from the record of the battle. Without one
    decisions stand for turns, of which there are a few more, and the rate is not known.

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
            raise UserError(f"max_invalid_rate ({self.max_invalid_rate}) is a share from 0 to 1")
        check_at_least(1, min_decisions=self.min_decisions, max_decisions=self.max_decisions)
        for what in ("decisions", "turns"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if high is not None and high < low:
                raise UserError(
                    f"max_{what} ({high}) is below min_{what} ({low}): nothing could be kept"
                )

    def apply(self, verdict: Verdict, record: BattleRecord | None = None) -> Verdict:
        """The same verdict, with a reason if these rules drop the file, without if they keep it."""
        if verdict.reason == "cut_off" and self.keep_cut_off:
            verdict = replace(verdict, reason=None, detail="")
        if verdict.reason is not None:
            return verdict
        turns = record.turns if record else verdict.decisions
        for value, low, high, unit in (
            (verdict.decisions, self.min_decisions, self.max_decisions, "decisions"),
            (turns, self.min_turns, self.max_turns, "turns" if record else "decisions"),
        ):
            if value < low:
                return replace(verdict, reason="too_short", detail=f"{value} {unit}")
            if high is not None and value > high:
                return replace(verdict, reason="too_long", detail=f"{value} {unit}")
        rate = record.invalid / max(record.decisions, 1) if record else 0.0
        if self.max_invalid_rate is not None and rate > self.max_invalid_rate:
            return replace(verdict, reason="invalid_choices", detail=f"{rate:.1%} of its choices")
        return verdict


def filter_trajectories(
    input_dir: Path,
    output_dir: Path,
    rules: FilterRules | None = None,
    workers: int = 1,
    show_progress: bool = False,
    record_of: RecordOf | None = None,
    balance_seed: int | None = None,
    dry_run: bool = False,
) -> tuple[AuditReport, dict[str, Any]]:
    """Hard-link (or copy) the files worth keeping to `output_dir/{format}/`, under their names.

    Writes `output_dir/filtering_stats.json`. `input_dir` is only read. A second run changes
    nothing, and a run over a grown `input_dir` adds to the output. Nothing is ever deleted: an
    `output_dir` that holds other trajectories is refused. Raises UserError for this and for folders
    that cannot be read or written. Memory grows by about 1 KB a file.

    Args:
        record_of: what is known of a file's battle.
        balance_seed: with one, as many wins as losses of each player are kept, and the seed says
            which of the surplus are dropped.
        dry_run: only count.

    Returns:
        What was found, with the reasons of all files that were not kept, and what
        `filtering_stats.json` holds.
    """
    rules = rules or FilterRules()
    if balance_seed is not None:
        check_seed(balance_seed)
    source, destination = input_dir.resolve(), output_dir.resolve()
    if source.is_relative_to(destination) or destination.is_relative_to(source):
        raise UserError(f"{output_dir} and {input_dir} lie in each other: use a separate folder")
    files = trajectory_files(input_dir, separate=output_dir)
    paths = list(files)
    if not paths:
        raise UserError(f"{input_dir}: no .json.lz4 or .json file in it or below")

    with nullcontext() if dry_run else lock_folder(output_dir):
        report = AuditReport(notes=files.notes)
        unrecorded = 0
        good: dict[Path, Verdict] = {}
        for verdict in judge_all(paths, workers, show_progress, len(paths), judge_trajectory):
            record = record_of(verdict.path) if record_of and verdict.reason is None else None
            unrecorded += record is None and verdict.reason is None
            verdict = rules.apply(verdict, record)
            target = output_dir / verdict.format / verdict.path.name
            if verdict.reason is None and target in good:
                verdict = replace(verdict, reason="same_name", detail=f"as {good[target].path}")
            if verdict.reason is None:
                good[target] = verdict
            else:
                report.add(verdict)
        if balance_seed is not None:
            for target in surplus_outcomes(list(good), balance_seed):
                detail = f"{good[target].outcome} that no other outcome weighs up"
                report.add(replace(good.pop(target), reason="surplus_outcome", detail=detail))
        for verdict in good.values():
            report.add(verdict)

        stats = filtering_stats(report, rules) | {"files_without_record": unrecorded}
        stats["balance_seed"] = balance_seed
        if dry_run:
            return report, stats
        try:
            _refuse_strangers(output_dir, good)
            for folder in {target.parent for target in good} | {output_dir}:
                folder.mkdir(parents=True, exist_ok=True)
            for target, verdict in good.items():
                _place(verdict.path, target)
            write_json(output_dir / FILTERING_STATS, stats)
        except OSError as error:
            raise cannot_write(output_dir, error) from error
        return report, stats


def surplus_outcomes(files: Sequence[Path], seed: int) -> list[Path]:
    """The files to drop so that each player has as many wins as losses in each folder.

    Which ones depends on the seed, the battles and their players alone, not on the files' order nor
    on when they were played: the same battles of another day lose the same files.
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


def filtering_stats(report: AuditReport, rules: FilterRules) -> dict[str, Any]:
    """How many files came in, were kept and why not."""
    return {
        "input_files": report.files,
        "kept_files": report.usable_files,
        "kept_decisions": report.decisions,
        "kept_outcomes": dict(sorted(report.outcomes.items())),
        "rules": rules,
        "reasons": report.to_dict()["reasons"],
        "notes": report.to_dict()["notes"],
    }


def _refuse_strangers(output_dir: Path, kept: Container[Path]) -> None:
    if not output_dir.exists():
        return
    strangers = [path for path in trajectory_files(output_dir) if path not in kept]
    if strangers:
        raise UserError(
            f"{output_dir} holds {len(strangers)} trajectories that this run would not put there, "
            f"{strangers[0]} for one: use an empty folder"
        )


def _place(path: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        try:
            os.link(path.resolve(), temporary)  # the file itself, not a symbolic link to it
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, temporary)
