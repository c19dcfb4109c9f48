"""Our gin files by name. Importing this lets a gin file `include "training/NAME.gin"`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gin

from metamon_ext import GIN_CONFIGS
from metamon_ext.errors import UserError

FOLDERS = ("training", "models")

# First in line: gin looks below the working directory otherwise, and logs an error about it.
gin.config._LOCATION_PREFIXES.insert(0, str(GIN_CONFIGS))


def gin_files() -> list[Path]:
    """All files that Metamon can be given, those for training first."""
    return [path for folder in FOLDERS for path in sorted((GIN_CONFIGS / folder).glob("*.gin"))]


def find_gin_file(name: str) -> Path:
    """The absolute path of one of our files, which is what Metamon's commands want."""
    for path in gin_files():
        if path.stem == name.removesuffix(".gin"):
            return path
    known = ", ".join(path.stem for path in gin_files()) or f"none are in {GIN_CONFIGS}"
    raise UserError(f"no gin file {name!r}: {known}")


def find_training_file(name: str) -> Path:
    """The absolute path of a gin file: a path, a name of Metamon's, or one of ours."""
    from metamon.rl import TRAINING_CONFIG_DIR

    for path in (Path(name), Path(TRAINING_CONFIG_DIR, name)):
        if path.is_file():
            return path.resolve()
    return find_gin_file(name)


@contextmanager
def only_bindings_of(path: str | Path) -> Iterator[None]:
    """In the block a gin file's bindings hold and no others; after it, those that held before."""
    bindings = gin.config._CONFIG
    before = {key: dict(values) for key, values in bindings.items()}
    bindings.clear()
    try:
        with gin.unlock_config():
            gin.parse_config_file(str(path), skip_unknown=True)
        yield
    finally:
        bindings.clear()
        bindings.update(before)


def describe(path: Path) -> str:
    """The first line of the comment at the head of a gin file."""
    return path.read_text().split("\n", 1)[0].lstrip("# ")
