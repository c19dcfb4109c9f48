"""Trajectory files in Metamon's format: one battle, seen by one of its players.

`{root}/{format}/{battle_id}_{rating}_{player}_vs_{opponent}_{date}_{WIN|LOSS}.json.lz4` is an LZ4
frame around `{"states": [state, ...], "actions": [int, ...]}`, with as many actions as states.
Action i is the choice in state i; -1 is a choice that was not revealed. The last state is the end
of the battle, and its action is always -1.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zlib
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import lz4.frame
import orjson

from metamon_ext.errors import UserError
from metamon_ext.files import atomic_write
from metamon_ext.walk import Walk

BLANK_ACTION = -1
EXTENSIONS = (".json.lz4", ".json")
FILTERING_STATS = "filtering_stats.json"
MANIFEST = "manifest.json"
RESULTS = "results.sqlite"
TOURNAMENT_RESULTS = "tournament_results.json"
QUARANTINED, SET_ASIDE = "records.jsonl", "set_aside.jsonl"
RATINGS = "ratings.json"
PARSE_JOURNAL, PARSE_FAILURES = ".parse_replays.jsonl", "parse_failures.tsv"
NOT_DATA = frozenset(
    [
        *(FILTERING_STATS, MANIFEST, RESULTS, f"{RESULTS}-journal", TOURNAMENT_RESULTS),
        *(QUARANTINED, SET_ASIDE, PARSE_JOURNAL, PARSE_FAILURES),
    ]
)
"""Files that the commands of this package write next to data."""
MAX_UNPACKED_BYTES = 32 * 2**20
"""A decision takes 5 KB of JSON and the simulator ends a battle at 1,000 turns: 5 MB is long."""
MAX_PLAYER_NAME = 64

Outcome = Literal["WIN", "LOSS"]


class TrajectoryError(UserError):
    """A file is not a valid trajectory.

    `where` names the file, `reason` is a key of `metamon_ext.data.validation.REASONS`, and
    `detail` says what was found.
    """

    def __init__(self, where: Path | str, reason: str, detail: str) -> None:
        super().__init__(where, reason, detail)
        self.where = where
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


def safe_player_name(name: str) -> str:
    """Encode the name of a policy or checkpoint for file names, so that no two names collide.

    Letters, digits, `.` and `-` stay, and `_` becomes `+`. A name with other characters, or with
    more than 64, ends in `~` and 12 digits of its SHA-256.
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).replace("_", "+")
    if re.fullmatch(r"[A-Za-z0-9._-]+", name) and len(name) <= MAX_PLAYER_NAME:
        return readable
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{readable[-(MAX_PLAYER_NAME - 13) :]}~{digest}"


@dataclass(frozen=True)
class TrajectoryName:
    """The fields of a file name. `rating` is None for `Unrated`; `date` has second resolution."""

    battle_id: str
    rating: int | None
    player: str
    opponent: str
    date: datetime
    outcome: Outcome

    @property
    def filename(self) -> str:
        """The file name, without a folder."""
        rating = "Unrated" if self.rating is None else self.rating
        date = self.date.strftime("%m-%d-%Y-%H:%M:%S")
        players = f"{self.player}_vs_{self.opponent}"
        return f"{self.battle_id}_{rating}_{players}_{date}_{self.outcome}.json.lz4"

    @classmethod
    def parse(cls, filename: str) -> TrajectoryName:
        """Parse a file name without its folder.

        Raises:
            TrajectoryError: `bad_name`. Metamon's loader silently drops names without 7 or 8 parts
                between underscores, and cannot filter by an invalid rating, date or outcome.
        """

        def reject(detail: str) -> NoReturn:
            raise TrajectoryError(filename, "bad_name", detail)

        extension = next((end for end in EXTENSIONS if filename.endswith(end)), None)
        if extension is None:
            reject("ends in neither .json.lz4 nor .json; Metamon reads one trajectory a file")
        parts = filename[: -len(extension)].split("_")
        if len(parts) not in (7, 8):
            reject(f"{len(parts)} parts between underscores; Metamon reads only 7 or 8")
        separator = 4 if len(parts) == 8 and parts[4] == "vs" else 3
        if parts[separator] != "vs":
            reject("no _vs_ between the players")
        *_, date_text, outcome = parts
        if outcome not in ("WIN", "LOSS"):
            reject(f"outcome {outcome!r} is neither WIN nor LOSS")
        date = _parse_date(date_text)
        if date is None:
            reject(f"date {date_text!r} is not month-day-year[-hour:minute:second]")
        try:
            rating = None if parts[1] == "Unrated" else int(parts[1])
        except ValueError:
            reject(f"rating {parts[1]!r} is neither an integer nor Unrated")
        return cls(
            battle_id=parts[0],
            rating=rating,
            player="_".join(parts[2:separator]),
            opponent="_".join(parts[separator + 1 : -2]),
            date=date,
            outcome="WIN" if outcome == "WIN" else "LOSS",
        )


