"""`metamon-ext parse_replays`: raw replays to trajectories with Metamon's own parser.

Metamon's command stops at the first replay that its parser did not foresee, writes files that a
killed run leaves cut off, starts from the beginning every time, and takes over players' underscores
into file names that its loader then drops. Here every replay is parsed in a folder of its own, its
trajectories appear whole, and a journal knows what is done.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import re
import tempfile
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from metamon_ext.arena.tracker import has_metamon
from metamon_ext.data.processes import map_in_order
from metamon_ext.data.raw import RawReplay, read_replay
from metamon_ext.data.sources import Record, data_files, records
from metamon_ext.data.trajectory import TrajectoryError, parse_json, whole_file
from metamon_ext.errors import RunStopped, UserError

JOURNAL = ".parse_replays.jsonl"
FAILURES = "parse_failures.json"
EXAMPLES = 3
MARKUP = re.compile(r"\x1b\[[0-9;]*m")
STATISTICS = "usage statistics"


@dataclass(frozen=True)
class Job:
    """A replay by the name that the journal has for it, or the reason why it is none."""

    name: str
    replay: RawReplay | None = None
    cause: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a replay: as many `files` as players whose side could be parsed, and the
    `cause` if these are fewer than two: the name of an exception of Metamon's, or a reason of the
    audit."""

    name: str
    files: int = 0
    cause: str = ""
    detail: str = ""


@dataclass
class Summary:
    """All that is in a journal. `failures` are cause -> names of replays."""

    replays: int = 0
    files: int = 0
    failures: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    details: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.replays += 1
        self.files += outcome.files
        if outcome.cause:
            self.failures[outcome.cause].append(outcome.name)
            self.details.setdefault(outcome.cause, outcome.detail)

    @property
    def causes(self) -> Counter[str]:
        return Counter({cause: len(names) for cause, names in self.failures.items()})


def parse_replays(
    input_dir: Path,
    output_dir: Path,
    formats: list[str] | None = None,
    workers: int = 1,
    batch_size: int = 32,
    predictor: str = "NaiveUsagePredictor",
    seed: int = 0,
    show_progress: bool = False,
) -> Summary:
    """Write `output_dir/{format}/*.json.lz4` for all raw replays below `input_dir`.

    Args:
        output_dir: one input's; run again, it goes on where it was, however it was ended. Beside
            the trajectories it gets `parse_failures.json`: cause -> replays.
        formats: those that are parsed, by default all that Metamon supports.
        workers: processes, each of which takes `batch_size` replays at a time.
        predictor: Metamon's class that guesses what a replay does not reveal of a team.
        seed: of these guesses, which do not depend on the number of workers.

    Raises UserError without Metamon, without its statistics, and for an `output_dir` that was begun
    with another predictor or seed; RunStopped when a process dies or the disk is full.
    """
    need_parser()
    known = known_formats()
    if unknown := set(formats or ()) - known:
        raise UserError(
            f"Metamon has no format {', '.join(sorted(unknown))}: it has {', '.join(sorted(known))}"
        )
    inside, around = output_dir.resolve(), input_dir.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise UserError(f"{output_dir} and {input_dir} lie in each other: use a separate folder")
    found = data_files([input_dir])
    ask_once = StatisticsAsked(predictor)
    settings = {"predictor": predictor, "seed": seed}
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with Journal(output_dir / JOURNAL, settings) as journal:
            jobs = _jobs(input_dir, found, journal.done, set(formats or known), ask_once)
            start = (predictor, str(output_dir), seed)
            os.environ["PYTHONHASHSEED"] = "0"  # of the workers: sets of names have one order
            outcomes = map_in_order(_parse, jobs, workers, batch_size, _start, start, apart=True)
            stderr = Console(stderr=True)
            hidden = not (show_progress and stderr.is_terminal)
            for outcome in track(outcomes, "parsing", total=None, console=stderr, disable=hidden):
                journal.add(outcome)
            with whole_file(output_dir / FAILURES) as temporary:
                failures = orjson.dumps(dict(journal.summary.failures), option=orjson.OPT_INDENT_2)
                temporary.write_bytes(failures)
            return journal.summary
    except OSError as error:
        detail = error.strerror or error
        raise RunStopped(f"cannot write {output_dir}: {detail}; run it again to go on") from None


