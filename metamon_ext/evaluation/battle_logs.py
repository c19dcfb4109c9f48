"""The battle logs that Metamon writes: a CSV for each player, every battle once from each side."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metamon_ext.errors import first_few

BASELINE_TURN_LIMIT = 200
"""Decisions after which Metamon breaks off a battle against a baseline, and writes LOSS."""

SHOWDOWN_NAME_LENGTH = 18
"""What is longer is cut by the server."""

Matchup = tuple[str, str, str]
"""A player, its opponent, and the format."""


@dataclass(frozen=True)
class BattleLogs:
    """What some players' logs say together.

    `scores`: of each matchup's battles, for its first player, in their order; None: unfinished.
    `lengths`: mean number of decisions that a player took in a battle. `notes`: sentences on what
    the logs leave open.
    """

    scores: Mapping[Matchup, Sequence[float | None]]
    lengths: Mapping[str, float]
    notes: Sequence[str]


def find_logs(folder: Path) -> list[Path]:
    """The battle logs in `team_results/` or, where there are none, in the folder itself."""
    for place in (folder / "team_results", folder):
        if logs := sorted(path for path in place.glob("*.csv") if _is_log(path)):
            return logs
    return []


def _is_log(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        return lines.readline().startswith("Player Username")


def read_logs(paths: Sequence[Path]) -> BattleLogs:
    """Read `battle_log_{player}_{format}.csv` files: a header and a line for each battle of the
    player, `player,team file,opponent,WIN or LOSS,decisions,battle id`.

    A battle of two players who both kept a log is there twice. In Metamon's logs under two ids, so
    that the n-th of a with b is taken for the n-th of b with a; in ours, which also say TIE, under
    one. Names are taken as they are: nothing is cut off, and no two become one.
    """
    views, lengths, notes = _read_lines(paths)
    found: Counter[str] = Counter()
    unlike: list[str] = []
    scores: dict[Matchup, list[float | None]] = {}
    for player, opponent, battle_format in sorted(views):
        mine = views[player, opponent, battle_format]
        theirs = views.get((opponent, player, battle_format), {})
        if player > opponent and theirs:
            continue  # read from the other side
        if player == opponent:
            theirs = {}
        battles = list(_join(mine, theirs))
        if not battles:  # either log is right about its battles: the longer one is read
            unlike.append(f"{player} - {opponent}")
            found["not joined"] += min(len(mine), len(theirs))
            battles = list(_join(mine, {}) if len(mine) >= len(theirs) else _join({}, theirs))
        judged = scores[player, opponent, battle_format] = []
        for sides in battles:
            if sides not in _SCORES:
                found["contradictions"] += 1
                continue
            judged.append(_SCORES[sides])
            found["one side"] += None in sides
            found["ties"] += sides == ("LOSS", "LOSS")
            found["cut"] += _SCORES[sides] is None
    names = sorted({name for player, opponent, _ in views for name in (player, opponent)})
    notes += _on_battles(found, unlike) + _on_names(names)
    return BattleLogs(scores, lengths, notes)


def _read_lines(
    paths: Sequence[Path],
) -> tuple[dict[Matchup, dict[str, str]], dict[str, float], list[str]]:
    """Each player's results by battle id (WIN, LOSS, TIE, or CUT for a loss that may be a battle
    broken off), mean lengths by player, and notes."""
    views: dict[Matchup, dict[str, str]] = defaultdict(dict)
    lengths: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    damaged, repeated = [], 0
    for path in paths:
        battle_format = path.stem.rsplit("_", 1)[-1]
        for number, row in _rows(path):
            try:
                # The team file's path may have commas in it; a name or a number has none.
                player, opponent, result, length, battle = row[0], *row[-4:]
                decisions = int(length)
                if len(row) < 6 or result not in ("WIN", "LOSS", "TIE"):
                    raise ValueError(row)
            except ValueError:
                damaged.append(f"{path.name}, line {number}")
                continue
            view = views[player, opponent, battle_format]
            if battle in view:
                repeated += 1
                continue
            cut = result == "LOSS" and decisions == BASELINE_TURN_LIMIT + 1
            view[battle] = "CUT" if cut else result
            lengths[player][0] += decisions
            lengths[player][1] += 1
    notes = []
    if damaged:
        notes.append(
            f"Lines left out, as they are not battles: {len(damaged):,} ({first_few(damaged)})."
        )
    if repeated:
        notes.append(f"Lines that are there twice, counted once: {repeated:,}.")
    return views, {player: total / n for player, (total, n) in lengths.items()}, notes


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines below the header, with their numbers, split at the commas."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if number > 1 and line.strip():
                yield number, next(csv.reader([line.replace("\0", "\ufffd")]))


def _join(
    mine: Mapping[str, str], theirs: Mapping[str, str]
) -> Iterator[tuple[str | None, str | None]]:
    """Both sides' result of each battle, None for a side that has not logged it; nothing at all
    where the logs cannot be of the same battles."""
    if not (mine and theirs) or mine.keys() & theirs.keys():
        for battle in dict.fromkeys((*mine, *theirs)):
            yield mine.get(battle), theirs.get(battle)
    elif len(mine) == len(theirs):
        both = list(zip(mine.values(), theirs.values(), strict=True))
        if ("WIN", "WIN") not in both:
            yield from both


_SCORES: dict[tuple[str | None, str | None], float | None] = {
    ("WIN", "LOSS"): 1.0,
    ("WIN", "CUT"): 1.0,
    ("WIN", None): 1.0,
    (None, "LOSS"): 1.0,
    ("LOSS", "WIN"): 0.0,
    ("CUT", "WIN"): 0.0,
    ("LOSS", None): 0.0,
    (None, "WIN"): 0.0,
    ("LOSS", "LOSS"): 0.5,
    ("TIE", "TIE"): 0.5,
    ("TIE", None): 0.5,
    (None, "TIE"): 0.5,
    **dict.fromkeys(
        [("CUT", None), (None, "CUT"), ("CUT", "CUT"), ("CUT", "LOSS"), ("LOSS", "CUT")], None
    ),
}
"""What both sides' results mean for the first. The others contradict each other."""


