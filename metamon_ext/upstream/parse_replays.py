"""Raw replays to trajectories with Metamon's own parser."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from metamon_ext.data.processes import map_in_order
from metamon_ext.data.replays.raw import read_replay
from metamon_ext.data.replays.readers import Record
from metamon_ext.data.replays.sources import data_files, records
from metamon_ext.data.trajectory import (
    PARSE_FAILURES,
    PARSE_JOURNAL,
    TrajectoryError,
    parse_json,
)
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.files import atomic_write, lock_folder, to_json
from metamon_ext.settings import check_at_least, check_seed, default_workers
from metamon_ext.terminal import track
from metamon_ext.upstream.replay_parser import (
    Job,
    Outcome,
    StatisticsAsked,
    known_formats,
    need_parser,
    parse,
    start_worker,
)

OTHER_FORMAT = "other_format"


@dataclass
class Summary:
    """All that is in a journal. `failures` are by cause; `notes` say what was not read."""

    replays: int = 0
    files: int = 0
    failures: defaultdict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.replays += 1
        self.files += outcome.files
        if outcome.cause:
            self.failures[outcome.cause].append(outcome)

    @property
    def causes(self) -> Counter[str]:
        return Counter({cause: len(outcomes) for cause, outcomes in self.failures.items()})

    def table(self) -> str:
        """All failures, a line each: cause, replay and what was said, between tabs."""
        lines = (
            f"{cause}\t{outcome.name}\t{outcome.detail}\n"
            for cause, outcomes in sorted(self.failures.items())
            for outcome in outcomes
        )
        return "".join(lines)


@dataclass(frozen=True, kw_only=True)
class ParseReplaysConfig:
    """Settings of `parse_replays`.

    Attributes:
        input_dir: a folder of raw replays.
        output_dir: gets {format}/ folders of trajectories, and parse_failures.tsv. The same command
            again resumes, and takes in what is new: other replays, or other formats.
        formats: default: all that Metamon supports.
        workers: processes, each of which takes `batch_size` replays at a time.
        batch_size: replays that a worker takes at a time.
        team_predictor: Metamon's class that guesses what a replay does not reveal of a team.
        seed: of these guesses, which do not depend on the number of workers.
    """

    input_dir: Path
    output_dir: Path
    formats: Sequence[str] = ()
    workers: int = field(default_factory=default_workers)
    batch_size: int = 32
    team_predictor: str = "NaiveUsagePredictor"
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_at_least(1, workers=self.workers, batch_size=self.batch_size)


def parse_replays(config: ParseReplaysConfig, show_progress: bool = False) -> Summary:
    """Write `output_dir/{format}/*.json.lz4` for all raw replays below `input_dir`.

    Raises UserError without Metamon, without its statistics, and for an `output_dir` that cannot be
    written or was begun with another predictor or seed; RunStopped when a process dies or the disk
    is full.
    """
    input_dir, output_dir, predictor = config.input_dir, config.output_dir, config.team_predictor
    need_parser()
    known = known_formats()
    if unknown := set(config.formats) - known:
        raise UserError(
            f"Metamon has no format {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}"
        )
    inside, around = output_dir.resolve(), input_dir.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise UserError(f"{output_dir} and {input_dir} lie in each other: use a separate folder")
    notes: list[str] = []
    found = data_files([input_dir], notes, output_dir)
    ask_once = StatisticsAsked(predictor)
    settings = {"predictor": predictor, "seed": config.seed}
    try:
        with lock_folder(output_dir), Journal(output_dir / PARSE_JOURNAL, settings) as journal:
            jobs = _jobs(input_dir, found, journal.done, set(config.formats or known), ask_once)
            start = (predictor, str(output_dir), config.seed)
            os.environ["PYTHONHASHSEED"] = "0"  # of the workers: sets of names have one order
            outcomes = map_in_order(
                parse,
                jobs,
                config.workers,
                config.batch_size,
                start_worker,
                start,
                force_processes=True,
            )
            for outcome in track(outcomes, "parsing", show=show_progress):
                journal.add(outcome)
            with atomic_write(output_dir / PARSE_FAILURES) as temporary:
                temporary.write_bytes(journal.summary.table().encode(errors="replace"))
            journal.summary.notes = notes
            return journal.summary
    except OSError as error:
        where, detail = error.filename or output_dir, error.strerror or error
        raise RunStopped(f"cannot write {where}: {detail}; run it again to go on") from None


def _jobs(
    root: Path,
    files: Iterator[Path],
    done: set[tuple[str, str]],
    formats: set[str],
    ask: Callable[[str], None],
) -> Iterator[Job]:
    """What is left to do. Of two replays with one id, whose files would have the same names, the
    second is none."""
    parent = os.path.dirname(os.path.abspath(root))
    ids = {replay_id for _, replay_id in done}
    for file in files:
        for record in records(file):
            name = os.path.relpath(record.where, parent)
            job = _job(record, name.encode(errors="backslashreplace").decode())
            if (job.name, job.id) in done:
                continue
            if replay := job.replay:
                if replay.format not in formats:
                    job = job.refused(OTHER_FORMAT, replay.format)
                elif job.id in ids:
                    job = job.refused("same_name", f"another replay before it is {job.id}")
                else:
                    ids.add(job.id)
                    ask(replay.format)
            yield job


def _job(record: Record | TrajectoryError, name: str) -> Job:
    try:
        if isinstance(record, TrajectoryError):
            raise record
        replay = read_replay(record.where, parse_json(record.where, record.text()))
        return Job(name, replay.id, replay)
    except TrajectoryError as error:
        return Job(name, cause=error.reason, detail=error.detail)


class Journal:
    """One line a replay, written when its trajectories are; a line cut off by a kill is redone.

    `done` are replays by name and id: that a record stands where another one stood is no reason to
    pass over it. Those of other formats are not in it, and their turn may come in another run.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.done: set[tuple[str, str]] = set()
        self.summary = Summary()
        self._file: IO[bytes]

    def __enter__(self) -> Journal:
        """Raises UserError where `path` cannot be written or is another run's."""
        try:
            self._file = open(self.path, "a+b")
        except OSError as error:
            raise cannot_write(self.path.parent, error) from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        first, *lines = whole.splitlines() or [b""]
        try:
            begun = json.loads(first) if first else self.settings  # orjson rounds a large seed
            for line in lines:
                self._count(Outcome(**orjson.loads(line)))
        except (TypeError, ValueError):
            raise UserError(f"{self.path} is damaged: use another folder") from None
        if begun != self.settings:
            raise UserError(f"{self.path.parent} was begun with {begun}: use another folder")
        if not first:
            self._write(self.settings)

    def add(self, outcome: Outcome) -> None:
        """Note what became of a replay."""
        if outcome.cause != OTHER_FORMAT:
            self._write(asdict(outcome))
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        self.done.add((outcome.name, outcome.id))
        self.summary.add(outcome)

    def _write(self, content: Any) -> None:
        self._file.write(to_json(content) + b"\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()
