"""Battle formats and team sets, as the simulator itself judges them."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from metamon_ext.arena.simulator import Simulator
from metamon_ext.arena.tracker import has_metamon
from metamon_ext.errors import UserError

SAMPLE_TEAMS = Path(__file__).with_name("teams")


@dataclass(frozen=True)
class Team:
    """A legal team. `name` is its file's; `packed` is what the simulator takes, None = random."""

    name: str
    packed: str | None


@dataclass(frozen=True)
class BattleFormat:
    """A singles format of the simulator. `random_teams`: the simulator makes the teams."""

    name: str
    gen: int
    random_teams: bool


def load_format(name: str, simulator: Simulator) -> BattleFormat:
    """Look a format up in the simulator.

    Raises UserError if it is unknown or not singles, or goes by another name: an alias, the name
    for display, custom rules after @@@.
    """
    description = simulator.ask("format", name)
    if not description["exists"]:
        raise UserError(
            f"unknown battle format {name!r}: use a name such as gen1ou or gen9randombattle"
        )
    if name != description["id"]:
        raise UserError(f"the battle format {name!r} is called {description['id']}: use that name")
    if not description["singles"]:
        raise UserError(
            f"{name} is not a singles format: the 13 actions of Metamon are for singles"
        )
    return BattleFormat(name, description["gen"], description["random_teams"])


DEFAULT_TEAM_SET = "competitive"
"""Metamon's usual one."""


def find_team_set(name: str | None, battle_format: str) -> Path | None:
    """The folder of a team set.

    Args:
        name: a path, the name of one of Metamon's sets, or "sample" for ours. Metamon's are looked
            for in METAMON_CACHE_DIR and, where Metamon is installed, downloaded. None takes
            `DEFAULT_TEAM_SET`, or ours where it cannot be had, and says so in one line.
        battle_format: the format of the teams.

    Returns:
        None for our sample teams.

    Raises:
        UserError: the set that was named is not here.
    """
    if name == "sample":
        return None
    if name is not None and Path(name).is_dir():
        return Path(name)
    set_name = name or DEFAULT_TEAM_SET
    cache = os.environ.get("METAMON_CACHE_DIR")
    reason = "METAMON_CACHE_DIR is not set"
    if cache:
        folder = Path(cache, "teams", set_name)
        if any(folder.rglob(f"*.{battle_format}_team")):
            return folder
        reason = f"there are no {battle_format} teams in {folder}"
        if has_metamon():
            try:
                download = importlib.import_module("metamon.data.download").download_teams
                return Path(download(battle_format, set_name))
            except Exception as error:  # of a dozen kinds, by what is wrong with the network
                reason = f"Metamon cannot download it: {type(error).__name__}"
    if name is not None:
        raise UserError(f"No team set {name!r} ({reason}). Name a folder of teams, or sample.")
    print(f"Playing our sample teams: no team set {set_name!r} ({reason}).", file=sys.stderr)
    return None


def load_teams(
    battle_format: BattleFormat, folder: Path | None, simulator: Simulator
) -> list[Team]:
    """The team set of a format: a folder of Showdown exports, or our sample teams.

    Files are `*.{format}_team`, in folders of it too, or `*.txt`. Raises UserError, with every team
    that the simulator's validator refuses and its reasons, unless all of them are legal.
    """
    if battle_format.random_teams:
        return [Team("random", None)]
    name = battle_format.name
    source = folder or SAMPLE_TEAMS / name
    files = sorted({*source.rglob(f"*.{name}_team"), *source.glob("*.txt")})
    if not files:
        cure = (
            f"put Showdown exports named *.{name}_team or *.txt there"
            if folder
            else "name a folder with --team_set"
        )
        raise UserError(f"no {name} teams in {folder or 'the sample teams'}: {cure}")
    try:
        exports = [file.read_text(encoding="utf-8") for file in files]
    except UnicodeDecodeError:
        raise UserError(
            f"a team file in {source} is not UTF-8 text: save it as a Showdown export"
        ) from None
    verdicts = simulator.ask("validate", name, exports)
    refused = [
        f"  {file.name}: {'; '.join(verdict['problems'])}"
        for file, verdict in zip(files, verdicts, strict=True)
        if verdict["problems"]
    ]
    if refused:
        raise UserError(
            f"{len(refused)} of {len(files)} teams in {source} are not legal in {name}; "
            "mend or remove them:\n" + "\n".join(refused)
        )
    return [Team(file.stem, v["packed"]) for file, v in zip(files, verdicts, strict=True)]
