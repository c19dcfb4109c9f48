"""The facts that checks judge, and what a check says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Status = Literal["ok", "absent", "note", "warning", "broken"]
"""`absent` can be done without; a `note` is about what no user can change, and how to avoid it; a
`warning` will matter some day; `broken` fails the doctor."""


@dataclass(frozen=True)
class Check:
    """One line of the table. `cure` is what to do about a note, a warning or what is broken."""

    name: str
    status: Status
    found: str
    cure: str = ""


@dataclass(frozen=True)
class Environment:
    """Where Python would find the packages that we plug into. Nothing of them is imported.

    versions: distribution -> version, of those that are installed.
    packages: import name -> its folder, of those that can be imported.
    shadows: import name -> a folder without code that hides the package of this name.
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
        """Whether Metamon is here, and not the stranger of the same name (0.1.1)."""
        installed = self.versions.get("metamon", "0.")
        return not installed.startswith("0.") and "metamon" in self.packages

    def source(self, package: str, *path: str) -> str:
        """The text of a file of a package, "" if it is not there."""
        folder = self.packages.get(package)
        file = folder.joinpath(*path) if folder else None
        return file.read_text(encoding="utf-8") if file and file.is_file() else ""
