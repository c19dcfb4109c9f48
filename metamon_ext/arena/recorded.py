"""What the arena recorded of the battle that a trajectory file comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metamon_ext.arena.rows import query_results
from metamon_ext.data.filter import BattleRecord, RecordOf
from metamon_ext.data.trajectory import RESULTS, TrajectoryError, TrajectoryName


def recorded(folder: Path) -> RecordOf:
    """What the `results.sqlite` in a folder, in the one above it and in those in it say of a
    trajectory's battle.

    Of a folder that is a link, the file is also looked for beside the link's target.
    Raises UserError where one of them cannot be read: its battles would be judged without it.
    """
    query = (
        "SELECT key, score, turns, a_decisions, a_invalid, b_decisions, b_invalid "
        "FROM battles WHERE score IN (0, 1)"
    )
    records: dict[str, tuple[Any, ...]] = {}
    for file in result_files(folder):
        for key, *record in query_results(file, query):
            records.setdefault(key, tuple(record))

    def record_of(path: Path) -> BattleRecord | None:
        """The seat of a trajectory is the winner's or the other, by its outcome."""
        try:
            name = TrajectoryName.parse(path.name)
            record = records.get(f"{int(name.battle_id.rpartition('-')[2]):016x}")
        except (TrajectoryError, ValueError):
            return None
        if record is None:
            return None
        score, turns, *counts = record
        is_a = (score == 1) == (name.outcome == "WIN")
        return BattleRecord(turns, *(counts[:2] if is_a else counts[2:]))

    return record_of


def result_files(folder: Path) -> list[Path]:
    """Each `results.sqlite` in a folder, above it, and in the folders in it, through links."""
    below = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    folders = [folder.parent, folder, *below, folder.resolve().parent]
    for target in (path.resolve() for path in below if path.is_symlink()):
        folders += [target.parent, target.parent.parent]
    files = (folder / RESULTS for folder in folders)
    return list({file.resolve(): file for file in files if file.is_file()}.values())
