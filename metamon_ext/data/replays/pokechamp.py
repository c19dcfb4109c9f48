"""PokéChamp's human battles as raw replays that Metamon's parser reads.

PokéChamp (Karten et al., 2025, arXiv 2503.04094) came with two million battles of Pokémon
Showdown's ladder, `milkkarten/pokechamp` on the Hugging Face hub. A record has `text` (the log),
`elo` (a range: `1200-1399`, `1800+`), `gamemode`, `battle_id` and `month_year`.
"""

from __future__ import annotations

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
from metamon_ext.data.replays.download_journal import DownloadJournal, Prepared
from metamon_ext.data.replays.raw import read_replay
from metamon_ext.data.replays.readers import Record, Records
from metamon_ext.data.replays.sources import data_files, records
from metamon_ext.data.trajectory import TrajectoryError, parse_json
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder, require_separate
from metamon_ext.settings import check_at_least
from metamon_ext.terminal import track

DATASET = "milkkarten/pokechamp"


@dataclass(frozen=True)
class DownloadFilter:
    """Which battles are kept.

    Attributes:
        min_elo: drop battles of a weaker player; 0 keeps those without a rating too.
        formats: e.g. gen1ou; default: all.
    """

    min_elo: int = 0
    formats: tuple[str, ...] = ()


def prepare(record: Record | TrajectoryError, wanted: DownloadFilter) -> Prepared:
    """Validate a record and convert it to a raw replay. Never raises."""
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
    wanted: DownloadFilter | None = None,
    max_games: int | None = None,
    source: Path | None = None,
    workers: int = 1,
    revision: str | None = None,
    show_progress: bool = False,
) -> AuditReport:
    """Write battles to `output_dir/gen1/ou/{id}.json`. Running it again resumes the download.

    Args:
        output_dir: The folder of this download only.
        wanted: Which battles to keep. None: all.
        max_games: Stop after so many battles, those of earlier runs included.
        source: A file or folder of records to read instead of the hub.
        workers: Processes that validate and convert the records.
        revision: The revision of the dataset on the hub.

    Returns:
        The number of records read, and why some were not kept.

    Raises:
        RunStopped: `PROBE` records in a row are no battles, the hub fails, or the disk is full.
        UserError: `output_dir` belongs to another download.
    """
    wanted = wanted or DownloadFilter()
    check_at_least(1, max_games=max_games, workers=workers)
    notes: list[str] = []
    settings = _settings(output_dir, wanted, source, revision, notes)
    with lock_folder(output_dir), closing(DownloadJournal(output_dir, settings)) as journal:
        journal.report.notes = notes
        if max_games is not None and journal.kept >= max_games:
            return journal.report
        try:
            stream = _hub(revision, journal.report.files) if source is None else _local(source)
            if source is not None:
                stream = islice(stream, journal.report.files, None)
            results = map_in_order(partial(prepare, wanted=wanted), stream, workers)
            for result in track(results, "reading", show=show_progress):
                journal.add(result)
                if max_games is not None and journal.kept >= max_games:
                    break
            return journal.report
        except OSError as error:
            raise RunStopped(
                f"Cannot write {output_dir}: {error.strerror or error}. Run the command again to "
                "resume."
            ) from None


def _settings(
    output_dir: Path,
    wanted: DownloadFilter,
    source: Path | None,
    revision: str | None,
    notes: list[str],
) -> dict[str, Any]:
    """The settings that must not change within a download."""
    settings: dict[str, Any] = {"min-elo": wanted.min_elo, "formats": sorted(wanted.formats)}
    if source is None:
        return settings | {"source": f"{DATASET} {revision or ''}".strip()}
    require_separate(output_dir, source)
    files = list(data_files([source], notes, output_dir))
    size = sum(file.stat().st_size for file in files if file.exists())  # not for broken links
    return settings | {"source": f"{source} ({len(files):,} files, {size:,} bytes)"}


def _local(source: Path) -> Records:
    return chain.from_iterable(map(records, data_files([source])))


def _hub(revision: str | None, skip: int) -> Records:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{DATASET} needs the package datasets. "
            'Run pip install "metamon_ext[data]", or pass your own files as --source.'
        ) from None
    return _hub_records(datasets, revision, skip)


def _hub_records(datasets: Any, revision: str | None, skip: int) -> Iterator[Record]:
    try:
        rows = datasets.load_dataset(DATASET, split="train", streaming=True, revision=revision)
        for number, row in enumerate(rows.skip(skip), skip + 1):
            where = Path(f"{DATASET}:{number}")
            yield Record(where, where, orjson.dumps(row, default=str))
    except Exception as error:  # of the hub's client, its file formats, or the network
        detail = (str(error) or type(error).__name__).splitlines()[0]
        raise RunStopped(
            f"The Hugging Face hub failed for {DATASET} ({detail}). Run the command again to "
            "resume."
        ) from None
