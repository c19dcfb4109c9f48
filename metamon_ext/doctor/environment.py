"""The environment that the checks inspect, and the result of a check."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Status = Literal["ok", "absent", "note", "warning", "broken"]
"""`absent` is optional; a `note` is a known trap that users cannot change, with a way around it; a
`warning` may matter later; `broken` fails the doctor."""


@dataclass(frozen=True)
class Check:
    """One line of the table. `fix` is what to do about a note, a warning or a broken part."""

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Environment:
    """The packages that this project plugs into. None of them is imported.

    Attributes:
        versions: Distribution -> version, if installed.
        packages: Import name -> folder, if it can be imported.
        shadows: Import name -> a folder without code that hides the package.
        variables: The environment variables.
    """

    versions: Mapping[str, str]
    packages: Mapping[str, Path]
    shadows: Mapping[str, Path]
    variables: Mapping[str, str]

    @classmethod
    def here(cls) -> Environment:
        """The environment of this process."""
        versions: dict[str, str] = {}
        packages: dict[str, Path] = {}
        shadows: dict[str, Path] = {}
        for distribution in ("metamon", "amago", "poke-env", "torch"):
            with suppress(PackageNotFoundError):
                versions[distribution] = version(distribution)
        for name in ("metamon", "amago", "poke_env"):
            spec = find_spec(name)
            if spec is not None and spec.submodule_search_locations:
                folder = Path(next(iter(spec.submodule_search_locations)))
                (packages if spec.origin else shadows)[name] = folder
        return cls(versions, packages, shadows, os.environ)

    @property
    def has_metamon(self) -> bool:
        """Whether Metamon is installed, not the unrelated package of this name (0.1.1)."""
        installed = self.versions.get("metamon", "0.")
        return not installed.startswith("0.") and "metamon" in self.packages

    def source(self, package: str, *path: str) -> str:
        """The text of a package's file, or an empty string if it does not exist."""
        folder = self.packages.get(package)
        file = folder.joinpath(*path) if folder else None
        return file.read_text(encoding="utf-8") if file and file.is_file() else ""


Finding = tuple[Status, str] | tuple[Status, str, str]
CheckFunction = Callable[[Environment], Check]


def check(
    name: str, checks: list[CheckFunction]
) -> Callable[[Callable[[Environment], Finding]], CheckFunction]:
    """Make a check of a function that returns the status, what was found, and the fix."""

    def decorate(function: Callable[[Environment], Finding]) -> CheckFunction:
        @functools.wraps(function)
        def run(env: Environment) -> Check:
            return Check(name, *function(env))

        checks.append(run)
        return run

    return decorate
