"""Checkpoints by name: every checkpoint of a training run as a model in Metamon's registry.

`{save_dir}/{run}/ckpts/policy_weights/policy_epoch_{k}.pt` is called `{run}_Epoch{k}`. How to build
the network around the weights is read from `metamon_ext.json` in the run's folder, which
`metamon-ext finetune` writes, or, for runs that were trained otherwise, from a file
`metamon_ext_models.yaml` in the working directory (or the one that METAMON_EXT_MODELS names):

    save_dirs: [runs]          # folders of runs, relative to this file; the default
    runs:
      my_run:
        base_model: Minikazam  # what the run was finetuned from; the rest comes from there
        reward_function: BinaryReward
      other_run:               # without a base model, all of these
        model_gin_config: small_rnn.gin
        train_gin_config: binary_rl.gin
        reward_function: DefaultShapedReward
        observation_space: DefaultObservationSpace
        action_space: DefaultActionSpace
        tokenizer: DefaultObservationSpace-v1
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import metamon
import orjson
import yaml
from metamon.interface import get_action_space, get_observation_space
from metamon.rl.pretrained import (
    ALL_PRETRAINED_MODELS,
    LocalPretrainedModel,
    PretrainedModel,
    get_pretrained_model,
    pretrained_model,
)
from metamon.tokenizer import get_tokenizer

from metamon_ext.errors import UserError, in_one_line
from metamon_ext.upstream.gin_files import find_gin_file
from metamon_ext.upstream.register import make_reward, register_spaces

RECORD = "metamon_ext.json"
"""In a run's folder: how it was trained. An object with `FIELDS`, any of which may be null."""
FIELDS = (
    "base_model",
    "model_gin_config",
    "train_gin_config",
    "reward_function",
    "observation_space",
    "action_space",
    "tokenizer",
    "battle_backend",
)
OPTIONAL = {"base_model", "battle_backend"}
"""What a run without a base model need not say."""


@dataclass(frozen=True)
class Run:
    """A training run: its folder, and what is recorded of how it was trained."""

    folder: Path
    record: Mapping[str, Any] | None

    @property
    def epochs(self) -> list[int]:
        """The epochs of its checkpoints, ascending."""
        names = [path.name for path in (self.folder / "ckpts" / "policy_weights").glob("*.pt")]
        found = [re.fullmatch(r"policy_epoch_(\d+)\.pt", name) for name in names]
        return sorted(int(match[1]) for match in found if match)


