"""PokéChamp's human battles as raw replays that Metamon's parser reads.

PokéChamp (Karten et al., 2025, arXiv 2503.04094) came with two million battles of Pokémon
Showdown's ladder, `milkkarten/pokechamp` on the Hugging Face hub. A record has `text` (the log),
`elo` (a range: `1200-1399`, `1800+`), `gamemode`, `battle_id` and `month_year`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.data.audit_report import AuditReport
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.replays.download_journal import Journal, Prepared
from metamon_ext.data.replays.raw import read_replay
from metamon_ext.data.replays.sources import Record, Records, data_files, records
from metamon_ext.data.trajectory import TrajectoryError, parse_json
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder
from metamon_ext.settings import check_at_least
from metamon_ext.terminal import track

DATASET = "milkkarten/pokechamp"


@dataclass(frozen=True)
class Wanted:
    """Which battles are kept.

    Attributes:
        min_elo: drop battles of a weaker player; 0 keeps those without a rating too.
        formats: e.g. gen1ou; default: all.
    """

    min_elo: int = 0
    formats: tuple[str, ...] = ()


def prepare(record: Record | TrajectoryError, wanted: Wanted) -> Prepared:
    """Judge a record and make a raw replay of it. Raises nothing."""
    if isinstance(record, TrajectoryError):
        return Prepared(str(record.where), reason=record.reason, detail=record.detail)
    where = str(record.where)
    try:
        replay = read_replay(record.where, parse_json(record.where, record.text()))
    except TrajectoryError as error:
        return Prepared(where, reason=error.reason, detail=error.detail)
    if wanted.formats and replay.format not in wanted.formats:
        return Prepared(where, reason="other_format", detail=replay.format)
    if (replay.rating or 0) < wanted.min_elo:
        rating = "unrated" if replay.rating is None else str(replay.rating)
        return Prepared(where, reason="low_rating", detail=rating)
    data = orjson.dumps(replay.to_json())
    return Prepared(where, replay.path(Path()), data)


def download(
    output_dir: Path,
    wanted: Wanted | None = None,
    max_games: int | None = None,
    source: Path | None = None,
    workers: int = 1,
    revision: str | None = None,
    show_progress: bool = False,
) -> AuditReport:
    """Write the wanted battles to `output_dir/gen1/ou/{id}.json`, up to `max_games` in all.

    Args:
        output_dir: one download's; run again, it goes on where it was, however it was ended.
        source: a file or folder of records instead of the hub; `revision` is the hub's.
        workers: processes that judge and rewrite what one process reads.

    Returns how many records were read, and why some were not kept. Raises RunStopped where `PROBE`
    records in a row are placeholders, or no battles at all, where the hub fails and where the disk
    is full; UserError for an `output_dir` of another download.
    """
    wanted = wanted or Wanted()
    check_at_least(1, max_games=max_games, workers=workers)
    notes: list[str] = []
    settings = _settings(output_dir, wanted, source, revision, notes)
    with lock_folder(output_dir), closing(Journal(output_dir, settings)) as journal:
        journal.report.notes = notes
        if max_games is not None and journal.kept >= max_games:
            return journal.report
        try:
            stream = _hub(revision, journal.report.files) if source is None else _local(source)
            if source is not None:
                stream = islice(stream, journal.report.files, None)
            results = map_in_order(partial(prepare, wanted=wanted), stream, workers)
            for result in track(results, "reading", show=show_progress):
                journal.take(result)
                if max_games is not None and journal.kept >= max_games:
                    break
            journal.commit()
            return journal.report
        except (OSError, sqlite3.Error) as error:
            detail = getattr(error, "strerror", None) or error
            raise RunStopped(
                f"cannot write {output_dir}: {detail}; run it again to go on"
            ) from None


def _settings(
    output_dir: Path, wanted: Wanted, source: Path | None, revision: str | None, notes: list[str]
) -> dict[str, Any]:
    """What must stay the same for a download to be continued."""
    settings: dict[str, Any] = {"min-elo": wanted.min_elo, "formats": sorted(wanted.formats)}
    if source is None:
        return settings | {"source": f"{DATASET} {revision or ''}".strip()}
    inside, around = output_dir.resolve(), source.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise UserError(f"{output_dir} and {source} lie in each other: use a separate folder")
    files = list(data_files([source], notes, output_dir))
    size = sum(file.stat().st_size for file in files if file.exists())  # not of broken links
    return settings | {"source": f"{source} ({len(files):,} files, {size:,} bytes)"}


def _local(source: Path) -> Records:
    return chain.from_iterable(map(records, data_files([source])))


def _hub(revision: str | None, skip: int) -> Records:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{DATASET} comes through datasets: "
            'pip install "metamon_ext[data]", or name your own files with --source'
        ) from None
    return _hub_records(datasets, revision, skip)


def _hub_records(datasets: Any, revision: str | None, skip: int) -> Iterator[Record]:
    try:
        rows = datasets.load_dataset(DATASET, split="train", streaming=True, revision=revision)
        for number, row in enumerate(rows.skip(skip), skip + 1):
            where = Path(f"{DATASET}:{number}")
            yield Record(where, where, orjson.dumps(row, default=str))
    except Exception as error:  # of the hub, of its files' formats, of the network
        detail = (str(error) or type(error).__name__).splitlines()[0]
        raise RunStopped(
            f"the Hugging Face hub gave no more of {DATASET} ({detail}): run it again to go on"
        ) from None
