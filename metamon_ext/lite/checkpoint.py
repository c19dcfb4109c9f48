"""What a training run leaves on disk: written whole or not at all, read without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from metamon_ext.data.trajectory import whole_file
from metamon_ext.errors import UserError
from metamon_ext.lite.model import LiteModel

CHECKPOINT = "checkpoint.pt"
FORMAT = "metamon_ext lite 1"


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers. A reader sees the old file or the new one."""
    buffer = io.BytesIO()  # torch hides why a file cannot be written
    torch.save(content | {"format": FORMAT}, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def checkpoint_file(path: Path) -> Path:
    """The checkpoint itself, or that in a run's folder."""
    return path / CHECKPOINT if path.is_dir() else path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or that of a run's folder. Raises UserError if it is none of ours."""
    path = checkpoint_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except Exception:  # torch raises a dozen kinds, with advice that is not for our files
        raise UserError(
            f"{path}: damaged, or not a checkpoint of `metamon-ext train`: cannot be read"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of `metamon-ext train`")
    return content


def load_model(path: Path) -> LiteModel:
    """The network of a checkpoint, ready to act."""
    content = load_checkpoint(path)
    model = LiteModel(**content["model_sizes"])
    try:
        model.load_state_dict(content["learner"]["model"])
    except RuntimeError:
        raise UserError(
            f"{path}: was trained with another version of the observation space; train it again"
        ) from None
    return model.eval()
