"""Weights from a file: read without running code, and named as the network names them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metamon_ext.errors import UserError

WRAPPERS = {"module", "_orig_mod"}
"""What DistributedDataParallel and torch.compile put into the names of a network's weights."""


def read_weights(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU: tensors and plain containers only.

    Raises UserError for a file that is not there, is damaged, or holds anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about files that are not its own
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except Exception:  # torch raises a dozen kinds, with advice to switch this protection off
        raise UserError(f"{path}: damaged, or not a checkpoint: cannot be read") from None


def renamed(weights: object, network: nn.Module) -> dict[str, Any]:
    """Weights under the network's own names for them, whatever wrapped either of them.

    Args:
        weights: name -> tensor, as `network.state_dict()` gives them.
        network: may be on the meta device.

    Raises ValueError for what is no such table.
    """
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise ValueError(f"its weights are {type(weights).__name__}, not a table of tensors")
    own = {_unwrapped(name): name for name in network.state_dict()}
    return {own.get(_unwrapped(k), str(k)): v for k, v in weights.items()}


def fitting(weights: object, network: nn.Module) -> dict[str, Any]:
    """As `renamed`; raises ValueError that names the first weight that does not fit."""
    found, wanted = renamed(weights, network), network.state_dict()
    for name in [*wanted, *found]:
        if name not in wanted:
            raise ValueError(f"the network has no weight {name!r}")
        if name not in found:
            raise ValueError(f"the weight {name!r} is missing")
        if isinstance(wanted[name], Tensor):
            shape = getattr(found[name], "shape", None)
            if shape != wanted[name].shape:
                has = type(found[name]).__name__ if shape is None else f"of shape {tuple(shape)}"
                raise ValueError(f"{name!r} is {has}, not of shape {tuple(wanted[name].shape)}")
    return found


def _unwrapped(name: str) -> str:
    """A weight's name without those of wrappers, in any order and depth."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
