"""The rules that hold for the whole repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def run(*command: str, cwd: Path) -> str:
    answer = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "ruff", "format", "--check", "."),
        ("-m", "ruff", "check", "."),
        ("-m", "mypy"),
        ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    ],
    ids=["format", "lint", "types", "imports"],
)
def test_the_code_keeps_to_the_house_style(command: tuple[str, ...], repository: Path) -> None:
    run(*command, cwd=repository)


def test_importing_the_package_loads_nothing_heavy(repository: Path) -> None:
    code = "import sys, metamon_ext, metamon_ext.cli; print(*sys.modules)"
    loaded = set(run("-c", code, cwd=repository).split())
    assert not loaded & {"torch", "numpy", "poke_env", "metamon", "amago", "matplotlib"}


def test_no_machine_is_baked_in(repository: Path) -> None:
    names = subprocess.run(
        ["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    # a home folder, or the folder that this clone happens to lie in
    path = re.compile(rf"/(home|Users)/\w+|{re.escape(str(repository.parent))}/\w")
    for name in filter(None, names):
        if (repository / name).is_dir():  # a link to a folder, whose files are listed too
            continue
        content = (repository / name).read_bytes()
        if b"\0" not in content:
            found = path.search(content.decode())
            assert found is None, f"{name}: {found and found[0]}"
