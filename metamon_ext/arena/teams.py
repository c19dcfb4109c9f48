"""Battle formats and team sets, as the simulator itself judges them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metamon_ext.arena.simulator.process import Simulator
from metamon_ext.errors import UserError, first_few
from metamon_ext.walk import Walk, print_notes

SAMPLE_TEAMS = Path(__file__).with_name("teams")
LARGEST_TEAM = 6
"""Metamon's actions are for at most so many Pokémon, of which one is active."""
HEADER = re.compile(r"^===(?:\s*\[(?P<format>.*?)\])?\s*(?P<name>.*?)\s*===\s*$", re.MULTILINE)
"""How a team begins in a backup of Showdown's teambuilder: === [gen1ou] folder/name ===."""


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

    Raises UserError if it is unknown, if it goes by another name (an alias, the name for display,
    custom rules after @@@), or if Metamon's states and actions cannot express it: not singles,
    moves of its own, rules that change with the battle, random teams of more than six.
    """
    description = simulator.ask("format", name)
    if not description["exists"]:
        raise UserError(
            f"unknown battle format {name!r}: use a name such as gen1ou or gen9randombattle"
        )
    if name != description["id"]:
        raise UserError(f"the battle format {name!r} is called {description['id']}: use that name")
    if description["game_type"] != "singles":
        raise UserError(
            f"{name} is not a singles format ({description['game_type']}): "
            "Metamon's 13 actions are for singles"
        )
    if own_moves := description["own_moves"]:
        raise UserError(
            f"{name} has moves of its own ({', '.join(own_moves[:3])}, {len(own_moves)} in all), "
            "for which neither poke-env nor Metamon has data: choose another format"
        )
    if not description["keeps_its_rules"]:
        raise UserError(
            f"{name} chooses the rules of each battle when it starts, so its generation is not "
            "known before: choose a format of one generation"
        )
    if description["random_teams"] and description["max_team_size"] > LARGEST_TEAM:
        raise UserError(
            f"{name} makes teams of {description['max_team_size']} Pokémon, and Metamon's states "
            f"have room for {LARGEST_TEAM}: choose another format"
        )
    return BattleFormat(name, description["gen"], description["random_teams"])


DEFAULT_TEAM_SET = "competitive"
"""Metamon's usual one."""
TeamDownload = Callable[[str, str], "Path | str"]
"""(battle format, name of a team set) -> the folder that it was downloaded to."""
_download: TeamDownload | None = None


def use_team_download(download: TeamDownload) -> None:
    """Download Metamon's team sets with this function where they are missing."""
    global _download
    _download = download


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
        if folder.is_dir() and any(Walk([folder], is_team_of(battle_format))):
            return folder
        reason = f"there are no {battle_format} teams in {folder}"
        if _download is not None:
            try:
                return Path(_download(battle_format, set_name))
            except Exception as error:  # of a dozen kinds, by what is wrong with the network
                reason = f"Metamon cannot download it: {type(error).__name__}"
    if name is not None:
        raise UserError(f"No team set {name!r} ({reason}). Name a folder of teams, or sample.")
    print(f"Playing our sample teams: no team set {set_name!r} ({reason}).", file=sys.stderr)
    return None


@dataclass(frozen=True)
class Export:
    """The text of one team and where it comes from.

    `format` is what the header of a backup says, empty without one. `sure`: the name of the file
    says that it is a team of the format.
    """

    name: str
    file: str
    text: str
    format: str
    sure: bool


def load_teams(
    battle_format: BattleFormat, folder: Path | None, simulator: Simulator
) -> list[Team]:
    """The team set of a format: a folder of Showdown exports, or our sample teams.

    Teams are the files named `*.{format}_team`, in subfolders too, and those of the files named
    `*.txt` that hold a Pokémon, or nothing at all, which is an error. A file may be a backup of
    several teams, each under its header; those of other formats are ignored. One line on standard
    error says which files and teams were ignored. Raises UserError, with the teams that the
    simulator's validator rejects and its reasons, unless all others are legal.
    """
    if battle_format.random_teams:
        return [Team("random", None)]
    name = battle_format.name
    source = folder or SAMPLE_TEAMS / name
    exports, ignored = find_exports(name, source)
    verdicts = simulator.ask("validate", name, [export.text for export in exports])
    teams, rejected = [], []
    for export, verdict in zip(exports, verdicts, strict=True):
        if export.text and not (export.sure or verdict["known"]):
            ignored.append(f"{export.file} (no Pokémon in it)")
        elif verdict["problems"]:
            rejected.append(f"{export.file}: {'; '.join(verdict['problems'])}")
        else:
            teams.append(Team(export.name, verdict["packed"]))
    if rejected:
        raise UserError(
            f"{len(rejected)} of {len(rejected) + len(teams)} teams in {source} are not legal in "
            f"{name}: {first_few(rejected, ' | ')}. Fix or remove them."
        )
    if not teams:
        what = f" (ignored: {first_few(ignored)})" if ignored else ""
        fix = (
            f"put Showdown exports named *.{name}_team or *.txt there"
            if folder
            else "name a folder with --team_set"
        )
        raise UserError(f"no {name} teams in {folder or 'the sample teams'}{what}: {fix}")
    if ignored:
        print(f"ignored in {source}: {first_few(ignored)}", file=sys.stderr)
    return teams


def find_exports(battle_format: str, folder: Path) -> tuple[list[Export], list[str]]:
    """The texts in a folder that may be teams of a format, and the names of what is ignored.

    Raises UserError for a file that is not UTF-8.
    """
    exports: list[Export] = []
    ignored: list[str] = []
    is_team = is_team_of(battle_format)
    found_files = Walk([folder] if folder.is_dir() else [], lambda name: True)
    for file in sorted(found_files):
        sure = is_team(file.name)
        if not sure and (file.suffix != ".txt" or file.parent != folder):
            if not (file.name.endswith("_team") or file.name.startswith(".")):
                ignored.append(str(file.relative_to(folder)))
            continue
        try:
            text = file.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UserError(f"{file} is not UTF-8 text: save the team as UTF-8") from None
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        found = split_backup(text, file, sure)
        for export in found:
            if export.format in ("", battle_format) or (sure and len(found) == 1):
                exports.append(export)
            else:
                ignored.append(f"{export.file} (of {export.format})")
    print_notes(found_files.notes)
    return exports, ignored


def is_team_of(battle_format: str) -> Callable[[str], bool]:
    """A predicate on file names: does the name say that the file is a team of the format?"""
    return lambda name: name.endswith(f".{battle_format}_team")


def split_backup(text: str, file: Path, sure: bool) -> list[Export]:
    """The teams in a text, each under its header, or the text as it is if there is no header."""
    headers = list(HEADER.finditer(text))
    if not headers:
        return [Export(file.stem, file.name, text, "", sure)]
    exports = []
    if start := text[: headers[0].start()].strip():
        exports.append(Export(file.stem, file.name, start, "", sure))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for number, (header, end) in enumerate(zip(headers, ends, strict=True), start=1):
        team = file.stem if len(headers) == 1 else f"{file.stem}:{number} {header['name']}".strip()
        where = file.name if len(headers) == 1 else f"{file.name} {header['name'] or number}"
        content = text[header.end() : end].strip()
        exports.append(Export(team, where, content, header["format"] or "", sure))
    return exports