def read_runs() -> dict[str, Run]:
    """The runs of all `save_dirs` by name. Raises UserError for two of one name, or a bad file."""
    named = os.environ.get("METAMON_EXT_MODELS")
    file = Path(named or "metamon_ext_models.yaml")
    if named and not file.is_file():
        raise UserError(f"{file} is not there: METAMON_EXT_MODELS must name a YAML file")
    try:
        content = (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}
        save_dirs = [file.parent / folder for folder in content.get("save_dirs", ["runs"])]
        given = {str(run): dict(entry) for run, entry in content.get("runs", {}).items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise UserError(
            f"{file} is not a table of models: see metamon_ext.upstream.models"
        ) from None
    runs: dict[str, Run] = {}
    for weights in sorted(w for d in save_dirs for w in d.glob("*/ckpts/policy_weights")):
        folder = weights.parents[1]
        if folder.name in runs:
            raise UserError(
                f"two runs are called {folder.name}: {runs[folder.name].folder} and {folder}; "
                "rename one of them"
            )
        runs[folder.name] = Run(folder, given.get(folder.name) or _read_record(folder / RECORD))
    if lost := sorted(set(given) - set(runs)):
        looked = ", ".join(map(str, save_dirs))
        raise UserError(f"{file} tells of {lost[0]}, which has no checkpoints in {looked}")
    for name, entry in given.items():
        if unknown := sorted(set(entry) - set(FIELDS)):
            raise UserError(f"{file}: {name} has no field {unknown[0]}: use {', '.join(FIELDS)}")
    return runs


def _read_record(file: Path) -> Mapping[str, Any] | None:
    try:
        return dict(orjson.loads(file.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise UserError(f"{file} is not a record of a run: remove it or write it again") from None


def register_checkpoints() -> list[str]:
    """Make every checkpoint of every recorded run a name in `metamon.rl.pretrained`.

    Returns the names. Nothing is built or loaded; a checkpoint that is known already stays.
    """
    register_spaces()
    names = []
    for name, run in read_runs().items():
        if run.record and set("?:") & set(name):
            raise UserError(f"{run.folder}: a policy's name cannot hold '?' or ':'; rename the run")
        for epoch in run.epochs if run.record else []:
            names.append(f"{name}_Epoch{epoch}")
            known = ALL_PRETRAINED_MODELS.get(names[-1])
            if known is None:
                pretrained_model(names[-1])(_model_class(run, epoch))
            elif getattr(known, "folder", None) != run.folder.resolve():
                raise UserError(
                    f"{names[-1]} in {run.folder} is the name of another model: rename the run"
                )
    return names


def find_model(name: str) -> PretrainedModel:
    """The model of this name, ours or Metamon's. Raises UserError that says what is missing."""
    register_checkpoints()
    if name in ALL_PRETRAINED_MODELS:
        return get_pretrained_model(name)
    run_name, _, epoch = name.rpartition("_Epoch")
    run = read_runs().get(run_name)
    if run is None:
        raise UserError(
            f"nothing is called {name!r}: metamon-ext models lists the baselines, models and "
            "checkpoints that are known here"
        )
    if not run.record:
        raise UserError(
            f"{name}: nothing says how {run.folder} was trained; it lacks {RECORD}, "
            "and metamon_ext_models.yaml has no entry for it"
        )
    raise UserError(
        f"{run.folder} has no policy_epoch_{epoch}.pt, "
        f"only epochs {', '.join(map(str, run.epochs))}"
    )


def _model_class(run: Run, epoch: int) -> type[LocalPretrainedModel]:
    class Checkpoint(LocalPretrainedModel):
        """A checkpoint of a run of yours."""

        folder = run.folder.resolve()

        def __init__(self) -> None:
            super().__init__(
                amago_ckpt_dir=str(self.folder.parent),
                model_name=run.folder.name,
                default_checkpoint=epoch,
                **model_parts(run),
            )

    return Checkpoint


def model_parts(run: Run) -> dict[str, Any]:
    """The arguments of `PretrainedModel` that a run's record and its base model give.

    Raises UserError for what the record lacks, or names and nobody knows.
    """
    record = {name: value for name, value in (run.record or {}).items() if value is not None}
    base = find_model(record["base_model"]) if "base_model" in record else None
    if base is None and (missing := [f for f in FIELDS if f not in record and f not in OPTIONAL]):
        raise UserError(f"the record of {run.folder} lacks {', '.join(missing)}")
    parts: dict[str, Any] = {"battle_backend": "metamon"}
    makers: dict[str, Callable[[str], Any]] = {
        "observation_space": get_observation_space,
        "action_space": get_action_space,
        "tokenizer": get_tokenizer,
        "model_gin_config": partial(_gin_path, metamon.rl.MODEL_CONFIG_DIR),
        "train_gin_config": partial(_gin_path, metamon.rl.TRAINING_CONFIG_DIR),
        "reward_function": lambda name: make_reward(name, parts["train_gin_config"]),
        "battle_backend": str,
    }
    if base is not None:
        parts = {
            name: getattr(base, f"{name}_path" if name.endswith("_gin_config") else name)
            for name in makers
        }
        parts["observation_space"] = base.observation_space.base_obs_space
    for name, make in makers.items():
        if name in record:
            try:
                parts[name] = make(record[name])
            except (KeyError, ValueError):
                raise UserError(
                    f"{run.folder} was trained with the {name} {record[name]}, which is not here"
                ) from None
    overrides = dict(base.gin_overrides or {}) if base is not None else {}
    overrides["MetamonPerceiverTstepEncoder.tokenizer"] = parts["tokenizer"]
    return parts | {"gin_overrides": overrides}


def _gin_path(metamons: str, name: str) -> str:
    """A gin file given by its path, by its name in Metamon's folder, or by that of one of ours."""
    for path in (Path(name), Path(metamons, name)):
        if path.is_file():
            return str(path.resolve())
    try:
        return str(find_gin_file(name))
    except UserError:
        raise ValueError(name) from None


def checkpoint_file(name: str, model: PretrainedModel, epoch: int) -> Path:
    """The weights of a model, fetched where they are not here yet. Raises UserError if there is
    no getting them.
    """
    try:
        path = Path(model.get_path_to_checkpoint(epoch))
    except Exception as error:  # no internet, or no such file on the hub
        what = f"checkpoint {epoch} of {name} cannot be fetched"
        raise UserError(f"{what}: {in_one_line(error)}") from error
    if not path.is_file():
        raise UserError(f"checkpoint {epoch} of {name}: {path} is not there")
    return path
