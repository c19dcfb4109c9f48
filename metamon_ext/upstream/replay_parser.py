"""Metamon's replay parser, one replay at a time, in worker processes.

Metamon's command stops at the first unexpected replay, leaves incomplete files when it is killed,
and copies underscores of players to file names that its loader then drops. Here every replay is
parsed in a temporary folder, and its trajectories are moved to the output atomically.
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

from metamon_ext.data.replays.raw import RawReplay
from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write

NOISE = re.compile(r"\x1b\[[0-9;]*m| at 0x[0-9a-f]+")
"""Parts of Metamon's messages that differ from run to run: colors and addresses."""
STATISTICS = "usage statistics"


@dataclass(frozen=True)
class Job:
    """A replay and its name in the journal, or the reason why it cannot be parsed."""

    name: str
    id: str = ""
    replay: RawReplay | None = None
    cause: str = ""
    detail: str = ""

    def rejected(self, cause: str, detail: str) -> Job:
        """The same job, not to be parsed."""
        return Job(self.name, self.id, None, cause, detail)


@dataclass(frozen=True)
class Outcome:
    """The result of parsing a replay.

    Attributes:
        files: The number of trajectories: one for each player whose side could be parsed.
        cause: If there are fewer than two: the name of Metamon's exception, or a key of REASONS.
    """

    name: str
    id: str = ""
    files: int = 0
    cause: str = ""
    detail: str = ""


def known_formats() -> set[str]:
    """The formats that Metamon's parser supports."""
    from metamon.config import SUPPORTED_BATTLE_FORMATS

    return set(SUPPORTED_BATTLE_FORMATS)


class Statistics:
    """Metamon's statistics, downloaded by this process before the workers need them."""

    def __init__(self, predictor: str) -> None:
        from metamon.backend.team_prediction.predictor import ALL_PREDICTORS

        if predictor not in ALL_PREDICTORS:
            raise UserError(
                f"Unknown predictor {predictor}. Metamon has {', '.join(ALL_PREDICTORS)}."
            )
        self.predictor = predictor
        self._ready: set[str] = set()

    def require(self, battle_format: str) -> None:
        """Download the statistics of a format if needed. Raises UserError if that fails."""
        if battle_format in self._ready:
            return
        from metamon.data import download

        gen, tier = battle_format[3], battle_format[4:]
        if not self._ready and self.predictor == "ReplayPredictor":
            self._download("replay-stats", battle_format, download.download_replay_stats)
        root = self._download(
            "usage-stats", battle_format, lambda: download.download_usage_stats(int(gen))
        )
        for needed in (tier, "ubers", "all_tiers"):
            folder = Path(root, "movesets_data", f"gen{gen}", needed)
            if not any(folder.glob("*.json")):
                raise UserError(
                    f"{folder} has no {STATISTICS}. Delete gen{gen} and download it again."
                )
        self._ready.add(battle_format)

    @staticmethod
    def _download(name: str, battle_format: str, download: Callable[[], str]) -> str:
        try:
            with _silence():
                return download()
        except Exception as error:  # of the hub's client, the network, the archive or the disk
            detail = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"Cannot download Metamon's {name} for {battle_format} ({detail}). "
                f"Run python -m metamon.data.download {name} --formats {battle_format}."
            ) from None


_worker: tuple[Any, Path, int]  # of this process: Metamon's parser, the output folder, the seed


def start_worker(predictor: str, output_dir: str, seed: int) -> None:
    """Load Metamon's parser in a worker process."""
    global _worker
    os.environ["PYTHONBREAKPOINT"] = "0"  # Metamon calls breakpoint() if statistics are missing
    os.environ["TZ"] = "UTC"  # Metamon uses the local date in file names
    time.tzset()
    with _silence():
        import metamon.data.download  # noqa: F401  (the parser does not import it)
        from metamon.backend.replay_parser.parse_replays import ReplayParser
        from metamon.backend.team_prediction.predictor import ALL_PREDICTORS

        parser = ReplayParser(team_predictor=ALL_PREDICTORS[predictor]())
    _worker = parser, Path(output_dir), seed


def parse(job: Job) -> Outcome:
    """Write the trajectories of a replay. Raises OSError if they cannot be written."""
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
    """Write the trajectories to `scratch`. Returns the cause and detail if there are not two."""
    raw = scratch / f"{replay.id}.json"
    raw.write_bytes(orjson.dumps(replay.to_json()))
    parser.output_dir = str(scratch)
    parser.error_history = {"Forward": {}, "Backward": {}}
    with _silence(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser.parse_replay(str(raw))
        except OSError:
            raise
        except Exception as error:  # the parser turns expected ones into warnings
            return type(error).__name__, str(error)
    for cause in (*parser.error_history["Forward"], *parser.error_history["Backward"]):
        return cause, str(caught[-1].message)
    return "", ""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drop what Metamon prints to standard output, which is for results."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield
