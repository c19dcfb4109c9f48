"""The gin files of the built-in learner: where they are, and how one is taken over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gin

from metamon_ext.about import GIN_CONFIGS
from metamon_ext.errors import UserError

LITE_CONFIGS = GIN_CONFIGS / "lite"


def find_gin_config(name: str) -> Path:
    """The gin file of this path, or of this name in gin_configs/lite."""
    for path in (Path(name), LITE_CONFIGS / f"{name}.gin"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in LITE_CONFIGS.glob("*.gin")))
    raise UserError(f"no gin config {name!r}: use a path, or one of {known}")


def read_gin_config(name: str, overrides: Sequence[str] = ()) -> None:
    """Replace all settings by those of a gin file, and then by bindings like "a.b = 1"."""
    path = find_gin_config(name)
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings([str(path)], overrides, finalize_config=False)
    except (ValueError, SyntaxError, TypeError, OSError) as error:
        raise UserError(f"gin: {' '.join(str(error).split())}") from None
