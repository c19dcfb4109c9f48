"""What `pip install .` installs: everything that the code reads beside itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.processes import run_python

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])('out')"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel that was built from the source distribution of the clone's files."""
    folder = tmp_path_factory.mktemp("package")
    clone, wheel = folder / "clone", folder / "wheel"
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    with tarfile.open(build("build_sdist", clone, "*.tar.gz")) as archive:
        archive.extractall(folder / "sdist")
    (source,) = (folder / "sdist").iterdir()
    with zipfile.ZipFile(build("build_wheel", source, "*.whl")) as archive:
        archive.extractall(wheel)
    return wheel


def tracked() -> list[str]:
    """The clone's files; those that a change has removed are left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in names.stdout.split("\0") if name and (ROOT / name).exists()]


def build(what: str, source: Path, made: str) -> Path:
    subprocess.run(
        [sys.executable, "-c", BUILD, what], cwd=source, check=True, stdout=subprocess.DEVNULL
    )
    (file,) = (source / "out").glob(made)
    return file


def test_a_wheel_has_all_files_of_the_package_and_the_gin_files(installed: Path) -> None:
    names = tracked()
    wanted = {name for name in names if name.startswith("metamon_ext/")}
    wanted |= {f"metamon_ext/{name}" for name in names if name.startswith("gin_configs/")}
    found = [p.relative_to(installed).as_posix() for p in installed.rglob("*") if p.is_file()]
    assert {name for name in found if ".dist-info/" not in name} == wanted - {
        "metamon_ext/gin_configs"  # a link in the clone, a folder in the wheel
    }


def from_wheel(installed: Path, *command: str) -> str:
    return run_python(*command, cwd=installed.parent, path=installed)


def test_the_gin_files_of_a_wheel_are_found_by_name(installed: Path) -> None:
    configs = installed / "metamon_ext" / "gin_configs"
    assert configs.is_dir() and not configs.is_symlink()
    code = (
        "from metamon_ext.training.lite.config import find_gin_config\n"
        "from metamon_ext.upstream.gin_files import find_gin_file\n"
        "for name in ('binary_advantage', 'behavior_cloning'):\n"
        "    print(find_gin_config(name))\n"
        "print(find_gin_file('psro_oracle'))\n"
    )
    for line in from_wheel(installed, "-c", code).splitlines():
        assert Path(line).is_file() and Path(line).is_relative_to(configs.resolve())


def test_the_gin_command_of_a_wheel_lists_every_file_for_metamon(installed: Path) -> None:
    listed = from_wheel(installed, "-m", "metamon_ext.cli", "gin").splitlines()
    files = [*(ROOT / "gin_configs" / "training").iterdir()]
    files += (ROOT / "gin_configs" / "models").iterdir()
    assert {line.split()[0] for line in listed} == {path.stem for path in files}