def _on_battles(found: Mapping[str, int], unlike: Sequence[str]) -> list[str]:
    said = {
        "one side": "Battles logged by one side only, where a tie reads LOSS: {:,}.",
        "ties": "Battles that both sides logged as LOSS, counted as ties: {:,}.",
        "cut": f"Losses of exactly {BASELINE_TURN_LIMIT + 1} decisions, counted as unfinished, as "
        "Metamon writes LOSS too where it breaks a battle off: {:,}.",
        "contradictions": "Battles left out, as the two sides contradict each other: {:,}.",
        "not joined": "The logs of the two sides do not fit each other, so that the longer one "
        f"alone counts ({first_few(unlike)}); lines left out: {{:,}}.",
    }
    return [text.format(found[what]) for what, text in said.items() if found[what]]


def _on_names(names: Sequence[str]) -> list[str]:
    """Where two players may share a name here, or one player have two."""
    notes = []
    if drawn := [name for name in names if re.fullmatch(r"MM-\d{10}", name)]:
        notes.append(
            "Metamon draws such names anew for every environment, so that they may be one and the "
            f"same model, but each is rated for itself: {first_few(drawn)}."
        )
    if cut := [name for name in names if len(name) == SHOWDOWN_NAME_LENGTH]:
        notes.append(
            f"Names of {SHOWDOWN_NAME_LENGTH} characters may have been cut, so that one of them "
            f"may stand for several players: {first_few(cut)}."
        )
    accounts: dict[str, list[str]] = defaultdict(list)
    for name in names:
        accounts[re.sub(r"[^a-z0-9]", "", name.lower())].append(name)
    if alike := [" and ".join(same) for same in accounts.values() if len(same) > 1]:
        notes.append(
            "On Showdown these are one account, and here each is rated for itself: "
            f"{first_few(alike)}."
        )
    return notes
