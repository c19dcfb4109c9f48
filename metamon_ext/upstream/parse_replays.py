"""Convert raw replays to trajectories with Metamon's parser."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

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
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import StageJournal, atomic_write, lock_folder, require_separate
from metamon_ext.settings import check_at_least, check_seed, default_workers
from metamon_ext.terminal import track
from metamon_ext.upstream.catalog import require_metamon
from metamon_ext.upstream.replay_parser import (
    Job,
    Outcome,
    Statistics,
    known_formats,
    parse,
    start_worker,
)

OTHER_FORMAT = "other_format"


@dataclass
class Summary:
    """The results of a run and of the earlier runs in its folder.

    Attributes:
        files: The number of trajectories.
        failures: Cause -> outcomes.
        done: Names and ids of all replays. The id matters too: another replay may now have the
            name, which is its place in a file.
        notes: Sentences on skipped files.
    """

    replays: int = 0
    files: int = 0
    failures: defaultdict[str, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    done: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one replay."""
        self.replays += 1
        self.done.add((outcome.name, outcome.id))
        self.files += outcome.files
        if outcome.cause:
            self.failures[outcome.cause].append(outcome)

    @property
    def causes(self) -> Counter[str]:
        """Cause -> number of failures."""
        return Counter({cause: len(outcomes) for cause, outcomes in self.failures.items()})

    def table(self) -> str:
        """All failures, one line each: cause, replay and detail, separated by tabs."""
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

    Raises:
        UserError: Metamon or its statistics are missing, or `output_dir` cannot be written or has
            a run with another predictor or seed.
        RunStopped: A process died, or the disk is full.
    """
    input_dir, output_dir, predictor = config.input_dir, config.output_dir, config.team_predictor
    require_metamon()
    known = known_formats()
    if unknown := set(config.formats) - known:
        raise UserError(
            f"Unknown format {', '.join(sorted(unknown))}. Metamon has {', '.join(sorted(known))}."
        )
    require_separate(output_dir, input_dir)
    summary = Summary()
    found = data_files([input_dir], summary.notes, output_dir)
    settings = {"predictor": predictor, "seed": config.seed}
    journal_file = output_dir / PARSE_JOURNAL
    try:
        with (
            lock_folder(output_dir),
            StageJournal(
                journal_file, settings, lambda line: summary.add(Outcome(**line))
            ) as journal,
        ):
            formats, statistics = set(config.formats or known), Statistics(predictor)
            jobs = _jobs(input_dir, found, summary.done, formats, statistics.require)
            start = (predictor, str(output_dir), config.seed)
            os.environ["PYTHONHASHSEED"] = "0"  # of the workers: the order of sets is reproducible
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
                if outcome.cause != OTHER_FORMAT:  # another run may ask for this format
                    journal.add(asdict(outcome))
                summary.add(outcome)
            with atomic_write(output_dir / PARSE_FAILURES) as temporary:
                temporary.write_bytes(summary.table().encode(errors="replace"))
            return summary
    except OSError as error:
        where, detail = error.filename or output_dir, error.strerror or error
        raise RunStopped(
            f"Cannot write {where}: {detail}. Run the command again to resume."
        ) from None


def _jobs(
    root: Path,
    files: Iterator[Path],
    done: set[tuple[str, str]],
    formats: set[str],
    require_statistics: Callable[[str], None],
) -> Iterator[Job]:
    """The replays that are not done. A second replay with the same id is rejected, since its files
    would have the same names."""
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
                    job = job.rejected(OTHER_FORMAT, replay.format)
                elif job.id in ids:
                    job = job.rejected("same_name", f"an earlier replay is {job.id}")
                else:
                    ids.add(job.id)
                    require_statistics(replay.format)
            yield job


def _job(record: Record | TrajectoryError, name: str) -> Job:
    try:
        if isinstance(record, TrajectoryError):
            raise record
        replay = read_replay(record.where, parse_json(record.where, record.text()))
        return Job(name, replay.id, replay)
    except TrajectoryError as error:
        return Job(name, cause=error.reason, detail=error.detail)