def _parse_date(text: str) -> datetime | None:
    for pattern in ("%m-%d-%Y", "%m-%d-%Y-%H:%M:%S"):
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    return None


@dataclass(frozen=True)
class Trajectory:
    """One file: `states` are JSON objects, and `actions` Metamon's indices (-1 to 12)."""

    name: TrajectoryName
    states: list[dict[str, Any]]
    actions: list[int]

    @property
    def decisions(self) -> int:
        """The number of decisions: all states but the last, where the battle is over."""
        return max(len(self.states) - 1, 0)


def check_length(where: Path | str, states: Sequence[Any], actions: Sequence[int]) -> None:
    """Raise TrajectoryError unless there is a decision, and -1 as the last action."""
    if len(states) < 2:
        raise TrajectoryError(where, "no_decisions", f"{len(states)} states")
    if actions[-1] != BLANK_ACTION:
        raise TrajectoryError(where, "last_action", f"the last action is {actions[-1]}, not -1")


def write_trajectory(
    folder: Path, name: TrajectoryName, states: Sequence[Any], actions: Sequence[int]
) -> Path:
    """Write `folder/name.filename` atomically, and return its path.

    Args:
        folder: Created if missing.
        states: Dicts or dataclasses.
        actions: One for each state; the last is -1.

    Raises:
        TrajectoryError: Metamon's loader would not read the trajectory.
        OSError: The folder cannot be written.
    """
    filename = name.filename
    for part in (name.battle_id, name.player, name.opponent):
        if "_" in part or "/" in part or "\0" in part:
            detail = f"{part!r} contains an underscore or a slash: use safe_player_name"
            raise TrajectoryError(filename, "bad_name", detail)
    TrajectoryName.parse(filename)
    if len(states) != len(actions):
        detail = f"{len(actions)} actions for {len(states)} states"
        raise TrajectoryError(filename, "lengths_differ", detail)
    check_length(filename, states, actions)

    data = orjson.dumps({"states": states, "actions": actions})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / filename
    with atomic_write(path) as temporary:
        temporary.write_bytes(lz4.frame.compress(data, content_checksum=True))
    return path


