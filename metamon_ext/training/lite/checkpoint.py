"""The checkpoint of a run: written completely or not at all, read without running code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write
from metamon_ext.learning.extraction import critic_index
from metamon_ext.learning.weights import fitting, read_weights
from metamon_ext.training.lite.model import LiteModel

CHECKPOINT = "checkpoint.pt"
CHECKPOINTS = "checkpoints"
FORMAT = "metamon_ext lite 1"


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers. A reader sees the old file or the new one."""
    buffer = io.BytesIO()  # torch hides why a file cannot be written
    torch.save(content | {"format": FORMAT}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def checkpoint_file(path: Path) -> Path:
    """The checkpoint itself, or that in a run's folder."""
    return path / CHECKPOINT if path.is_dir() else path


def kept_checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints that a run has kept, by step."""
    found = {}
    for path in (run_dir / CHECKPOINTS).glob("step_*.pt"):
        if (step := path.stem.removeprefix("step_")).isdecimal():
            found[int(step)] = path
    return [found[step] for step in sorted(found)]


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or that of a run's folder. Raises UserError if it is none of ours."""
    path = checkpoint_file(path)
    content = read_weights(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of `metamon-ext train`")
    return content


def table(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The table that a checkpoint has under a key. Raises UserError if it has none."""
    found = content.get(key)
    if not isinstance(found, dict):
        fault = "has no" if found is None else f"has {type(found).__name__}, not a table, as"
        raise UserError(f"{checkpoint_file(path)} {fault} {key!r}: save the checkpoint again")
    return found


def weights_of(
    path: Path, content: Mapping[str, Any], network: nn.Module, part: str = "model"
) -> dict[str, Any]:
    """A checkpoint's weights for a network. Raises UserError that names one that does not fit."""
    try:
        return fitting(table(path, content, "learner").get(part), network)
    except ValueError as error:
        raise UserError(
            f"{checkpoint_file(path)}: {error}. Its network has other sizes, or it was trained "
            f"with another version of the observation space. See the config.gin beside it, or "
            "train it again."
        ) from None


def critic_of(path: Path, content: Mapping[str, Any], gamma: float) -> int:
    """The index of a checkpoint's critic for a discount. Raises ValueError if it has none."""
    discounts = content.get("gammas")
    if discounts is None:
        raise ValueError(
            f"{checkpoint_file(path)} does not say for which discounts its critics are: train one "
            "that begins with its weights, or play it without beta"
        )
    return critic_index(discounts, gamma)


def load_model(path: Path) -> LiteModel:
    """The network of a checkpoint, ready to act. Raises UserError for one that cannot."""
    return model_of(path, load_checkpoint(path))


def model_of(path: Path, content: Mapping[str, Any]) -> LiteModel:
    """Like `load_model`, of a checkpoint that has been read."""
    sizes = table(path, content, "model_sizes")
    try:
        with torch.device("meta"):  # sizes cost no memory before weights of these sizes are found
            model = LiteModel(**sizes)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f"{checkpoint_file(path)}: 'model_sizes' cannot be {sizes}: save the checkpoint again"
        ) from None
    weights = weights_of(path, content, model)
    if wrong := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise UserError(
            f"{checkpoint_file(path)}: {wrong[0]!r} holds numbers that are not finite. "
            "Use an earlier checkpoint, or train with a lower Learner.learning_rate."
        )
    model = model.to_empty(device="cpu")
    model.load_state_dict(weights)
    return model.eval()
