"""Gin files by name, and what is in them. Importing this lets one `include "training/NAME.gin"`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gin

from metamon_ext.about import GIN_CONFIGS
from metamon_ext.errors import UserError, did_you_mean
from metamon_ext.upstream import catalog

FOLDERS = ("training", "models")
OLD_NAMES = {
    "DampedAgent": "KLRegularizedAgent",
    "DampedMultiTaskAgent": "KLRegularizedMultiTaskAgent",
    "damped_agent": "kl_regularized_agent",
    "KLControl": "AdaptiveKLController",
}
"""In gin files of earlier versions, which import `metamon_ext.upstream.damping` -> today."""
_INCLUDE = re.compile(r"""^\s*include\s+(['"])(?P<file>.+?)\1\s*(#.*)?$""")
_IMPORT = re.compile(r"^\s*(import|from)\s.*$", re.MULTILINE)

# First in line: gin looks below the working directory otherwise, and logs an error about it.
gin.config._LOCATION_PREFIXES.insert(0, str(GIN_CONFIGS))


def gin_files() -> list[Path]:
    """All files that Metamon can be given, those for training first."""
    return [path for folder in FOLDERS for path in sorted((GIN_CONFIGS / folder).glob("*.gin"))]


def find_gin_file(name: str) -> Path:
    """The absolute path of one of our files, which is what Metamon's commands want."""
    return _named(name, gin_files(), f"none are in {GIN_CONFIGS}")


def find_training_file(name: str) -> Path:
    """The absolute path of a gin file for training: a path, a name of Metamon's, or one of ours."""
    return _find(name, catalog.training_folder(), GIN_CONFIGS / "training")


def find_model_file(name: str) -> Path:
    """The absolute path of a gin file for a model: a path, a name of Metamon's, or one of ours."""
    return _find(name, catalog.models_folder(), GIN_CONFIGS / "models")


def _find(name: str, *folders: Path) -> Path:
    if Path(name).is_file():
        return Path(name).resolve()
    return _named(name, [path for folder in folders for path in sorted(folder.glob("*.gin"))])


def _named(name: str, paths: list[Path], nothing: str = "there are none") -> Path:
    """The file of this name, with or without its ending."""
    stem = name.removesuffix(".gin")
    for path in paths:
        if path.stem == stem:
            return path
    known = list(dict.fromkeys(path.stem for path in paths))
    hint = did_you_mean(stem, known)
    raise UserError(f"Unknown gin file {name!r}.{hint} Known: {', '.join(known) or nothing}.")


def read_gin_file(path: Path) -> str:
    """The text of a gin file, with the files that it includes in their places.

    Raises UserError for a file that cannot be read or that gin cannot parse.
    """
    text = _inline(path, ())
    try:
        with kept_bindings():
            # what the imports would make known is not needed to parse the rest
            gin.parse_config(_IMPORT.sub("", text), skip_unknown=True)
    except (SyntaxError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a gin file: {' '.join(str(error).split()[:30])}") from None
    return text


def same_settings(text: str, other: str) -> bool:
    """Whether two texts of gin files differ only in comments, imports and old names."""
    return _settings(text) == _settings(other)


def _settings(text: str) -> list[str]:
    for old, new in OLD_NAMES.items():
        text = re.sub(rf"\b{old}\b", new, text)
    lines = [line.partition("#")[0].strip() for line in _IMPORT.sub("", text).splitlines()]
    return [line for line in lines if line]


def _inline(path: Path, parents: tuple[Path, ...]) -> str:
    if path in parents:
        raise UserError(f"{path} includes itself.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the gin file {path}: {error}") from None
    for i, line in enumerate(lines):
        if match := _INCLUDE.match(line):
            included = next(
                (f / match["file"] for f in _places() if (f / match["file"]).is_file()), None
            )
            if included is None:
                raise UserError(f"{path} includes {match['file']!r}, which is not here.")
            lines[i] = _inline(included, (*parents, path)).rstrip("\n")
    return "\n".join(lines) + "\n"


def _places() -> list[Path]:
    """Where gin looks for included files, in its order."""
    return [Path(prefix) for prefix in gin.config._LOCATION_PREFIXES]


@contextmanager
def only_bindings_of(path: str | Path) -> Iterator[None]:
    """In the block a gin file's bindings hold and no others; after it, those that held before."""
    with kept_bindings():
        gin.parse_config_file(str(path), skip_unknown=True)
        yield


@contextmanager
def kept_bindings() -> Iterator[None]:
    """Start the block with no bindings; after it, those that held before hold again."""
    bindings = gin.config._CONFIG
    before = {key: dict(values) for key, values in bindings.items()}
    bindings.clear()
    try:
        with gin.unlock_config():
            yield
    finally:
        bindings.clear()
        bindings.update(before)


def describe(path: Path) -> str:
    """The first line of the comment at the head of a gin file."""
    return path.read_text().split("\n", 1)[0].lstrip("# ")
