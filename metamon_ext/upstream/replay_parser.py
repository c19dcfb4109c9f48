"""Metamon's replay parser, one replay at a time, in processes of its own.

Metamon's command stops at the first replay that its parser did not foresee, writes files that a
killed run leaves cut off, and takes over players' underscores into file names that its loader then
drops. Here every replay is parsed in a folder of its own, and its trajectories appear whole.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.data.replays.raw import RawReplay
from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write

NOISE = re.compile(r"\x1b\[[0-9;]*m| at 0x[0-9a-f]+")
"""In Metamon's messages: colours, and addresses that are others in each run."""
STATISTICS = "usage statistics"


@dataclass(frozen=True)
class Job:
    """A replay by the name that the journal has for it, or the reason why it is none."""

    name: str
    id: str = ""
    replay: RawReplay | None = None
    cause: str = ""
    detail: str = ""

    def refused(self, cause: str, detail: str) -> Job:
        """A replay that is not to be parsed."""
        return Job(self.name, self.id, None, cause, detail)


@dataclass(frozen=True)
class Outcome:
    """What became of a replay: as many `files` as players whose side could be parsed, and the
    `cause` if these are fewer than two: the name of an exception of Metamon's, or a reason of the
    audit."""

    name: str
    id: str = ""
    files: int = 0
    cause: str = ""
    detail: str = ""


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


_worker: tuple[Any, Path, int]  # of this process: Metamon's parser, the output, the seed


def start_worker(predictor: str, output_dir: str, seed: int) -> None:
    global _worker
    os.environ["PYTHONBREAKPOINT"] = "0"  # Metamon has one where statistics are missing
    os.environ["TZ"] = "UTC"  # Metamon names files by the local date
    time.tzset()
    with _silence():
        import metamon.data.download  # noqa: F401  (the parser uses it without importing it)
        from metamon.backend.replay_parser.parse_replays import ReplayParser
        from metamon.backend.team_prediction.predictor import ALL_PREDICTORS

        parser = ReplayParser(team_predictor=ALL_PREDICTORS[predictor]())
    _worker = parser, Path(output_dir), seed


def parse(job: Job) -> Outcome:
    """Write what Metamon makes of a replay. Raises OSError where that cannot be written."""
    if job.replay is None:
        return Outcome(job.name, job.id, 0, job.cause, job.detail)
    parser, output_dir, seed = _worker
    chance = zlib.crc32(f"{seed} {job.replay.id}".encode())
    random.seed(chance)
    np.random.seed(chance)
    with tempfile.TemporaryDirectory(prefix="parse-") as scratch:
        try:
            cause, detail = _parse(parser, job.replay, Path(scratch))
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), scratch) from None
        files = sorted(Path(scratch).glob("*.json.lz4"))
        for file in files:
            target = output_dir / job.replay.format / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as temporary:
                temporary.write_bytes(file.read_bytes())
    detail = " ".join(NOISE.sub("", detail).split())[:300]
    return Outcome(job.name, job.id, len(files), cause, detail)


def _parse(parser: Any, replay: RawReplay, scratch: Path) -> tuple[str, str]:
    """Leave the trajectories in `scratch`; why there are not two of them, and in whose words."""
    raw = scratch / f"{replay.id}.json"
    raw.write_bytes(orjson.dumps(replay.to_json()))
    parser.output_dir = str(scratch)
    parser.error_history = {"Forward": {}, "Backward": {}}
    with _silence(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            parser.parse_replay(str(raw))
        except OSError:
            raise
        except Exception as error:  # Metamon's parser foresees some, and warns; these it did not
            return type(error).__name__, str(error)
    for cause in (*parser.error_history["Forward"], *parser.error_history["Backward"]):
        return cause, str(said[-1].message)
    return "", ""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Standard output is for answers: what Metamon prints is not."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield
