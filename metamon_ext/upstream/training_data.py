"""The data of a finetuning run: is it there, has it the formats, and exactly which files are it?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.data.cache.arrays import Header
from metamon_ext.data.cache.files import ARCHIVE
from metamon_ext.data.cache.filter import split_name
from metamon_ext.data.trajectory import (
    EXTENSIONS,
    TrajectoryError,
    TrajectoryName,
    trajectory_files,
)
from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.upstream import catalog
from metamon_ext.upstream.finetune_config import FinetuneConfig

REPLACED_BY_CACHES = ("parsed_replay_dir", "self_play_subsets", "custom_replay_dir", "formats")
CACHE_NAMES = {
    "obs_space": "observation_space",
    "reward_function": "reward_function",
    "tokenizer": "tokenizer",
    "action_space": "action_space",
}
"""In a cache's header -> part of a model."""


def describe_data(config: FinetuneConfig, parts: dict[str, Any]) -> dict[str, Any]:
    """The data sources of a run with their weights and fingerprints.

    Args:
        config: the run.
        parts: what the model is built from, by name.

    Raises UserError for data that is not there, or that cannot be used.
    """
    if config.cached is not None:
        return _caches(config, parts)
    if config.cached_weights is not None:
        raise UserError("--cached_weights needs --cached: it weights caches.")
    formats = tuple(dict.fromkeys(config.formats or ()))
    sources: dict[str, dict[str, Any]] = {}
    if config.replay_weight > 0:
        sources["human replays"] = _human_replays(config, formats)
    for subset, weight in _self_play(config):
        if weight > 0:
            known = catalog.self_play_formats()
            _refuse_unknown(formats, known, "Metamon's self-play (--self_play_weights 0: without)")
            sources[subset] = {"weight": weight, **_hub("self-play", subset, formats or known)}
    if config.custom_replay_dir is not None and config.custom_replay_weight > 0:
        folder = _folder(config.custom_replay_dir, "--custom_replay_dir", formats)
        sources["custom replays"] = {"weight": config.custom_replay_weight, **folder}
    if not sources:
        raise UserError(
            "No data: name a --custom_replay_dir, --self_play_subsets or --cached, "
            "or give --replay_weight above 0."
        )
    there = sorted({name for source in sources.values() for name in source["formats"]})
    _refuse_unknown(formats, there, "the data")
    return {"formats": sorted(formats) or "all", "sources": sources}


def _human_replays(config: FinetuneConfig, formats: Sequence[str]) -> dict[str, Any]:
    if config.parsed_replay_dir is not None:
        folder = _folder(config.parsed_replay_dir, "--parsed_replay_dir", formats)
        return {"weight": config.replay_weight, **folder}
    known = catalog.battle_formats()
    _refuse_unknown(formats, known, "Metamon's human replays (--replay_weight 0: without them)")
    return {"weight": config.replay_weight, **_hub("parsed-replays", "", formats or known)}


def _self_play(config: FinetuneConfig) -> list[tuple[str, float]]:
    """Metamon's self-play datasets, each with its weight."""
    subsets = list(config.self_play_subsets or ())
    for subset in subsets:
        if subset not in catalog.self_play_subsets():
            known = catalog.self_play_subsets()
            raise UserError(
                f"Unknown self-play subset {subset!r}.{did_you_mean(subset, known)} "
                f"Metamon has {', '.join(known)}."
            )
    weights = list(config.self_play_weights or [1.0] * len(subsets))
    _refuse_other_number("--self_play_weights", weights, "--self_play_subsets", subsets)
    return list(zip(subsets, weights, strict=True))


def _caches(config: FinetuneConfig, parts: dict[str, Any]) -> dict[str, Any]:
    assert config.cached is not None
    for key in REPLACED_BY_CACHES:
        if getattr(config, key) is not None:
            raise UserError(
                f"--cached and --{key} exclude each other: caches are all that is trained on. "
                "Choose from a cache by its name: human.mmap?formats=gen1ou&min_rating=1500."
            )
    weights = list(config.cached_weights or [1.0] * len(config.cached))
    _refuse_other_number("--cached_weights", weights, "--cached", config.cached)
    if not any(weights):
        raise UserError("--cached_weights are all 0. Give at least one above 0.")
    pairs = zip(config.cached, weights, strict=True)
    return {"sources": {cache: {"weight": w, **_cache(cache, parts)} for cache, w in pairs}}