def unpack(path: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> bytes:
    """The uncompressed content of a `.json.lz4`, `.json.gz` or `.json` file.

    Raises:
        TrajectoryError: `unreadable`, or `too_big` for more than `max_bytes`. Never uncompresses
            more than that.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TrajectoryError(path, "unreadable", "not a file")
        if status.st_size > max_bytes:
            raise TrajectoryError(path, "too_big", f"{status.st_size:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise TrajectoryError(path, "unreadable", why_unreadable(path, error)) from None
    return decompress(path, data, max_bytes)


def why_unreadable(path: Path, error: Exception) -> str:
    """One line on why a file cannot be read. Names the target of a broken link."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"a broken link to {os.readlink(path)}"
    detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(detail.split())[:200]


def decompress(path: Path, data: bytes, max_bytes: int = MAX_UNPACKED_BYTES) -> bytes:
    """Decompress the bytes of a file, by the end of its name. Raises as `unpack` does."""
    decompressor: Any
    if path.name.lower().endswith(".lz4"):
        kind, decompressor = "LZ4 frame", lz4.frame.LZ4FrameDecompressor()
    elif path.name.lower().endswith(".gz"):
        kind, decompressor = "gzip stream", zlib.decompressobj(wbits=31)
    else:
        return data
    try:
        unpacked: bytes = decompressor.decompress(data, max_bytes + 1)
    except (RuntimeError, EOFError, MemoryError, zlib.error) as error:
        raise TrajectoryError(path, "unreadable", f"corrupt {kind} ({error})") from None
    if len(unpacked) > max_bytes:
        raise TrajectoryError(path, "too_big", f"unpacks to more than {max_bytes:,} bytes")
    if not decompressor.eof:
        raise TrajectoryError(path, "unreadable", f"the {kind} ends too early")
    if decompressor.unused_data:
        raise TrajectoryError(path, "unreadable", f"there is data after the {kind}")
    return unpacked


def parse_json(path: Path, data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises TrajectoryError: `not_json` or `not_a_trajectory`."""
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        detail = str(error)
        if data.startswith(BOM_UTF8):  # Metamon does not read it either
            detail = "starts with a byte order mark: save it as UTF-8 without one"
        raise TrajectoryError(path, "not_json", detail) from None
    if not isinstance(content, dict):
        detail = f"contains a {type(content).__name__}, not an object"
        raise TrajectoryError(path, "not_a_trajectory", detail)
    return content


def from_json(path: Path, content: dict[str, Any]) -> Trajectory:
    """The trajectory in the JSON content of the file `path`. Does not look into the states.

    Raises:
        TrajectoryError: `not_a_trajectory`, `lengths_differ` or `bad_name`.
    """
    states, actions = content.get("states"), content.get("actions")
    if not isinstance(states, list) or not all(type(state) is dict for state in states):
        raise TrajectoryError(path, "not_a_trajectory", "no list of states")
    if not isinstance(actions, list) or not all(type(action) is int for action in actions):
        raise TrajectoryError(path, "not_a_trajectory", "no list of integers as actions")
    if len(states) != len(actions):
        detail = f"{len(actions)} actions for {len(states)} states"
        raise TrajectoryError(path, "lengths_differ", detail)
    try:
        name = TrajectoryName.parse(path.name)
    except TrajectoryError as error:
        raise TrajectoryError(path, error.reason, error.detail) from None
    return Trajectory(name, states, actions)


def read_trajectory(path: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> Trajectory:
    """Read a trajectory file. Raises TrajectoryError as `unpack`, `parse_json` and `from_json`."""
    return from_json(path, parse_json(path, unpack(path, max_bytes)))


def is_trajectory_file(name: str, endings: tuple[str, ...] = EXTENSIONS) -> bool:
    """Whether a file is data by its name: not hidden, and not written by our own commands.

    Accepts endings in capitals. Metamon's loader silently skips such files, so they are reported.
    """
    return name.lower().endswith(endings) and not name.startswith(".") and not is_ours(name)


def is_ours(name: str) -> bool:
    """Whether one of our own commands writes a file of this name next to data."""
    return name in NOT_DATA or name.endswith(RATINGS)


def trajectory_files(
    root: Path, endings: tuple[str, ...] = EXTENSIONS, separate: Path | None = None
) -> Walk:
    """All trajectory files below a folder, in a fixed order, then the broken links.

    Iterating raises UserError if a folder cannot be listed, or if a link leads to `separate`.
    """
    return Walk([root], lambda name: is_trajectory_file(name, endings), is_ours, separate)
