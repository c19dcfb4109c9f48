"""The names that Metamon registers, read from its source.

Importing Metamon takes seconds and loads torch. Reading its source is fast enough to check names
before that.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from metamon_ext.errors import UserError
from metamon_ext.spaces.registry import REWARDS

PARTS = (
    "model_gin_config",
    "train_gin_config",
    "reward_function",
    "observation_space",
    "action_space",
    "tokenizer",
    "battle_backend",
)
"""The arguments of Metamon's `PretrainedModel` that name parts of a model."""


@dataclass(frozen=True)
class ReleasedModel:
    """A model of `metamon.rl.pretrained`.

    Attributes:
        folder: Its folder on the Hugging Face hub, None if the source computes it.
        parts: The values of `PARTS`.
    """

    name: str
    folder: str | None
    default_checkpoint: int
    parts: dict[str, Any]


@cache
def metamon_folder() -> Path:
    """The folder of the package. Raises UserError if Metamon is not installed."""
    spec = importlib.util.find_spec("metamon")
    for folder in (spec and spec.submodule_search_locations) or []:
        if Path(folder, "rl", "pretrained.py").is_file():  # not the unrelated package on PyPI
            return Path(folder)
    raise UserError("Metamon is not installed here. Run this in Metamon's environment.")


def require_metamon() -> None:
    """Raise UserError if Metamon is not installed, or has no folder for its data and models."""
    metamon_folder()
    if not os.environ.get("METAMON_CACHE_DIR"):
        raise UserError("METAMON_CACHE_DIR is not set. Set it to a folder for Metamon's data.")


def training_folder() -> Path:
    """Metamon's gin files for training."""
    return metamon_folder() / "rl" / "configs" / "training"


def models_folder() -> Path:
    """Metamon's gin files for models."""
    return metamon_folder() / "rl" / "configs" / "models"


@cache
def released_models() -> dict[str, ReleasedModel]:
    """Every model that `metamon.rl.pretrained` registers, by name."""
    tree = _parse("rl/pretrained.py")
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    defaults = _defaults(classes["PretrainedModel"])
    models = {}
    for node in classes.values():
        for name in _registered(node, "pretrained_model"):
            given = defaults | _super_arguments(node)
            parts = {part: given.get(part) for part in PARTS}
            models[name] = ReleasedModel(
                name, given.get("model_name"), given.get("default_checkpoint", 40), parts
            )
    return models


@cache
def baselines() -> tuple[str, ...]:
    """The names of `metamon.baselines`."""
    files = sorted((metamon_folder() / "baselines").rglob("*.py"))
    return tuple(n for file in files for n in _registrations(_read(file), "register_baseline"))


@cache
def reward_functions() -> tuple[str, ...]:
    """Metamon's reward functions and ours."""
    theirs = _registrations(_parse("interface.py"), "register_reward_function")
    return (*theirs, *REWARDS.names())


@cache
def battle_formats() -> tuple[str, ...]:
    """The formats that Metamon has data for."""
    return tuple(_constant(_parse("config.py"), "SUPPORTED_BATTLE_FORMATS"))


@cache
def self_play_subsets() -> tuple[str, ...]:
    """Metamon's self-play datasets."""
    return tuple(_constant(_parse("data/download.py"), "SELF_PLAY_SUBSETS"))


@cache
def self_play_formats() -> tuple[str, ...]:
    """The formats of Metamon's self-play datasets."""
    return tuple(_constant(_parse("data/download.py"), "SELF_PLAY_FORMATS"))


def _parse(path: str) -> ast.Module:
    return _read(metamon_folder() / path)


@cache
def _read(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise UserError(f"Cannot read {file}: {error}. Run metamon-ext doctor.") from None


def _registrations(tree: ast.Module, decorator: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _registered(node, decorator)


def _registered(node: ast.ClassDef, decorator: str) -> Iterator[str]:
    """The name under which `@decorator()` or `@decorator("Name")` registers a class."""
    for call in node.decorator_list:
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == decorator:
            first = call.args[0] if call.args else None
            yield first.value if isinstance(first, ast.Constant) else node.name  # type: ignore[misc]


def _super_arguments(node: ast.ClassDef) -> dict[str, Any]:
    """The plain arguments of the first `super().__init__(...)` of a class."""
    for call in ast.walk(node):
        is_init = isinstance(call, ast.Call) and getattr(call.func, "attr", None) == "__init__"
        if is_init and isinstance(call, ast.Call):
            return _plain((one.arg, one.value) for one in call.keywords if one.arg)
    return {}


def _defaults(node: ast.ClassDef) -> dict[str, Any]:
    """The plain defaults of a class's `__init__`."""
    init = next(n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    arguments = init.args.args[-len(init.args.defaults) :]
    pairs = zip((one.arg for one in arguments), init.args.defaults, strict=True)
    return _plain(pairs)


def _plain(pairs: Any) -> dict[str, Any]:
    """Constants as they are, and `get_reward_function("Name")` and its like as the name."""
    values = {}
    for name, value in pairs:
        if isinstance(value, ast.Call) and len(value.args) == 1:
            value = value.args[0]
        if isinstance(value, ast.Constant):
            values[name] = value.value
    return values


def _constant(tree: ast.Module, name: str) -> Any:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise UserError(f"Metamon has no {name}. Run metamon-ext doctor.")
