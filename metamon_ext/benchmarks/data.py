"""Sampling from a cache against reading files, side by side."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamon_ext.arena.tracking.tracker import has_metamon
from metamon_ext.data.cache.arrays import INDEX, INDEX_FILE, NAMES, ROWS, Cache, Header
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.comparison import Comparison
from metamon_ext.data.cache.filter import CacheFilter
from metamon_ext.data.cache.source import CHECKED, check_removed, scan
from metamon_ext.errors import UserError
from metamon_ext.settings import check_at_least, default_workers
from metamon_ext.training.lite.config import OBS_SPACE, REWARD_FUNCTION
from metamon_ext.workflows.featurizers import featurizer_class

SECONDS = 2.0
"""How long each side samples in a round."""
H100_SAMPLES_PER_SECOND = 152
"""Slices that a model of 200 M parameters was reported to take on one H100."""
LAZY = 4_000_000


@dataclass(frozen=True, kw_only=True)
class DataBenchmarkConfig:
    """Settings of `benchmark_data`.

    Attributes:
        cache: a cache of the folder, if there is one; default: one is built.
        obs_space: default: TeamPreviewObservationSpace with Metamon.
        reward_function: default: DefaultShapedReward with Metamon.
        files: how many are used to measure building.
        rounds: the two are measured in turn.
        comprehensive: open an index of 4,000,000 trajectories as well.
    """

    cache: Path | None = None
    obs_space: str | None = None
    reward_function: str | None = None
    files: int = 1000
    rounds: int = 3
    comprehensive: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, files=self.files, rounds=self.rounds)


def benchmark_data(path: Path | None, config: DataBenchmarkConfig) -> dict[str, Any]:
    """Sampling from a cache against Metamon's data set or, without Metamon, a plain loader.

    Each figure is the median of the rounds by ratio; both sides use one core.

    Args:
        path: a folder of trajectories. None: battles are played.
    """
    kind = "metamon" if has_metamon() else "lite"
    spaces = {
        "metamon": ("TeamPreviewObservationSpace", "DefaultShapedReward"),
        "lite": (OBS_SPACE, REWARD_FUNCTION),
    }[kind]
    names = (config.obs_space or spaces[0], config.reward_function or spaces[1])
    with tempfile.TemporaryDirectory(prefix="metamon-ext-") as folder:
        answer = measure(path, config, kind, names, Path(folder))
        if config.comprehensive:
            answer["lazy_start"] = lazy_start(Path(folder) / "lazy", LAZY)
    return answer


def measure(
    path: Path | None,
    config: DataBenchmarkConfig,
    kind: str,
    names: tuple[str, str],
    place: Path,
) -> dict[str, Any]:
    """The figures. `place` is an empty folder."""
    source = path or _play(place / "battles")
    featurizer = featurizer_class(kind).named(*names)
    folder = config.cache or place / "all.mmap"
    if config.cache is None:
        report = build(source, folder, featurizer, default_workers(), show_progress=True)
        if not report.trajectories:
            raise UserError(f"{source}: no trajectory in it or below that is fit to be cached")
    cache = Cache(folder)
    if not all(cache.path(i).is_file() for i in range(len(cache))):
        raise UserError(f"{folder}: of archives: unpack them for this, as files are measured too")
    contest = compare(kind, folder)
    some = place / "some" / "files"
    some.mkdir(parents=True)
    files = [cache.path(i) for i in _evenly(len(cache), config.files)]
    for file in files:
        (some / file.name).symlink_to(file)

    sampling, batches, building = _rounds(contest, featurizer, files, some, config.rounds, place)
    steps, their_steps = _median(sampling)
    samples, their_samples = _median(batches)
    built_rate, read_rate = _median(building)
    theirs = contest.theirs
    compressed = int(cache.index["size"].sum(dtype=np.int64))
    on_disk = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "compared_with": theirs,
        "obs_space": names[0],
        "trajectories": len(cache),
        "steps": len(cache.rows) - len(cache) if kind == "metamon" else len(cache.rows),
        "steps_per_second": round(steps),
        f"{theirs}_steps_per_second": round(their_steps),
        f"ratio_to_{theirs}": round(steps / their_steps, 1),
        "ratios": [round(ours / other, 1) for ours, other in sampling],
        "samples_per_second": round(samples),
        f"{theirs}_samples_per_second": round(their_samples),
        f"sample_ratio_to_{theirs}": round(samples / their_samples, 1),
        "h100s_fed_by_one_core": round(samples / H100_SAMPLES_PER_SECOND, 1),
        f"h100s_fed_by_one_core_{theirs}": round(their_samples / H100_SAMPLES_PER_SECOND, 2),
        "files_built_per_second": round(built_rate, 1),
        f"{theirs}_files_read_per_second": round(read_rate, 1),
        f"build_ratio_to_{theirs}": round(built_rate / read_rate, 2),
        "megabytes": round(on_disk / 2**20, 1),
        "compressed_json_megabytes": round(compressed / 2**20, 1),
        "size_ratio_to_compressed_json": round(on_disk / compressed, 2),
        "microseconds": {name: _microseconds(part) for name, part in contest.parts.items()},
    }


def _rounds(
    contest: Comparison,
    featurizer: Any,
    files: Sequence[Path],
    source: Path,
    rounds: int,
    place: Path,
) -> tuple[list[tuple[float, float]], ...]:
    """Rates of ours and theirs in turn, round by round: drawing, batches, and building a cache of
    the files, which `source` links, against reading them."""
    sampling, batches, building = [], [], []
    for n in range(rounds):
        random.seed(n)
        sampling.append((_rate(contest.trajectory), _rate(contest.their_trajectory)))
        batches.append((_rate(contest.batch), _rate(contest.their_batch)))
        began = time.perf_counter()
        build(source, place / f"{n}.mmap", featurizer, keep_cut_off=True)
        built = time.perf_counter()
        for file in files:
            contest.read(file)
        building.append((len(files) / (built - began), len(files) / (time.perf_counter() - built)))
    return sampling, batches, building


def lazy_start(folder: Path, trajectories: int) -> dict[str, Any]:
    """Seconds and resident megabytes of a fresh process that opens an index of so many records.

    The records are made up, the rows are a hole in a file, the folders of the source are real.
    """
    source = folder / "source"
    formats = [f"gen{n}ou" for n in range(1, 10)]
    for name in formats:
        (source / name).mkdir(parents=True)
    chance = np.random.default_rng(0)
    index = np.zeros(trajectories, INDEX)
    index["path"] = chance.integers(2**63, size=trajectories)
    index["rows"] = chance.integers(20, 120, trajectories)
    index["folder"] = index["format"] = chance.integers(len(formats), size=trajectories)
    index["rating"] = chance.integers(1000, 2000, trajectories)
    index["name"] = 100
    rows = int(index["rows"].sum())
    header = Header(
        definition={},
        source=str(source),
        keep_cut_off=False,
        row=[["numbers", "<f4", [110]]],
        folders={name: (source / name).stat().st_mtime_ns for name in formats},
        formats=formats,
        trajectories=trajectories,
        rows=rows,
        names_bytes=100 * trajectories,
        index_checksum=zlib.crc32(index.tobytes()),
    )
    header.folders[""] = source.stat().st_mtime_ns
    (folder / INDEX_FILE).write_bytes(index.tobytes())
    for name, size in ((ROWS, rows * 440), (NAMES, header.names_bytes)):
        with open(folder / name, "wb") as file:
            file.truncate(size)
    header.write(folder)
    code = "from metamon_ext.benchmarks.data import open_and_tell as tell; tell({!r})"
    command = [sys.executable, "-c", code.format(str(folder))]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {"trajectories": trajectories, **answer}


def open_and_tell(folder: str) -> None:
    """Open a cache as for training, filter it, draw from it; print what that took."""
    began = time.perf_counter()
    cache = Cache(Path(folder))
    check_removed(cache, scan(Path(cache.header.source), cache.header.folders))
    for i in range(0, len(cache), -(-len(cache) // CHECKED)):
        cache.path(i)  # its time stamp would be asked for
    opened = time.perf_counter()
    chosen = CacheFilter(min_rating=1500, formats=("gen1ou",)).select(cache)
    filtered = time.perf_counter()
    for i in random.choices(chosen, k=1000):
        assert not cache[i]["numbers"].any()
    # of this program alone; ru_maxrss begins with that of the process that started it (Linux)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    answer = {
        "seconds_to_open": round(opened - began, 2),
        "seconds_to_filter": round(filtered - opened, 2),
        "peak_memory_mb": round(int(status["VmHWM"].split()[0]) / 1024),
    }
    print(json.dumps(answer))


def _play(folder: Path) -> Path:
    """Battles of the arena's own players. Raises UserError where they cannot be played."""
    words = ["--p1", "simple_heuristics", "--p2", "simple_heuristics", "--battles", "150"]
    command = [sys.executable, "-m", "metamon_ext", "play", *words]
    done = subprocess.run([*command, "--save_trajectories_to", folder], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise UserError("no battles could be played to measure with: give a folder of some")
    return folder


def compare(kind: str, folder: Path) -> Comparison:
    """A cache against its files, for the learner of this kind."""
    if kind == "metamon":
        from metamon_ext.upstream.benchmark_data import comparison
    else:
        from metamon_ext.benchmarks.lite_data import comparison
    return comparison(folder)


def _evenly(size: int, wanted: int) -> Sequence[int]:
    places = np.unique(np.linspace(0, size - 1, min(size, wanted)).astype(np.int64))
    return [int(place) for place in places]


def _rate(draw: Callable[[], int]) -> float:
    """What it yields a second."""
    draw()
    total, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SECONDS:
        total += draw()
    return total / took


def _microseconds(part: Callable[[], object]) -> float:
    return round(1e6 / _rate(lambda: (part(), 1)[1]), 1)


def _median(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """The round whose ratio is the median one."""
    return sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
