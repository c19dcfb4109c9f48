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


def check_metamon(env: Environment) -> Check:
    """PyPI has an unrelated package of the same name."""
    found = env.versions.get("metamon")
    if found is None and "metamon" not in env.packages:
        return Check("Metamon", "absent", "not installed: this is the lite environment")
    if found is None:
        where = env.packages["metamon"]
        cure = f"pip install -e {where.parent}"
        return Check("Metamon", "broken", f"importable from {where}, but not installed", cure)
    if found.startswith("0."):
        wrong = f"{found}, an unrelated package of PyPI with the same name"
        return Check("Metamon", "broken", wrong, f"pip uninstall metamon && {CLONE}")
    if "metamon" not in env.packages:
        gone = f"{found} is installed, but its clone is gone or hidden"
        return Check("Metamon", "broken", gone, CLONE)
    if found == METAMON:
        return Check("Metamon", "ok", found)
    read = "its source was read, but it was not run" if found == "1.6.0" else "not tried"
    cure = f"if something fails, use {METAMON}: git checkout d429ad6 in the clone"
    return Check("Metamon", "warning", f"{found}: {read}", cure)


def check_metamon_data(env: Environment) -> Check:
    """Only an editable install has the tokenizers and the gin files."""
    name, folder = "Metamon's data", env.packages["metamon"]
    tokenizers = list(folder.glob("tokenizer/*.json"))
    configs = list(folder.glob("rl/configs/*/*.gin"))
    if tokenizers and configs:
        found = f"{len(tokenizers)} tokenizers, {len(configs)} gin files in {folder}"
        return Check(name, "ok", found)
    found = f"no tokenizers or gin files in {folder}: it was not installed editable"
    return Check(name, "broken", found, f"pip uninstall metamon && {CLONE}")


def check_amago(env: Environment) -> Check:
    """Metamon refuses every version but one. AMAGO is not on PyPI."""
    found = env.versions.get("amago")
    metamon = env.versions["metamon"]
    wanted = AMAGO.get(metamon, found) or AMAGO[METAMON]
    if found is None or found != wanted:
        tag = "v" + wanted.rsplit(".", 1)[0]
        cure = f'pip install "amago @ {_GITHUB}/amago.git@{tag}" (it is not on PyPI)'
        wrong = f"{found or 'not installed'}; Metamon {metamon} takes only {wanted}"
        return Check("AMAGO", "broken", wrong, cure)
    prints = 'print("here")' in env.source("amago", "agent.py")
    note = "; prints `here` whenever it logs, which is harmless" if prints else ""
    return Check("AMAGO", "ok", found + note)


def check_poke_env(env: Environment) -> Check:
    """Metamon's fork and the stock package have one name, so one environment holds one of them."""
    found = env.versions.get("poke-env")
    return _fork(env, found) if env.has_metamon else _stock(found)


def _stock(found: str | None) -> Check:
    cure = 'pip install -e ".[lite]" in the clone of metamon_ext'
    if found is None:
        return Check("poke-env", "broken", "not installed: no battles without it", cure)
    if found == POKE_ENV_STOCK:
        return Check("poke-env", "ok", found)
    if found.startswith("0.8.3."):
        fork = f"{found}, Metamon's fork, but Metamon is not here"
        return Check("poke-env", "broken", fork, f"{CLONE}, or without Metamon: {cure}")
    return Check("poke-env", "warning", f"{found}; {POKE_ENV_STOCK} was tested", cure)


def _fork(env: Environment, found: str | None) -> Check:
    folder = env.packages.get("poke_env")
    if found == POKE_ENV_FORK and folder is not None and (folder / "environment").is_dir():
        return Check("poke-env", "ok", f"{found}, Metamon's fork")
    if found == POKE_ENV_FORK:
        found = f"{found} by its name, but {folder} holds another version"
    elif found == "0.8.3.3":
        found = "0.8.3.3, the fork's newest, which Metamon refuses"
    elif found is not None:
        found = (
            f"{found}, which is not Metamon's fork {POKE_ENV_FORK}; battles may go wrong silently"
        )
        if env.variables.get("METAMON_ALLOW_ANY_POKE_ENV"):
            allowed = f"{found}; METAMON_ALLOW_ANY_POKE_ENV lets it pass"
            return Check("poke-env", "warning", allowed, INSTALL_FORK)
    return Check("poke-env", "broken", found or "Metamon's fork is not installed", INSTALL_FORK)


