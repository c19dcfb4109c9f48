"""Raw replays: the log of a battle on Pokémon Showdown as a spectator sees it.

Metamon's raw replays are files `{root}/gen1/ou/gen1ou-316031019.json`: a JSON object with `id`,
`players`, `formatid`, `uploadtime` and the protocol lines in `log`. PokéChamp's records have the
lines in `text`, and `battle_id`, `gamemode`, `month_year` and `elo` instead of the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from metamon_ext.data.trajectory import TrajectoryError, safe_player_name

FORMAT = re.compile(r"gen\d[a-z0-9]+")
CHAT = frozenset(("c", "c:", "chat", "chatmsg", "chatmsg-raw", "raw", "html", "uhtml", "inactive"))
"""Lines that people write, or that are about them. Metamon's parser ignores them."""
ARRIVALS = frozenset(("j", "J", "join", "l", "L", "leave", "n", "N", "name"))

_LINE = re.compile(r"^\|(player|win|tie|turn|tier|t:|c|c:|chat)(?:\|(.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class RawReplay:
    """One battle.

    Attributes:
        players: Their names as in the log.
        date: UTC.
        rating: The lower rating of the players, None if unknown.
        winner: A player's name.
        chats: Whether the log contains chat.
    """

    id: str
    format: str
    players: tuple[str, str]
    log: str
    date: datetime
    rating: int | None
    winner: str
    turns: int
    chats: bool

    def to_json(self) -> dict[str, Any]:
        """The JSON for Metamon's replay parser.

        The parser uses `players` in file names, so they have no underscores. The log is without
        chat, and without the lines of users who join and leave.
        """
        lines = (
            line
            for line in self.log.split("\n")
            if not line.startswith("|") or line.split("|", 2)[1] not in CHAT | ARRIVALS
        )
        return {
            "id": self.id,
            "format": self.format,
            "players": [safe_player_name(name) for name in self.players],
            "log": "\n".join(lines),
            "uploadtime": int(self.date.timestamp()),
            "formatid": self.format,
            "rating": self.rating,
        }

    def path(self, root: Path) -> Path:
        """The path that Metamon's replay parser expects: `{root}/gen1/ou/{id}.json`."""
        return root / self.format[:4] / self.format[4:] / f"{self.id}.json"


@dataclass
class _Log:
    """What is read of a log. `names` and `ratings` are by seat."""

    names: dict[str, str] = field(default_factory=dict)
    ratings: dict[str, int] = field(default_factory=dict)
    winner: str = ""
    tie: bool = False
    turns: int = 0
    tier: str = ""
    time: str = ""
    chats: bool = False

    @classmethod
    def parse(cls, log: str) -> _Log:
        parsed = cls()
        for kind, rest in _LINE.findall(log):
            if kind == "turn":
                parsed.turns += 1
            elif kind == "player":
                seat, name, *others = (part.strip() for part in (rest + "||||").split("|"))
                if seat in ("p1", "p2") and name:  # without a name: the player left
                    parsed.names[seat] = name
                    if others[1].isascii() and others[1].isdecimal():
                        parsed.ratings[seat] = int(others[1][:9])
            elif kind == "win":
                parsed.winner = rest.strip()
            elif kind == "tie":
                parsed.tie = True
            elif kind == "tier":
                parsed.tier = _plain(rest)
            elif kind == "t:":
                parsed.time = parsed.time or rest
            else:
                parsed.chats = True
        return parsed


def is_replay(content: dict[str, Any]) -> bool:
    """Whether this JSON is a replay, valid or not, rather than a trajectory."""
    return not content.keys() & {"states", "actions"} and bool(content.keys() & {"log", "text"})


def read_replay(where: Path, content: dict[str, Any]) -> RawReplay:
    """Read a record of Metamon, PokéChamp or Showdown: one battle with a winner.

    Raises TrajectoryError: `not_a_replay`, `empty_log`, `no_players`, `no_turns`, `no_winner`,
    `contradicts_outcome`, `no_format`, `format_mismatch`, `no_id` or `no_date`.
    """
    log = content.get("log", content.get("text"))
    if not isinstance(log, str):
        raise TrajectoryError(where, "not_a_replay", f"its log is {type(log).__name__}, not text")
    if not log.strip():
        raise TrajectoryError(where, "empty_log", "the log is empty")

    log = log.replace("\r\n", "\n")
    parsed = _Log.parse(log)
    names, winner = parsed.names, parsed.winner

    def invalid(reason: str, detail: str) -> TrajectoryError:
        return TrajectoryError(where, reason, detail)

    # Metamon's parser finds the winner by the letters and digits of the name.
    if len({re.sub(r"[\W_]", "", name).lower() for name in names.values()}) != 2:
        raise invalid("no_players", "the log does not name two players")
    if not parsed.turns:
        raise invalid("no_turns", "the log has no turn")
    if not winner:
        raise invalid("no_winner", "a tie" if parsed.tie else "the log ends before a player won")
    if winner not in names.values():
        raise invalid("no_winner", f"the winner {winner!r} is neither of the players")
    recorded = content.get("winner")
    if isinstance(recorded, str) and recorded not in ("", "p1", "p2", winner):
        raise invalid("contradicts_outcome", f"the record says {recorded!r}, the log {winner!r}")

    battle_format, battle_id = _format(content, parsed.tier), _id(content)
    if not battle_format:
        raise invalid("no_format", "neither the record nor the log names a format")
    if parsed.tier.startswith("gen") and parsed.tier != battle_format:
        detail = f"the record says {battle_format}, the log {parsed.tier}"
        raise invalid("format_mismatch", detail)
    if not battle_id:
        raise invalid("no_id", "the record has no id, by which its files would be named")
    if battle_format not in battle_id.lower():  # as the loader of trajectories requires
        battle_id = f"{battle_format}-{battle_id}"
    date = _date(content, parsed.time)
    if date is None:
        raise invalid("no_date", "neither the record nor the log has a date")
    rating = min(parsed.ratings.values(), default=None)
    return RawReplay(
        id=battle_id,
        format=battle_format,
        players=(names["p1"], names["p2"]),
        log=log,
        date=date,
        rating=_lowest_rating(content) if rating is None else rating,
        winner=winner,
        turns=parsed.turns,
        chats=parsed.chats,
    )


def _plain(text: str) -> str:
    """`[Gen 1] OU` as `gen1ou`, by Showdown's rule for ids."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _format(content: dict[str, Any], tier: str) -> str:
    names = (content.get(key) for key in ("formatid", "gamemode", "format"))
    plain = (_plain(text) for text in (*names, tier) if isinstance(text, str))
    return next((text for text in plain if FORMAT.fullmatch(text) and len(text) < 64), "")


def _id(content: dict[str, Any]) -> str:
    value = content.get("id", content.get("battle_id"))
    text = str(value) if isinstance(value, (str, int)) and value != "MISSING" else ""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[-128:]


def _date(content: dict[str, Any], time: str) -> datetime | None:
    for seconds in (content.get("uploadtime"), time):
        try:
            date = datetime.fromtimestamp(int(seconds), timezone.utc)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, OSError):
            continue
        if 2000 <= date.year < 2100:
            return date
    try:
        month = str(content.get("month_year")).replace("-", "").replace(" ", "")
        return datetime.strptime(month, "%B%Y").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _lowest_rating(content: dict[str, Any]) -> int | None:
    """The lower end of PokéChamp's `1200-1399` or `1800+`, or Showdown's `rating` of the battle."""
    for rating in (content.get("elo"), content.get("rating")):
        digits = re.match(r"\d{1,5}", str(rating))
        if digits:
            return int(digits[0])
    return None
