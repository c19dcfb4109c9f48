"""The rules that hold for the whole repository."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.processes import run_python

MAX_FILE, MAX_FUNCTION = 350, 60
BANNED = re.compile(
    r"\b(cures?|trouble|told|nobody|mend(s|ed)?|whom|strangers?|at hand|gone? on|goes on|lies?)\b",
    re.IGNORECASE,
)
"""Words of a dialect that readers have to translate."""


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
    run_python(*command, cwd=repository)


def test_importing_the_package_loads_nothing_heavy(repository: Path) -> None:
    code = "import sys, metamon_ext, metamon_ext.cli; print(*sys.modules)"
    loaded = set(run_python("-c", code, cwd=repository).split())
    assert not loaded & {"torch", "numpy", "poke_env", "metamon", "amago", "matplotlib"}


def test_only_the_command_line_knows_how_flags_are_parsed(repository: Path) -> None:
    package = repository / "metamon_ext"
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] != "cli":
            imports = re.findall(r"^ *(?:import|from) (argparse|tyro)\b", path.read_text(), re.M)
            assert not imports, f"{path} imports {imports[0]}"


WITHOUT_METAMON = """
import importlib, pkgutil, sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

class Forbidden(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.partition(".")[0] in ("metamon", "amago") else None

    def create_module(self, spec):
        raise AssertionError(f"{spec.name} was imported")  # which no `except ImportError` catches

sys.meta_path.insert(0, Forbidden())
import metamon_ext

for module in pkgutil.walk_packages(metamon_ext.__path__, "metamon_ext."):
    if not module.name.startswith("metamon_ext.upstream") and "__main__" not in module.name:
        importlib.import_module(module.name)

import torch
from metamon_ext.cli import main
from metamon_ext.learning.advantage import binary_advantage_filter
from metamon_ext.spaces.registry import make_reward

work = sys.argv[1]
assert (binary_advantage_filter(torch.tensor([1.0, -1.0])) == 1).tolist() == [True, False]
assert make_reward("WinLossReward") is not None
for command in (
    "models",
    "audit tests/data/arena",
    f"filter --input_dir tests/data/arena --output_dir {work}/data --min_turns 1",
    f"train --data_dir {work}/data --save_dir {work} --run_name run --steps 1",
    f"self_play_tournament --models random {work}/run --battles_per_matchup 2 --team_set sample "
    f"--workers 1 --output_dir {work}/tournament",
    f"calculate_elo --tournament_dir {work}/tournament",
    "benchmark data --help",
):
    try:
        assert main(command.split()) == 0, command
    except SystemExit as ended:
        assert ended.code == 0, command
"""


def test_only_the_upstream_room_imports_metamon(repository: Path, tmp_path: Path) -> None:
    """All other rooms are imported and used while an import of Metamon or AMAGO raises."""
    run_python("-c", WITHOUT_METAMON, str(tmp_path), cwd=repository)


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


def sources() -> Iterator[tuple[str, str]]:
    """The files of the package: path and text."""
    for path in sorted(Path(ROOT, "metamon_ext").rglob("*.py")):
        yield path.relative_to(ROOT / "metamon_ext").as_posix(), path.read_text(encoding="utf-8")


def public(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The public functions and classes of a module, and the methods of these classes."""
    for node in ast.iter_child_nodes(tree):
        named = isinstance(node, ast.FunctionDef | ast.ClassDef)
        if named and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def test_files_and_functions_are_short() -> None:
    files, functions = set(), set()
    for name, text in sources():
        if text.count("\n") > MAX_FILE:
            files.add(name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MAX_FUNCTION:
                functions.add(f"{name}: {node.name}")
    assert (files, functions) == (set(), set())


def test_everything_public_has_a_docstring() -> None:
    missing = {
        f"{name}: {node.name}"
        for name, text in sources()
        for node in public(ast.parse(text))
        if ast.get_docstring(node) is None
    }
    assert missing == set()


def test_the_code_is_in_plain_english() -> None:
    found = {f"{name}: {match[0]}" for name, text in sources() for match in BANNED.finditer(text)}
    assert found == set()
