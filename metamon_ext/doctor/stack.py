"""Checks of Metamon, AMAGO and poke-env, and of known traps between them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from metamon_ext.doctor.environment import CheckFunction, Environment, Finding, check
from metamon_ext.errors import UserError
from metamon_ext.walk import Walk

METAMON = "1.5.1"
AMAGO = {"1.5.1": "3.1.2", "1.6.0": "3.4.0"}
"""Version of Metamon -> the only version of AMAGO that it accepts."""
POKE_ENV_FORK = "0.8.3.2"
POKE_ENV_STOCK = "0.16.1"
SHOWDOWN_COMMIT = "5e614659559a611206118dd62e02e1a6d4d643d7"

_GITHUB = "git+https://github.com/UT-Austin-RPL"
CLONE = (
    "git clone https://github.com/UT-Austin-RPL/metamon && git -C metamon checkout d429ad6 "
    "&& pip install -e ./metamon"
)
INSTALL_FORK = (
    f'pip install "poke-env @ {_GITHUB}/poke-env.git@3b11ebf282ac79d2e5eb8739ebdc83ed31d5c320"'
)
EVS = "EVs: 252 HP / 252 Atk / 252 Def / 252 SpA / 252 SpD / 252 Spe"
ALWAYS: list[CheckFunction] = []
WITH_METAMON: list[CheckFunction] = []
always = partial(check, checks=ALWAYS)
with_metamon = partial(check, checks=WITH_METAMON)


@always("Import path")
def check_shadows(env: Environment) -> Finding:
    """No folder on the path hides an installed package, as the outer folder of a clone does."""
    if not env.shadows:
        return "ok", "nothing hides a package"
    found = ", ".join(f"{folder} hides {package}" for package, folder in env.shadows.items())
    return "broken", found, "start Python in another folder, and check PYTHONPATH"


@always("Metamon")
def check_metamon(env: Environment) -> Finding:
    """Metamon is installed, and is not the unrelated package of this name on PyPI."""
    found = env.versions.get("metamon")
    if found is None and "metamon" not in env.packages:
        return "absent", "not installed: this is the lite environment"
    if found is None:
        where = env.packages["metamon"]
        fix = f"pip install -e {where.parent}"
        return "broken", f"importable from {where}, but not installed", fix
    if found.startswith("0."):
        wrong = f"{found}, an unrelated package of PyPI with the same name"
        return "broken", wrong, f"pip uninstall metamon && {CLONE}"
    if "metamon" not in env.packages:
        return "broken", f"{found} is installed, but its clone is gone or hidden", CLONE
    if found == METAMON:
        return "ok", found
    tested = "its source was read, but it was not run" if found == "1.6.0" else "not tested"
    fix = f"if something fails, use {METAMON}: git checkout d429ad6 in the clone"
    return "warning", f"{found}: {tested}", fix


@always("poke-env")
def check_poke_env(env: Environment) -> Finding:
    """With Metamon poke-env is Metamon's fork, else the stock package. Both have the same name."""
    found = env.versions.get("poke-env")
    return _fork(env, found) if env.has_metamon else _stock(found)


def _stock(found: str | None) -> Finding:
    fix = 'pip install -e ".[lite]" in the clone of metamon_ext'
    if found is None:
        return "broken", "not installed: no battles without it", fix
    if found == POKE_ENV_STOCK:
        return "ok", found
    if found.startswith("0.8.3."):
        fork = f"{found}, Metamon's fork, but Metamon is not installed"
        return "broken", fork, f"{CLONE}, or without Metamon: {fix}"
    return "warning", f"{found}; {POKE_ENV_STOCK} was tested", fix


def _fork(env: Environment, found: str | None) -> Finding:
    folder = env.packages.get("poke_env")
    if found == POKE_ENV_FORK and folder is not None and (folder / "environment").is_dir():
        return "ok", f"{found}, Metamon's fork"
    if found == POKE_ENV_FORK:
        found = f"{found} by its name, but {folder} contains another version"
    elif found == "0.8.3.3":
        found = "0.8.3.3, the fork's newest, which Metamon rejects"
    elif found is not None:
        found = f"{found}, not Metamon's fork {POKE_ENV_FORK}; battles may go wrong silently"
        if env.variables.get("METAMON_ALLOW_ANY_POKE_ENV"):
            allowed = f"{found}; METAMON_ALLOW_ANY_POKE_ENV allows it"
            return "warning", allowed, INSTALL_FORK
    return "broken", found or "Metamon's fork is not installed", INSTALL_FORK


@with_metamon("Metamon's data")
def check_metamon_data(env: Environment) -> Finding:
    """Metamon is an editable install. Others lack the tokenizers and the gin files."""
    folder = env.packages["metamon"]
    tokenizers = list(folder.glob("tokenizer/*.json"))
    configs = list(folder.glob("rl/configs/*/*.gin"))
    if tokenizers and configs:
        return "ok", f"{len(tokenizers)} tokenizers, {len(configs)} gin files in {folder}"
    found = f"no tokenizers or gin files in {folder}: it was not installed editable"
    return "broken", found, f"pip uninstall metamon && {CLONE}"


