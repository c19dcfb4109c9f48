"""Download Metamon's datasets with Metamon's downloader."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.errors import RunStopped, UserError, did_you_mean
from metamon_ext.files import lock_folder
from metamon_ext.upstream.catalog import require_metamon

SPARE = 2**30
"""Bytes to leave free on the disk."""


@dataclass(frozen=True)
class DataSet:
    """A dataset that `metamon.data.download` of Metamon 1.5 downloads from the hub.

    Attributes:
        function: Metamon's function, called once for each file of the repository.
        revision: A constant of Metamon, or a branch.
        files: A pattern of file names. Its named groups are the arguments of the function.
        target: The file or folder in Metamon's cache that the function writes.
        room: Bytes on disk for each downloaded byte, while it is unpacked.
    """

    text: str
    function: str
    repository: str
    revision: str
    files: str
    target: str
    room: float


SETS = {
    "raw-replays": DataSet(
        "human battles as logs, for parse_replays",
        "download_raw_replays",
        "jakegrigsby/metamon-raw-replays",
        "LATEST_RAW_REPLAY_REVISION",
        r".*\.(parquet|arrow|jsonl?)(\.gz|\.zst)?",
        "raw-replays",
        room=8,
    ),
    "parsed-replays": DataSet(
        "human battles as trajectories",
        "download_parsed_replays",
        "jakegrigsby/metamon-parsed-replays",
        "LATEST_PARSED_REPLAY_REVISION",
        r"(?P<battle_format>gen\w+)\.tar\.gz",
        "parsed-replays/{battle_format}",
        room=2.2,
    ),
    "self-play": DataSet(
        "battles of Metamon's agents as trajectories, in .tar archives",
        "download_self_play_data",
        "jakegrigsby/metamon-parsed-pile",
        "main",
        r"(?P<subset>[\w-]+)/(?P<battle_format>gen\w+)\.tar\.lz4",
        "self-play/{subset}/{battle_format}.tar",
        room=2.2,
    ),
    "teams": DataSet(
        "team sets: competitive, paper_variety, modern_replays, ...",
        "download_teams",
        "jakegrigsby/metamon-teams",
        "LATEST_TEAMS_REVISION",
        r"(?P<set_name>[\w-]+)/(?P<battle_format>gen\w+)\.tar\.gz",
        "teams/{set_name}/{battle_format}",
        room=10,
    ),
    "usage-stats": DataSet(
        "usage statistics by month; parse_replays needs them",
        "download_usage_stats",
        "jakegrigsby/metamon-usage-stats",
        "LATEST_USAGE_STATS_REVISION",
        r"(movesets|checks)_data/gen(?P<gen>\d)\.tar\.gz",
        "usage-stats/checks_data/gen{gen}",
        room=12,
    ),
    "replay-stats": DataSet(
        "revealed teams; parse_replays --team_predictor ReplayPredictor needs them",
        "download_replay_stats",
        "jakegrigsby/metamon-parsed-replays",
        "LATEST_PARSED_REPLAY_REVISION",
        r"replay_stats\.tar\.gz",
        "parsed-replays/replay_stats",
        room=12,
    ),
}


@dataclass(frozen=True)
class Part:
    """One call of Metamon's downloader, which transfers `size` bytes."""

    arguments: tuple[tuple[str, str], ...]
    target: Path
    size: int


def find_parts(
    data_set: DataSet, listing: dict[str, int], formats: Collection[str], cache: Path
) -> list[Part]:
    """The missing parts of a dataset.

    Args:
        listing: Path -> bytes of all files in the repository.
        formats: Battle formats to download. Empty: all.
    """
    sizes: Counter[tuple[tuple[str, str], ...]] = Counter()
    for path, size in listing.items():
        match = re.fullmatch(data_set.files, path)
        if match is not None:
            sizes[tuple(match.groupdict().items())] += size
    parts = []
    for arguments, size in sizes.items():
        named = dict(arguments)
        wanted = not formats or any(
            named.get("battle_format", each) == each and named.get("gen", each[3]) == each[3]
            for each in formats
        )
        target = cache / data_set.target.format(**named)
        if wanted and not target.exists():
            parts.append(Part(arguments, target, size))
    return sorted(parts, key=lambda part: part.target)


def download(name: str, formats: Collection[str] = (), only_show: bool = False) -> list[Part]:
    """Download the missing parts of a dataset to METAMON_CACHE_DIR.

    Args:
        only_show: Only find out what is missing.

    Returns:
        The parts that were missing.

    Raises:
        UserError: Metamon is missing, the dataset lacks the formats, or the disk is too small.
        RunStopped: The hub fails.
    """
    if name not in SETS:
        hint = did_you_mean(name, SETS)
        raise UserError(f"Unknown dataset {name!r}.{hint} Choose from {', '.join(SETS)}.")
    require_metamon()
    from metamon.data import download as metamon

    cache, data_set = Path(os.environ["METAMON_CACHE_DIR"]), SETS[name]
    revision = getattr(metamon, data_set.revision, data_set.revision)
    try:
        listing = list_files(data_set.repository, revision)
    except Exception as error:  # of the hub's client or the network
        raise _stopped(data_set, error) from None
    if not find_parts(data_set, listing, formats, Path(os.devnull)):
        raise UserError(f"{data_set.repository} has no {' '.join(formats) or name}.")
    parts = find_parts(data_set, listing, formats, cache)
    check_disk(cache, sum(part.size for part in parts) * data_set.room)
    if only_show:
        return parts
    with lock_folder(cache):  # Metamon keeps one record of all versions in it
        for part in parts:
            arguments: dict[str, Any] = dict(part.arguments)
            if "gen" in arguments:
                arguments["gen"] = int(arguments["gen"])
            try:
                getattr(metamon, data_set.function)(**arguments)
            except Exception as error:
                raise _stopped(data_set, error) from None
    return parts


def download_teams(battle_format: str, set_name: str) -> Path:
    """Download a team set by Metamon's own function. Raises what that raises."""
    from metamon.data import download as metamon

    return Path(metamon.download_teams(battle_format, set_name))


def list_files(repository: str, revision: str) -> dict[str, int]:
    """Path -> bytes of all files of a dataset on the hub."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def check_disk(folder: Path, needed: float) -> None:
    """Raise UserError if less than `needed` bytes are free on the disk of `folder`."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed + SPARE:
        raise UserError(
            f"{folder} has {size_text(free)} free and needs about {size_text(needed + SPARE)}. "
            "Pass fewer --formats, or set METAMON_CACHE_DIR to a larger disk."
        )


def _stopped(data_set: DataSet, error: Exception) -> RunStopped:
    detail = (str(error) or type(error).__name__).splitlines()[0]
    return RunStopped(f"Cannot download {data_set.repository}: {detail}.")


def size_text(count: float) -> str:
    """Bytes as text, such as 1.5 GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