def need_parser() -> None:
    """Say what to install where Metamon, whose parser this is, is missing."""
    if not has_metamon():
        raise UserError(
            "replays are parsed by Metamon's own parser, and Metamon is not installed here: clone "
            "UT-Austin-RPL/metamon, pip install -e the clone, and run this in its environment"
        )
    if not os.environ.get("METAMON_CACHE_DIR"):
        raise UserError(f"set METAMON_CACHE_DIR to the folder of Metamon's {STATISTICS}")


def known_formats() -> set[str]:
    """The formats that Metamon's parser supports."""
    from metamon.config import SUPPORTED_BATTLE_FORMATS

    return set(SUPPORTED_BATTLE_FORMATS)


class StatisticsAsked:
    """Metamon's statistics, asked for once a generation and here, not by every process."""

    def __init__(self, predictor: str) -> None:
        from metamon.backend.team_prediction.predictor import ALL_PREDICTORS

        if predictor not in ALL_PREDICTORS:
            raise UserError(f"Metamon has no {predictor}: it has {', '.join(ALL_PREDICTORS)}")
        self.predictor = predictor
        self._there: set[str] = set()

    def __call__(self, battle_format: str) -> None:
        """Raise UserError where those of a format are missing and cannot be downloaded."""
        if battle_format in self._there:
            return
        from metamon.data import download

        gen, tier = battle_format[3], battle_format[4:]
        if not self._there and self.predictor == "ReplayPredictor":
            self._ask("replay-stats", battle_format, download.download_replay_stats)
        root = self._ask(
            "usage-stats", battle_format, lambda: download.download_usage_stats(int(gen))
        )
        for needed in (tier, "ubers", "all_tiers"):
            folder = Path(root, "movesets_data", f"gen{gen}", needed)
            if not any(folder.glob("*.json")):
                raise UserError(f"{folder} holds no {STATISTICS}: delete gen{gen} and download it")
        self._there.add(battle_format)

    @staticmethod
    def _ask(name: str, battle_format: str, download: Callable[[], str]) -> str:
        try:
            with _silence():
                return download()
        except Exception as error:  # of the hub's client, the network, the archive, the disk
            detail = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"Metamon's {name} for {battle_format} are not there and could not be downloaded "
                f"({detail}): run python -m metamon.data.download {name} --formats {battle_format}"
            ) from None


def _jobs(
    root: Path,
    files: Iterator[Path],
    done: set[str],
    formats: set[str],
    ask: Callable[[str], None],
) -> Iterator[Job]:
    for file in files:
        for record in records(file):
            job = _job(record, os.path.relpath(record.where, root.parent))
            if job.name in done:
                continue
            if job.replay is not None:
                if job.replay.format in formats:
                    ask(job.replay.format)
                else:
                    job = replace(job, replay=None, cause="other_format", detail=job.replay.format)
            yield job


def _job(record: Record | TrajectoryError, name: str) -> Job:
    try:
        if isinstance(record, TrajectoryError):
            raise record
        content = parse_json(record.where, record.text())
        return Job(name, read_replay(record.where, content))
    except TrajectoryError as error:
        return Job(name, cause=error.reason, detail=error.detail)


_worker: tuple[Any, Path, int]  # of this process: Metamon's parser, the output, the seed


def _start(predictor: str, output_dir: str, seed: int) -> None:
    global _worker
    os.environ["PYTHONBREAKPOINT"] = "0"  # Metamon has one where statistics are missing
    with _silence():
        import metamon.data.download  # noqa: F401  (the parser uses it without importing it)
        from metamon.backend.replay_parser.parse_replays import ReplayParser
        from metamon.backend.team_prediction.predictor import ALL_PREDICTORS

        parser = ReplayParser(team_predictor=ALL_PREDICTORS[predictor]())
    _worker = parser, Path(output_dir), seed