@with_metamon("AMAGO")
def check_amago(env: Environment) -> Finding:
    """AMAGO has the only version that Metamon accepts. It is not on PyPI."""
    found = env.versions.get("amago")
    metamon = env.versions["metamon"]
    wanted = AMAGO.get(metamon, found) or AMAGO[METAMON]
    if found is None or found != wanted:
        tag = "v" + wanted.rsplit(".", 1)[0]
        fix = f'pip install "amago @ {_GITHUB}/amago.git@{tag}" (it is not on PyPI)'
        return "broken", f"{found or 'not installed'}; Metamon {metamon} needs {wanted}", fix
    prints = 'print("here")' in env.source("amago", "agent.py")
    note = "; prints `here` whenever it logs, which is harmless" if prints else ""
    return "ok", found + note


@with_metamon("METAMON_CACHE_DIR")
def check_cache_dir(env: Environment) -> Finding:
    """The variable is set: `import metamon.rl` raises without it."""
    if folder := env.variables.get("METAMON_CACHE_DIR"):
        return "ok", folder
    fix = "export METAMON_CACHE_DIR=/a/folder/with/space, before Python starts"
    return "broken", "not set: metamon.rl cannot be imported", fix


@with_metamon("--reward_function")
def check_reward_flag(env: Environment) -> Finding:
    """Metamon's finetuning uses its `--reward_function` for the training data."""
    scripts = ("finetune_from_hf.py", "finetune.py")
    source = "".join(env.source("metamon", "rl", script) for script in scripts)
    built_with = r"create_offline_dataset\([^)]*reward_function=pretrained\.reward_function"
    if not re.search(built_with, source):
        return "ok", "no known trap"
    found = "Metamon's own finetuning always trains on the base model's reward"
    return "note", found, "metamon-ext finetune --reward_function NAME"


@with_metamon("Metamon's evaluation")
def check_battle_loop(env: Environment) -> Finding:
    """poke-env's client ends a battle after an error. Some versions wait forever."""
    source = env.source("poke_env", "ps_client", "ps_client.py")
    if "Unhandled exception raised while handling message" not in source:
        return "ok", "no known trap"
    found = "an error in a battle is only logged, and then the evaluation hangs forever"
    return "note", found, "metamon-ext evaluate: such a battle ends as unfinished"


@with_metamon("Metamon's server")
def check_metamon_server(env: Environment) -> Finding:
    """The server is Metamon's submodule, whose order of messages Metamon's player needs."""
    server = env.packages["metamon"].parent / "server" / "pokemon-showdown"
    if not (server / "package.json").is_file():
        return "absent", "not installed; metamon-ext plays without a server"
    commit = _commit(server)
    if commit == SHOWDOWN_COMMIT:
        return "ok", f"Showdown {commit[:7]}"
    found = f"Showdown {commit[:7] or 'of unknown version'} is not Metamon's: battles may fail with"
    found += " `'NoneType' object has no attribute 'moves'` or `Unknown move: fight`"
    fix = f"git -C {server} checkout {SHOWDOWN_COMMIT[:7]}, or play with metamon-ext evaluate"
    return "warning", found, fix


def _commit(clone: Path) -> str:
    """The commit of a clone, or an empty string. A clone around it does not count."""
    if not (clone / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


@with_metamon("Teams of gens 1 and 2")
def check_old_teams(env: Environment) -> Finding:
    """All teams name their EVs. Exports of gens 1 and 2 omit them, which now means 0."""
    cache = env.variables.get("METAMON_CACHE_DIR")
    if not cache or not (Path(cache) / "teams").is_dir():
        return "absent", "no team sets in METAMON_CACHE_DIR"
    try:
        files = list(_old_teams(Path(cache) / "teams"))
    except UserError as error:
        return "warning", str(error), "make that folder readable"
    without = [file for file in files if _lacks_evs(file)]
    if not without:
        return "ok", f"{len(files)} teams, all with EVs"
    found = f"{len(without)} of {len(files)} without EVs, such as {without[0]}: "
    return "warning", found + "the simulator rejects them", f"add the line `{EVS}` to every Pokémon"


def _old_teams(root: Path, most: int = 1000) -> Iterator[Path]:
    files = Walk([root], lambda name: re.search(r"\.gen[12]\w*_team$", name) is not None)
    return islice((file for file in files if file.is_file()), most)


def _lacks_evs(file: Path) -> bool:
    blocks = re.split(r"\n\s*\n", file.read_text(encoding="utf-8", errors="replace").strip())
    return any("EVs:" not in block for block in blocks if "\n- " in f"\n{block}")