def check_shadows(env: Environment) -> Check:
    """A clone's outer folder on the path is found before the package that is installed."""
    name = "Import path"
    if not env.shadows:
        return Check(name, "ok", "nothing hides a package")
    found = ", ".join(f"{folder} hides {package}" for package, folder in env.shadows.items())
    return Check(name, "broken", found, "start Python in another folder; see PYTHONPATH too")


def check_cache_dir(env: Environment) -> Check:
    """Metamon reads the variable when `metamon.rl` is imported, and raises without it."""
    name, folder = "METAMON_CACHE_DIR", env.variables.get("METAMON_CACHE_DIR")
    if not folder:
        cure = "export METAMON_CACHE_DIR=/a/folder/with/room, before Python starts"
        return Check(name, "broken", "not set: metamon.rl cannot be imported", cure)
    return Check(name, "ok", folder)


def check_reward_flag(env: Environment) -> Check:
    """`--reward_function` of Metamon's finetuning does not reach the training data."""
    name = "--reward_function"
    scripts = ("finetune_from_hf.py", "finetune.py")
    source = "".join(env.source("metamon", "rl", script) for script in scripts)
    built_with = r"create_offline_dataset\([^)]*reward_function=pretrained\.reward_function"
    if not re.search(built_with, source):
        return Check(name, "ok", "no known trap here")
    found = "Metamon's own finetuning trains on the base model's reward, whatever the flag says"
    return Check(name, "note", found, "metamon-ext finetune --reward_function NAME")


def check_battle_loop(env: Environment) -> Check:
    """poke-env's client logs what goes wrong in a battle and waits for ever."""
    name = "Metamon's evaluation"
    source = env.source("poke_env", "ps_client", "ps_client.py")
    if "Unhandled exception raised while handling message" not in source:
        return Check(name, "ok", "no known trap here")
    found = "an error in a battle is only logged, and then the evaluation hangs for ever"
    return Check(name, "note", found, "metamon-ext evaluate: such a battle ends as unfinished")


def check_metamon_server(env: Environment) -> Check:
    """Metamon's player needs the order of messages that its own Showdown submodule has."""
    name, folder = "Metamon's server", env.packages["metamon"]
    server = folder.parent / "server" / "pokemon-showdown"
    if not (server / "package.json").is_file():
        return Check(name, "absent", "not here, and not needed: metamon-ext plays without a server")
    commit = _commit(server)
    if commit == SHOWDOWN_COMMIT:
        return Check(name, "ok", f"Showdown {commit[:7]}")
    found = f"Showdown {commit[:7] or 'of unknown version'} is not Metamon's: battles may die with "
    found += "`'NoneType' object has no attribute 'moves'` or `Unknown move: fight`"
    cure = f"git -C {server} checkout {SHOWDOWN_COMMIT[:7]}, or play with metamon-ext evaluate"
    return Check(name, "warning", found, cure)


def _commit(clone: Path) -> str:
    """The commit of a clone, "" if it is none (and not that of a clone around it)."""
    if not (clone / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def check_old_teams(env: Environment) -> Check:
    """Exports of gens 1 and 2 leave EVs out, and the validator takes that for 0."""
    name, cache = "Teams of gens 1 and 2", env.variables.get("METAMON_CACHE_DIR")
    if not cache or not (Path(cache) / "teams").is_dir():
        return Check(name, "absent", "no team sets in METAMON_CACHE_DIR")
    try:
        files = list(_old_teams(Path(cache) / "teams"))
    except UserError as error:
        return Check(name, "warning", str(error), "make that folder readable")
    without = [file for file in files if _lacks_evs(file)]
    if not without:
        return Check(name, "ok", f"{len(files)} teams, all with EVs")
    found = (
        f"{len(without)} of {len(files)} without EVs, e.g. {without[0]}: the simulator of today "
    )
    return Check(name, "warning", found + "refuses them", f"give every Pokémon a line `{EVS}`")


def _old_teams(root: Path, most: int = 1000) -> Iterator[Path]:
    files = Walk([root], lambda name: re.search(r"\.gen[12]\w*_team$", name) is not None)
    return islice((file for file in files if file.is_file()), most)


def _lacks_evs(file: Path) -> bool:
    blocks = re.split(r"\n\s*\n", file.read_text(encoding="utf-8", errors="replace").strip())
    return any("EVs:" not in block for block in blocks if "\n- " in f"\n{block}")

