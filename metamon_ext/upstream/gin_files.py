"""Our gin files by name. Importing this lets a gin file `include "training/NAME.gin"`."""

from __future__ import annotations

from pathlib import Path

import gin

from metamon_ext.errors import UserError

GIN_CONFIGS = Path(__file__).resolve().parents[2] / "gin_configs"
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


def describe(path: Path) -> str:
    """The first line of the comment at the head of a gin file."""
    return path.read_text().split("\n", 1)[0].lstrip("# ")
