"""Metamon's finetuning as a `Trainer`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy_ref import PolicyRef, check_checkpoint_options
from metamon_ext.data.cache.filter import names_cache
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.upstream.catalog import require_metamon
from metamon_ext.upstream.commands import require_finetune_from_hf
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.preflight import check_model, make_plan
from metamon_ext.upstream.run_folder import LOG, refuse_other_settings
from metamon_ext.upstream.runs import Run
from metamon_ext.upstream.seats import MetamonModel


class MetamonTrainer:
    """Runs `metamon-ext finetune` in a process of its own: Metamon and AMAGO keep global state."""

    def check(
        self,
        start: PolicyRef | None,
        config: FinetuneConfig | None,
        options: Sequence[Mapping[str, str]],
    ) -> None:
        """Check the model, the gin file and the options of checkpoints: see `Trainer`."""
        require_metamon()
        require_finetune_from_hf()
        config = _config(Path(), start, config, Path("run"))
        base, _, texts = check_model(config)

        def check(**given: str) -> None:
            MetamonModel.check(base.name, **given)
            if float(given.get("beta", 0)):
                from metamon_ext.learning.extraction import critic_index
                from metamon_ext.upstream.extraction import planned_discounts

                gamma = float(given["gamma"]) if "gamma" in given else None
                critic_index(planned_discounts(*texts.values()), gamma)

        for given in options:
            check_checkpoint_options(MetamonModel, given, check)

    def train(
        self,
        dataset: str | Path,
        start: PolicyRef | None,
        config: FinetuneConfig | None,
        output_dir: Path,
    ) -> list[PolicyRef]:
        """Finetune a Metamon model on a folder of trajectories or a cache: see `Trainer`."""
        config = _config(dataset, start, config, output_dir)
        plan = make_plan(config)  # bad input is reported here, by an exception
        refuse_other_settings(plan.run, plan.settings)
        command = [sys.executable, "-m", "metamon_ext", "finetune", *flags(config)]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise RunStopped(
                f"Training in {output_dir} stopped. The reason is printed above; {plan.run.folder}/"
                f"{LOG} says more. The same call resumes it."
            )
        folder = str(output_dir)
        return [
            PolicyRef(
                f"{folder}?checkpoint={epoch}",
                MetamonModel,
                {"model": folder, "checkpoint": str(epoch)},
            )
            for epoch in Run(output_dir).epochs
        ]


def _config(
    dataset: str | Path, start: PolicyRef | None, config: FinetuneConfig | None, output_dir: Path
) -> FinetuneConfig:
    """The config with the data, start and folder of a call."""
    if start is None and config is None:
        raise UserError("No model to start from. Give a start, or a FinetuneConfig that names one.")
    base = start or PolicyRef.resolve(config.finetune_from_model)  # type: ignore[union-attr]
    if base.factory is not MetamonModel:
        raise UserError(
            f"Metamon cannot start from {base.name!r}. Name a model of Metamon's or a checkpoint "
            "of a finetuning run. Run metamon-ext models for the full list."
        )
    changes: dict[str, Any] = {"run_name": output_dir.name, "save_dir": output_dir.parent}
    if start is not None:
        epoch = start.options.get("checkpoint")
        changes["finetune_from_model"] = start.options["model"]
        changes["finetune_from_checkpoint"] = None if epoch is None else int(epoch)
    is_cache = names_cache(dataset)
    changes |= {
        "parsed_replay_dir": None,
        "replay_weight": 0.0,
        "self_play_subsets": None,
        "self_play_weights": None,
        "custom_replay_dir": None if is_cache else Path(dataset),
        "custom_replay_weight": 1.0,
        "cached": (str(dataset),) if is_cache else None,
        "cached_weights": None,
    }
    return replace(config, **changes) if config else FinetuneConfig(**changes)


def flags(config: FinetuneConfig) -> list[str]:
    """The words on the command line that ask for a config."""
    return [word for field in fields(config) for word in _words(config, field)]


def _words(config: FinetuneConfig, field: Any) -> Iterator[str]:
    value = getattr(config, field.name)
    if value is None or value == field.default:
        return
    yield f"--{field.name}"
    if isinstance(value, list | tuple):
        yield from map(str, value)
    elif value is not True:
        yield str(value)
