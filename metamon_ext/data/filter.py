"""Set bad trajectories aside, each for a reason that is counted, and link the good ones."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.data.audit import judge_all
from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.judge import Verdict, judge_trajectory
from metamon_ext.data.trajectory import FILTERING_STATS, trajectory_files, whole_file
from metamon_ext.errors import UserError


@dataclass(frozen=True)
class FilterRules:
    """Which files without a fault are kept: those of min to max decisions (None: no limit).

    `keep_cut_off` keeps battles cut off by a turn limit too, which Metamon saves as losses.
    """

    min_decisions: int = 1
    max_decisions: int | None = None
    keep_cut_off: bool = False

    def __post_init__(self) -> None:
        if self.max_decisions is not None and self.max_decisions < self.min_decisions:
            raise UserError(
                f"max_decisions ({self.max_decisions}) is below min_decisions "
                f"({self.min_decisions}): nothing could be kept"
            )

    def apply(self, verdict: Verdict) -> Verdict:
        """The same verdict, with a reason if these rules drop the file, without if they keep it."""
        if verdict.reason == "cut_off" and self.keep_cut_off:
            verdict = replace(verdict, reason=None, detail="")
        if verdict.reason is not None:
            return verdict
        detail = f"{verdict.decisions} decisions"
        if verdict.decisions < self.min_decisions:
            return replace(verdict, reason="too_short", detail=detail)
        if self.max_decisions is not None and verdict.decisions > self.max_decisions:
            return replace(verdict, reason="too_long", detail=detail)
        return verdict


def filter_trajectories(
    input_dir: Path,
    output_dir: Path,
    rules: FilterRules | None = None,
    workers: int = 1,
    show_progress: bool = False,
) -> AuditReport:
    """Hard-link (or copy) the files worth keeping to `output_dir/{format}/`, under their names.

    Writes `output_dir/filtering_stats.json` and returns what was found, with the reasons of all
    files that were not kept. `input_dir` is only read. A second run changes nothing, and a run
    over a grown `input_dir` adds to the output. Nothing is ever deleted: an `output_dir` that
    holds other trajectories is refused. Raises UserError for this and for folders that cannot be
    read or written.
    """
    rules = rules or FilterRules()
    source, destination = input_dir.resolve(), output_dir.resolve()
    if source.is_relative_to(destination) or destination.is_relative_to(source):
        raise UserError(f"{output_dir} and {input_dir} lie in each other: use a separate folder")
    paths = list(trajectory_files(input_dir))
    if not paths:
        raise UserError(f"{input_dir}: no .json.lz4 or .json file in it or below")

    report = AuditReport()
    kept: dict[Path, Path] = {}
    for verdict in judge_all(paths, workers, show_progress, len(paths), judge_trajectory):
        verdict = rules.apply(verdict)
        target = output_dir / verdict.format / verdict.path.name
        if verdict.reason is None and target in kept:
            verdict = replace(verdict, reason="same_name", detail=f"as {kept[target]}")
        if verdict.reason is None:
            kept[target] = verdict.path
        report.add(verdict)

    try:
        _refuse_strangers(output_dir, kept)
        for folder in {target.parent for target in kept} | {output_dir}:
            folder.mkdir(parents=True, exist_ok=True)
        for target, path in kept.items():
            _place(path, target)
        with whole_file(output_dir / FILTERING_STATS) as temporary:
            stats = filtering_stats(report, rules)
            temporary.write_bytes(orjson.dumps(stats, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise UserError(f"cannot write {output_dir}: {error.strerror}") from error
    return report


def filtering_stats(report: AuditReport, rules: FilterRules) -> dict[str, Any]:
    """What `filtering_stats.json` holds: how many files came in, were kept and why not."""
    return {
        "input_files": report.files,
        "kept_files": report.usable_files,
        "kept_decisions": report.decisions,
        "rules": rules,
        "reasons": report.to_dict()["reasons"],
    }


def _refuse_strangers(output_dir: Path, kept: dict[Path, Path]) -> None:
    if not output_dir.exists():
        return
    strangers = [path for path in trajectory_files(output_dir) if path not in kept]
    if strangers:
        raise UserError(
            f"{output_dir} holds {len(strangers)} trajectories that this run would not put there, "
            f"{strangers[0]} for one: use an empty folder"
        )


def _place(path: Path, target: Path) -> None:
    with whole_file(target) as temporary:
        try:
            os.link(path.resolve(), temporary)  # the file itself, not a symbolic link to it
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, temporary)
