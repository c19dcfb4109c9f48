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
from metamon_ext.spaces.reward_functions import make_reward

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
    run("-c", WITHOUT_METAMON, str(tmp_path), cwd=repository)


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