def _parse(job: Job) -> Outcome:
    if job.replay is None:
        return Outcome(job.name, 0, job.cause, job.detail)
    parser, output_dir, seed = _worker
    chance = zlib.crc32(f"{seed} {job.replay.id}".encode())
    random.seed(chance)
    np.random.seed(chance)
    with tempfile.TemporaryDirectory(prefix="parse-") as scratch:
        raw, parsed = Path(scratch, f"{job.replay.id}.json"), Path(scratch, "parsed")
        raw.write_bytes(orjson.dumps(job.replay.to_json()))
        parser.output_dir = str(parsed)
        parser.error_history = {"Forward": {}, "Backward": {}}
        cause, detail = "", ""
        with _silence(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                parser.parse_replay(str(raw))
            except Exception as error:  # Metamon's parser foresees some; these it did not
                cause, detail = type(error).__name__, str(error)
        for names in parser.error_history.values():
            cause = next(iter(names), cause)
            detail = detail or (str(said[-1].message) if said and cause else "")
        files = sorted(parsed.glob("*.json.lz4")) if parsed.is_dir() else []
        for file in files:
            target = output_dir / job.replay.format / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as temporary:
                temporary.write_bytes(file.read_bytes())
    detail = " ".join(MARKUP.sub("", detail).split())[:300]
    return Outcome(job.name, len(files), cause, detail)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Standard output is for answers: what Metamon prints is not."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield


class Journal:
    """One line a replay, written when its trajectories are; a line cut off by a kill is redone."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.done: set[str] = set()
        self.summary = Summary()
        self._file: IO[bytes]

    def __enter__(self) -> Journal:
        self._file = open(self.path, "a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(f"{self.path.parent} is being written by another run") from None
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        first, *lines = whole.splitlines() or [b""]
        try:
            begun = orjson.loads(first) if first else self.settings
            for line in lines:
                self._count(Outcome(**orjson.loads(line)))
        except (TypeError, ValueError):
            self._file.close()
            raise UserError(f"{self.path} is damaged: use another folder") from None
        if begun != self.settings:
            self._file.close()
            raise UserError(f"{self.path.parent} was begun with {begun}: use another folder")
        if not first:
            self._write(self.settings)
        return self

    def add(self, outcome: Outcome) -> None:
        """Note what became of a replay."""
        self._write(asdict(outcome))
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        self.done.add(outcome.name)
        self.summary.add(outcome)

    def _write(self, content: Any) -> None:
        self._file.write(orjson.dumps(content) + b"\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()


def add_parsers(commands: Any) -> None:
    """Register `metamon-ext parse_replays`."""
    text = "raw replays to trajectories, with Metamon's own parser"
    parser = commands.add_parser("parse_replays", help=text, description=text)
    parser.add_argument("--input-dir", "--input_dir", type=Path, required=True, metavar="RAW")
    parser.add_argument("--output-dir", "--output_dir", type=Path, required=True, metavar="PARSED")
    parser.add_argument("--num-workers", "--num_workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--batch-size", "--batch_size", type=int, default=32, help="replays that a worker takes"
    )
    parser.add_argument("--formats", nargs="+", metavar="FORMAT", help="default: all of Metamon's")
    parser.add_argument("--team_predictor", default="NaiveUsagePredictor", help="one of Metamon's")
    parser.add_argument("--seed", type=int, default=0, help="of what the predictor guesses")
    parser.add_argument("--json", action="store_true", help="answer with one line of JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 where there are trajectories, 1 where no replay could be parsed."""
    if args.num_workers < 1 or args.batch_size < 1:
        raise UserError("--num-workers and --batch-size must be at least 1")
    summary = parse_replays(
        args.input_dir,
        args.output_dir,
        args.formats,
        args.num_workers,
        args.batch_size,
        args.team_predictor,
        args.seed,
        show_progress=True,
    )
    if args.json:
        counts = {"replays": summary.replays, "trajectories": summary.files}
        print(orjson.dumps(counts | {"causes": summary.causes}).decode())
        return 0 if summary.files else 1
    console = Console()
    if summary.failures:
        table = Table("cause", "replays", "share", "for example")
        for cause, count in summary.causes.most_common():
            example = f"{summary.failures[cause][0]}: {summary.details[cause]}"
            share = f"{count / summary.replays:.1%}"
            table.add_row(
                cause, f"{count:,}", share, escape(example.encode(errors="replace").decode())
            )
        console.print(table)
        console.print(f"All of them: {args.output_dir / FAILURES}", highlight=False, soft_wrap=True)
    console.print(
        f"{summary.files:,} trajectories of {summary.replays:,} replays.", highlight=False
    )
    return 0 if summary.files else 1
