"""Checkpoints of training runs as models of Metamon's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import amago
import torch
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
from metamon_ext.learning.weights import read_weights, renamed
from metamon_ext.upstream.checkpoints import Checkpoint, find_checkpoint
from metamon_ext.upstream.register import make_reward, register_spaces
from metamon_ext.upstream.runs import GIN_FILES, Run, read_runs


def register_checkpoints() -> list[str]:
    """Make every checkpoint of every run a name in `metamon.rl.pretrained`.

    Returns the names. Nothing is built or loaded; a checkpoint that is known already stays.
    """
    register_spaces()
    names = []
    for run_name, run in read_runs().items():
        if run.epochs and set("?:") & set(run_name):
            raise UserError(
                f"{run.folder}: a policy's name cannot hold '?' or ':'. Rename the run."
            )
        for epoch in run.epochs:
            name = f"{run_name}_Epoch{epoch}"
            names.append(name)
            known = ALL_PRETRAINED_MODELS.get(name)
            if known is None:
                pretrained_model(name)(_model_class(run, epoch))
            elif getattr(known, "folder", None) != run.folder.resolve():
                raise UserError(
                    f"{name} in {run.folder} is the name of another model. Rename the run."
                )
    return names


def find_model(name: str, epoch: int | None = None) -> PretrainedModel:
    """The model of this name, ours or Metamon's. Raises UserError that says what is missing."""
    return build_model(find_checkpoint(name, epoch))


def build_model(checkpoint: Checkpoint) -> PretrainedModel:
    """What Metamon builds a network around a checkpoint's weights with."""
    register_spaces()
    if isinstance(checkpoint.source, Run):
        return _model_class(checkpoint.source, checkpoint.epoch)()
    return get_pretrained_model(checkpoint.source.name)


def _model_class(run: Run, epoch: int) -> type[LocalPretrainedModel]:
    class RunCheckpoint(LocalPretrainedModel):
        """A checkpoint of a run of yours."""

        folder = run.folder.resolve()

        def __init__(self) -> None:
            record = run.record(epoch)
            gin_files = {part: run.gin_file(part, record) for part in GIN_FILES}
            super().__init__(
                amago_ckpt_dir=str(self.folder.parent),
                model_name=run.name,
                default_checkpoint=epoch,
                **model_arguments(record | gin_files, str(run.folder)),
            )

        def get_path_to_checkpoint(self, checkpoint: int) -> str:
            return str(find_checkpoint(str(run.folder), checkpoint).weights())

        def initialize_agent(
            self,
            checkpoint: int | None = None,
            log: bool = False,
            action_temperature: float = 1.0,
        ) -> amago.Experiment:
            """Metamon's, which loads no checkpoint of epoch 0."""
            epoch = self.default_checkpoint if checkpoint is None else checkpoint
            experiment = super().initialize_agent(epoch, log, action_temperature)
            if epoch == 0:
                path = self.get_path_to_checkpoint(0)
                experiment.load_checkpoint_from_path(path, is_accelerate_state=False)
            return experiment

    return RunCheckpoint


def model_arguments(parts: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """The arguments of `PretrainedModel` for parts that are given by name.

    Args:
        parts: the names in `catalog.PARTS`, and `released_model`, whose gin overrides are taken.
        whose: what to call the model if a part is unknown.

    Raises UserError for a name that is not known here.
    """
    makers: dict[str, Any] = {
        "observation_space": get_observation_space,
        "action_space": get_action_space,
        "tokenizer": get_tokenizer,
        "reward_function": lambda name: make_reward(name, parts["train_gin_config"]),
    }
    arguments = {key: parts[key] for key in ("battle_backend", *GIN_FILES)}
    for part, make in makers.items():
        try:
            arguments[part] = make(parts[part])
        except (KeyError, ValueError):
            raise UserError(
                f"{whose} was trained with the {part} {parts[part]}, which is not here."
            ) from None
    released = parts.get("released_model")
    overrides = dict(get_pretrained_model(released).gin_overrides or {}) if released else {}
    overrides["MetamonPerceiverTstepEncoder.tokenizer"] = arguments["tokenizer"]
    return arguments | {"gin_overrides": overrides}


def load_weights(
    policy: torch.nn.Module,
    path: Path,
    what: str,
    leave_out: Callable[[str], bool] = lambda _: False,
) -> None:
    """Give a network the weights of a file, whatever wrapped it when it was saved.

    AMAGO itself saves it unwrapped, other trainers do not. Raises UserError for weights that are
    damaged or do not fit.

    Args:
        policy: the network.
        path: of the file.
        what: the checkpoint, for messages.
        leave_out: whether a weight of this name is not loaded.
    """
    try:
        weights = renamed(read_weights(path), policy)
        policy.load_state_dict({k: v for k, v in weights.items() if not leave_out(k)})
    except (RuntimeError, ValueError) as error:
        raise UserError(f"Cannot load {what} from {path}: {_why(error)}.") from error


def _why(error: Exception) -> str:
    """The first of the many lines with which torch lists what does not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, RuntimeError) and lines and "loading state_dict" in lines[0]:
        first = " ".join(lines[1].split()[:12]) if len(lines) > 1 else ""
        return f"they do not fit the network of its gin files, e.g. {first.rstrip('.,')}"
    return in_one_line(error)
