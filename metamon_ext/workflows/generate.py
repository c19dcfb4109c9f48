"""Generate self-play battles to learn from, and record where each of them came from."""

from __future__ import annotations

import importlib.metadata
import platform
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metamon_ext.about import __version__
from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.config import RunConfig
from metamon_ext.arena.executors.protocol import Executor, Recording, find_executor
from metamon_ext.arena.play import play_missing
from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec, Player, battle, derive
from metamon_ext.arena.store import ResultStore
from metamon_ext.data.trajectory import MANIFEST, RESULTS
from metamon_ext.errors import RunStopped, UserError, cannot_write
from metamon_ext.files import write_json

PACKAGES = ("metamon", "amago", "poke-env", "torch")

Draw = Callable[[int], tuple[str, str]]
"""The number of a battle -> who plays it."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(RunConfig):
    """Settings of `generate`, beside those of every workflow that keeps battles.

    Attributes:
        output_dir: gets `{format}/` folders of trajectories, the results and a manifest.
        num_battles: won or lost ones; ties come on top.
        model: a policy that takes one seat of every battle. None: opponents play each other.
        opponents: policy -> weight, in whose proportion opponents are drawn. Empty: the model.
        parallel_instances: battles at the same time, shared by the workers.
        temperature: of the models; heuristics have none.
    """

    output_dir: Path
    num_battles: int
    model: str | None = None
    opponents: Mapping[str, float] = field(default_factory=dict)
    parallel_instances: int = 32
    temperature: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model and not self.opponents:
            raise UserError("Missing players: pass --model or --population.")


@dataclass(frozen=True)
class GenerateResult:
    """`rows`: all battles of the folder. `manifest`: the content of `manifest.json`."""

    rows: list[BattleRow]
    manifest: dict[str, Any]


def generate(config: GenerateConfig) -> GenerateResult:
    """Play until the folder holds the wanted battles; battles that are there are kept.

    Raises UserError for bad input, RunStopped where the run cannot go on. What was played until
    then is kept, and the manifest describes it.
    """
    weights = dict(config.opponents) or {str(config.model): 1.0}
    names = dict.fromkeys([config.model or next(iter(weights)), *weights])
    make_executor = find_executor(config.executor)
    players = config.players(names, config.temperature)
    conditions = config.conditions()
    settings = settings_of(config, weights, players, conditions)
    draw = drawer(config.model, weights, config.seed)

    def spec_of(number: int) -> BattleSpec:
        first, second = draw(number)
        return battle(players[first], players[second], number, 0, conditions, config.seed)

    with ResultStore(config.output_dir / RESULTS) as store:
        store.require_settings(settings)
        store.register(players.values())
        _require_fewer(store, config.num_battles)
        workers = min(config.workers, config.parallel_instances)
        at_once = -(-config.parallel_instances // workers)
        recording = Recording(config.output_dir, store.created)
        stopped: UserError | None = None
        try:
            with make_executor(
                workers=workers, recording=recording, battles_at_once=at_once
            ) as executor:
                play_decided(config.num_battles, spec_of, executor, store)
        except RunStopped as error:
            stopped = error
        rows = store.rows()
        about = manifest(rows, store, settings, conditions)
        try:
            write_json(config.output_dir / MANIFEST, about)
        except OSError as error:
            stopped = stopped or cannot_write(config.output_dir, error)
    if stopped:
        raise stopped
    return GenerateResult(rows, about)


def settings_of(
    config: GenerateConfig,
    weights: Mapping[str, float],
    players: Mapping[str, Player],
    conditions: Conditions,
) -> dict[str, Any]:
    """What must be the same for a dataset to be continued."""
    settings = {name: getattr(config, name) for name in ("battle_format", "seed", "turn_limit")}
    return settings | {
        "model": config.model,
        "opponents": weights,
        "teams": conditions.teams_id,
        "policies": {name: player.fingerprint for name, player in players.items()},
    }


def drawer(model: str | None, weights: Mapping[str, float], seed: int) -> Draw:
    """The model against opponents in the proportion of their weights, in either seat in turn;
    without a model two of these, drawn one by one."""
    names = list(weights)

    def draw(number: int) -> tuple[str, str]:
        rng = random.Random(derive(seed, "players", number))
        first, second = rng.choices(names, list(weights.values()), k=2)
        pair = (model or first, second)
        return pair if number % 2 == 0 else (pair[1], pair[0])

    return draw


def play_decided(
    wanted: int, spec_of: Callable[[int], BattleSpec], executor: Executor, store: ResultStore
) -> None:
    """Play until exactly so many battles are won or lost, as the files can hold no others.

    For each one tied or over the turn limit another is played. A failed one is not replaced: it is
    to be played again. Raises RunStopped if hardly any battle is decided.
    """
    known = store.resume()
    specs: list[BattleSpec] = []
    while (lacking := wanted - sum(not _is_void(known[spec.key]) for spec in specs)) > 0:
        if len(specs) > 4 * wanted + 100:
            raise RunStopped(f"{wanted - lacking} of {len(specs)} battles were won or lost: enough")
        specs += [spec_of(i) for i in range(len(specs), len(specs) + lacking)]
        play_missing(specs, executor, store, known, "battles")


def _require_fewer(store: ResultStore, wanted: int) -> None:
    """Raise UserError if a dataset has more battles than are wanted."""
    if (held := sum(not _is_void(row) for row in store.resume().values())) > wanted:
        raise UserError(f"{store.path} holds {held} battles: ask for at least as many")


def _is_void(row: BattleRow) -> bool:
    """Neither won nor lost, and never will be."""
    return row.score in (0.5, None) and not row.failed


def manifest(
    rows: list[BattleRow],
    store: ResultStore,
    settings: Mapping[str, Any],
    conditions: Conditions,
) -> dict[str, Any]:
    """Who made this data, from what, and how it went: enough to trace it, or to make it again."""
    scores = Counter(row.score for row in rows)
    decided = scores[1.0] + scores[0.0]
    unfinished = Counter((row.reason, row.failed) for row in rows if row.score is None)
    versions = {"python": platform.python_version(), "metamon_ext": __version__}
    versions["pokemon-showdown"] = conditions.simulator
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "created": f"{store.created.isoformat()}Z",
        "battles": decided,
        "trajectories": 2 * decided,
        "ties": scores[0.5],
        "unfinished": scores[None],
        "unfinished_reasons": [
            {"reason": reason, "failed": failed, "battles": count}
            for (reason, failed), count in unfinished.items()
        ],
        "decisions": sum(row.a_decisions + row.b_decisions for row in rows),
        "invalid_decisions": sum(row.a_invalid + row.b_invalid for row in rows),
        "settings": settings,
        "team_set": conditions.team_set,
        "team_files": sorted({team for row in rows for team in (row.team_a, row.team_b)}),
        "players": store.players(),
        "versions": versions,
    }
