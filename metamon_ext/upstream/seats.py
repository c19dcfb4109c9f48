"""Who of Metamon can sit in a seat of the arena, by name. Nothing here imports Metamon or torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metamon_ext.arena.policy import Policy
from metamon_ext.settings import check_beta
from metamon_ext.upstream import catalog
from metamon_ext.upstream.checkpoints import find_checkpoint
from metamon_ext.upstream.runs import adopt_command, read_runs, read_save_dirs

if TYPE_CHECKING:
    from metamon_ext.evaluation.offline import Predictor

BACKENDS = ("metamon", "pokeagent", "poke-env")
"""Metamon's `battle_backend`s."""


class MetamonModel:
    """Builds the policy that plays a Metamon model: see `metamon_ext.upstream.policy`."""

    def __new__(  # type: ignore[misc]
        cls,
        model: str,
        checkpoint: int | str | None = None,
        temperature: float | str = 1.0,
        battle_backend: str | None = None,
        beta: float | str = 0.0,
        gamma: float | str | None = None,
    ) -> Policy:
        from metamon_ext.upstream.policy import MetamonPolicy

        return MetamonPolicy(model, checkpoint, temperature, battle_backend, beta, gamma)

    @staticmethod
    def check(
        model: str,
        checkpoint: int | str | None = None,
        temperature: float | str = 1.0,
        battle_backend: str | None = None,
        beta: float | str = 0.0,
        gamma: float | str | None = None,
    ) -> None:
        """Raise UserError or ValueError for values that `MetamonPolicy` does not take."""
        if checkpoint is not None and not str(checkpoint).isdecimal():
            raise ValueError(f"checkpoint={checkpoint} is not the number of an epoch")
        check_beta(float(beta), float(temperature))
        if gamma is not None and not 0 <= float(gamma) <= 1:
            raise ValueError(f"gamma={gamma} is not a number from 0 to 1")
        if battle_backend not in (None, *BACKENDS):
            raise ValueError(f"battle_backend={battle_backend} is none of {', '.join(BACKENDS)}")
        find_checkpoint(model, None if checkpoint is None else int(checkpoint))

    @staticmethod
    def weights(model: str, checkpoint: int | str | None = None, **_: object) -> Path:
        """The file of the network, downloaded if it is not here yet."""
        return find_checkpoint(model, None if checkpoint is None else int(checkpoint)).weights()

    @staticmethod
    def predictor(model: str, checkpoint: int | str | None = None, **_: object) -> Predictor:
        """The network, for offline figures: see `evaluation.offline.Predictor`."""
        from metamon_ext.upstream.predictor import MetamonPredictor

        return MetamonPredictor(model, checkpoint)


class MetamonBaseline:
    """Builds the policy that plays one of Metamon's baselines."""

    def __new__(cls, baseline: str) -> Policy:  # type: ignore[misc]
        from metamon_ext.upstream.baselines import BaselinePolicy

        return BaselinePolicy(baseline)


def find_policy(name: str) -> tuple[Callable[..., Policy], dict[str, Any]]:
    """What builds the policy of this name, and with which options.

    Raises UserError for a name that is neither a baseline's nor a model's.
    """
    if name in catalog.baselines():
        return MetamonBaseline, {"baseline": name}
    catalog.require_metamon()
    return MetamonModel, {"model": name}


def describe(save_dir: Path | None) -> dict[str, Any]:
    """For `metamon-ext models`: names by kind, and the runs that have no record.

    Args:
        save_dir: where the runs are; None for the usual folders.

    Raises UserError where METAMON_CACHE_DIR is not set, without which no model can be imported.
    """
    catalog.require_metamon()
    save_dirs = [save_dir] if save_dir else read_save_dirs()
    usual = save_dirs == read_save_dirs()
    runs = read_runs(save_dirs)
    names = [
        f"{name}_Epoch{epoch}" if usual else f"{run.folder}?checkpoint={epoch}"
        for name, run in runs.items()
        for epoch in run.epochs
    ]
    return {
        "baselines": list(catalog.baselines()),
        "models": sorted(catalog.released_models()),
        "checkpoints": names,
        "save_dirs": [str(folder) for folder in save_dirs],
        "unrecorded_runs": {str(r.folder): adopt_command(r) for r in runs.values() if r.unrecorded},
    }
