"""Everything that can be checked of a finetuning run before Metamon is loaded."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.files import file_sha256
from metamon_ext.upstream import catalog
from metamon_ext.upstream.checkpoints import Checkpoint, find_checkpoint
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.gin_files import find_model_file, find_training_file, read_gin_file
from metamon_ext.upstream.runs import GIN_FILES, Run
from metamon_ext.upstream.training_data import describe_data

GB = 1e9
STATE_SIZE = 3
"""Times the weights: AMAGO's state has the weights and AdamW's two moments."""
STATES_AT_ONCE = 2
"""The old one is removed when the new one is complete."""
TRAINING = ("steps_per_epoch", "batch_size_per_gpu", "grad_accum", "seed")


@dataclass(frozen=True)
class Plan:
    """A checked run: what it starts from, and `settings`, which are all that its result depends on
    but for chance."""

    config: FinetuneConfig
    base: Checkpoint
    base_weights: Path
    settings: dict[str, Any]

    @property
    def run(self) -> Run:
        """The run that the command would make or resume."""
        return Run(self.config.folder)

    @property
    def parts(self) -> dict[str, Any]:
        """What the model is built from, by name."""
        return {part: self.settings[part] for part in catalog.PARTS}

    def table(self) -> str:
        """The settings for people."""
        config, data = self.config, self.settings["data"]
        rows = {
            "run": config.folder,
            "base": f"{self.base.name}, checkpoint {self.base.epoch}",
            "reward function": self.settings["reward_function"],
            "training": self.settings["train_gin_config"],
            "model": self.settings["model_gin_config"],
            "observation space": self.settings["observation_space"],
            "action space": self.settings["action_space"],
            "tokenizer": self.settings["tokenizer"],
            "battle backend": self.settings["battle_backend"],
            "length": f"{config.epochs} epochs of {config.steps_per_epoch:,} steps, "
            f"{config.batch_size_per_gpu} x {config.grad_accum} sequences a step and GPU",
        }
        rows |= {name: _in_words(source) for name, source in data["sources"].items()}
        return "\n".join(f"  {name:<19} {value}" for name, value in rows.items())


def _in_words(source: dict[str, Any]) -> str:
    counts = {"files": "files", "trajectories": "trajectories"}
    size = next((f"{source[key]:,} {word}, " for key, word in counts.items() if key in source), "")
    formats = ", ".join(source.get("formats", ()))
    where = source.get("path", f"Metamon's, {formats}")
    return f"{size}weight {source['weight']:g}, {where}"


def make_plan(config: FinetuneConfig) -> Plan:
    """Check a run. Raises UserError for the first thing that is wrong."""
    base, parts, texts = check_model(config)
    data = describe_data(config, parts)
    refuse_unwritable(config.folder)
    weights = base.weights()
    settings = {
        "base_model": base.name,
        "base_checkpoint": base.epoch,
        "base_sha256": file_sha256(weights),
        "released_model": released_model(base),
        **parts,
        "gin": texts,
        "data": data,
        "training": {key: getattr(config, key) for key in TRAINING}
        | {"processes": int(os.environ.get("WORLD_SIZE", "1"))},
    }
    plan = Plan(config, base, weights, settings)
    refuse_full_disk(plan)
    return plan


def check_model(config: FinetuneConfig) -> tuple[Checkpoint, dict[str, Any], dict[str, str]]:
    """Check what a run trains, but not its data, weights and folder.

    Returns:
        What it starts from, what the model is built from, and the texts of its gin files.

    Raises UserError for what is unknown or does not fit.
    """
    base = find_checkpoint(config.finetune_from_model, config.finetune_from_checkpoint)
    parts = dict(base.parts)
    if config.reward_function is not None:
        refuse_unknown_reward(config.reward_function)
        parts["reward_function"] = config.reward_function
    texts = {part: gin_text(base, part) for part in GIN_FILES}
    if config.train_gin_config is not None:
        file = find_training_file(config.train_gin_config)
        parts["train_gin_config"] = str(file)
        before, texts["train_gin_config"] = texts["train_gin_config"], read_gin_file(file)
        refuse_other_discounts(base.name, before, texts["train_gin_config"])
    return base, parts, texts


def refuse_unknown_reward(name: str) -> None:
    """Raise UserError for a reward function that is neither ours nor Metamon's."""
    known = catalog.reward_functions()
    if name not in known:
        hint = did_you_mean(name, known)
        raise UserError(f"Unknown reward function {name!r}.{hint} Known: {', '.join(known)}.")


def released_model(base: Checkpoint) -> str | None:
    """The model of Metamon's that a chain of finetuning began with, None if there is none."""
    if isinstance(base.source, Run):
        return base.source.record(base.epoch).get("released_model")
    return base.source.name


def gin_text(base: Checkpoint, part: str) -> str:
    """The text of one of the base model's gin files."""
    if isinstance(base.source, Run):
        return base.source.record(base.epoch)["gin"][part]
    find = find_model_file if part == "model_gin_config" else find_training_file
    return read_gin_file(find(base.parts[part]))


def refuse_other_discounts(base: str, before: str, after: str) -> None:
    """Raise UserError if one training config has critics for a single discount and the other for
    several: their weights have other shapes. `before`: the text of the base model's config."""
    if _one_discount(before) != _one_discount(after):
        raise UserError(
            f"{base} does not fit the training config: one of the two has critics for several "
            "discounts, the other for a single one (use_multigamma = False, as Metamon's il.gin). "
            "Choose another --train_gin_config or base model."
        )


def _one_discount(training: str) -> bool:
    return re.search(r"use_multigamma\s*=\s*False", training) is not None


def refuse_unwritable(folder: Path) -> None:
    """Raise UserError if the folder cannot be made, or nothing can be written in it."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not nearest.is_dir():
        raise UserError(f"Cannot write {folder}: {nearest} is a file. Name another --save_dir.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"Cannot write {nearest}: permission denied. Name another --save_dir.")


def refuse_full_disk(plan: Plan) -> None:
    """Raise UserError if the checkpoints that the run has yet to write do not fit on the disk."""
    config, size = plan.config, plan.base_weights.stat().st_size
    training = plan.settings["gin"]["train_gin_config"]
    if re.search(r"@metamon_ext\.(kl_regularized|damped|extraction)_agent", training):
        size *= 2  # the reference policy
    there = [] if config.overwrite else plan.run.epochs
    done = sum(config.is_saved(epoch) for epoch in there if epoch < config.epochs)
    missing = config.checkpoints - done
    needed = size * (missing + STATE_SIZE * STATES_AT_ONCE) if missing else 0
    nearest = next(
        one for one in (config.folder, *config.folder.absolute().parents) if one.exists()
    )
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise UserError(
            f"Not enough disk space for {missing} checkpoints in {config.folder}: about "
            f"{needed / GB:.2g} GB are needed and {free / GB:.2g} GB free. Make room, or write "
            "fewer with --ckpt_interval."
        )