def _cache(name: str, parts: dict[str, Any]) -> dict[str, Any]:
    """A cache's fingerprint. Raises UserError if it is none, or one for another model."""
    folder, wanted = split_name(name)
    header = Header.read(folder)
    for key, part in CACHE_NAMES.items():
        if key in header.definition and header.definition[key] != parts[part]:
            raise UserError(
                f"{folder} was built for the {part} {header.definition[key]}, but this run trains "
                f"with {parts[part]}. Build another one with metamon-ext cache build."
            )
    if wanted.formats is not None:
        _refuse_unknown(wanted.formats, header.formats, f"{folder}")
    count = header.trajectories
    return {"path": str(folder.resolve()), "trajectories": count, "crc32": header.index_checksum}


def _folder(root: Path, flag: str, formats: Sequence[str]) -> dict[str, Any]:
    """A folder's fingerprint. Raises UserError if Metamon would find nothing in it."""
    if not root.is_dir():
        raise UserError(f"{flag} {root}: no such folder.")
    there = _formats_in(root)
    if not there:
        raise UserError(
            f"{flag} {root}: no trajectories. Metamon reads {root}/FORMAT/*.json.lz4 "
            f"and {root}/FORMAT{ARCHIVE}, e.g. {root}/gen1ou/."
        )
    used = sorted(set(formats or catalog.battle_formats()) & set(there))
    if not used:
        _refuse_unknown(formats, there, f"{flag} {root}")
        raise UserError(
            f"{flag} {root}: it has {', '.join(there)}, which Metamon does not take by default. "
            f"Name them: --formats {' '.join(there)}."
        )
    digest, count, readable = hashlib.sha256(), 0, False
    for name, size in _files(root, used):
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        count += 1
        readable = readable or _is_read(name)
    if not readable:
        raise UserError(
            f"{flag} {root}: Metamon drops every one of its {count:,} files for {', '.join(used)}, "
            f"because of their names. Run metamon-ext audit {root}."
        )
    fingerprint = {"files": count, "sha256": digest.hexdigest()}
    return {"path": str(root.resolve()), "formats": used, **fingerprint}


def _formats_in(root: Path) -> list[str]:
    """The formats that a folder has files of: folders with a trajectory in them, and archives."""
    formats = set()
    for path in root.iterdir():
        if path.is_dir() and any(trajectory_files(path)):
            formats.add(path.name)
        elif path.suffix == ARCHIVE and not path.name.startswith("."):
            formats.add(path.stem)
    return sorted(formats)


def _files(root: Path, formats: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The files of these formats by their names below the root, with their sizes, in order."""
    for name in formats:
        archive = root / f"{name}{ARCHIVE}"
        for path in [archive] if archive.is_file() else trajectory_files(root / name):
            yield str(path.relative_to(root)), os.stat(path).st_size


def _is_read(name: str) -> bool:
    """Whether Metamon's loader takes a file of this name."""
    if not name.endswith(EXTENSIONS):
        return True  # an archive
    try:
        TrajectoryName.parse(Path(name).name)
    except TrajectoryError:
        return False
    return True


def _hub(kind: str, subset: str, formats: Sequence[str]) -> dict[str, Any]:
    """Data of Metamon's, with the versions in its cache, of which Metamon keeps account."""
    file = Path(os.environ.get("METAMON_CACHE_DIR", ""), "version_reference.json")
    try:
        versions = dict(orjson.loads(file.read_bytes())[kind])
    except (OSError, ValueError, KeyError, TypeError):
        versions = {}
    here = {name: version for name, version in versions.items() if name.startswith(subset)}
    return {"formats": list(formats), "versions": here}


def _refuse_unknown(wanted: Sequence[str], there: Sequence[str], where: str) -> None:
    for name in wanted:
        if name not in there:
            hint = did_you_mean(name, list(there))
            raise UserError(f"No format {name!r} in {where}.{hint} It has {', '.join(there)}.")


def _refuse_other_number(
    flag: str, weights: Sequence[float], of: str, things: Sequence[str]
) -> None:
    if len(weights) != len(things):
        raise UserError(
            f"{flag} has {len(weights)} numbers and {of} has {len(things)}. Give one for each."
        )
