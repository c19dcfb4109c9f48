"""Raw replays: what a spectator of a battle on Pokémon Showdown saw, as the site saves it.

Metamon's raw replays are `{root}/gen1/ou/gen1ou-316031019.json`: a JSON object with `id`,
`players`, `formatid`, `uploadtime` and the protocol lines in `log`. PokéChamp's records have the
lines in `text`, and `battle_id`, `gamemode`, `month_year` and `elo` instead of the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from metamon_ext.data.trajectory import TrajectoryError, safe_player_name

FORMAT = re.compile(r"gen\d[a-z0-9]+")
CHAT = frozenset(("c", "c:", "chat", "chatmsg", "chatmsg-raw", "raw", "html", "uhtml", "inactive"))
"""Lines that people write, or that are about them. Metamon's parser reads none of these."""
COMINGS = frozenset(("j", "J", "join", "l", "L", "leave", "n", "N", "name"))

_TOLD = re.compile(r"^\|(player|win|tie|turn|tier|t:|c|c:|chat)(?:\|(.*))?$", re.MULTILINE)


@dataclass(frozen=True)
class RawReplay:
    """One battle. `date` is UTC; `rating` is the lower of the players' ratings, None if unknown.

    `winner` is a player's name, in `players` as it is in the log. `chats` says if the log holds
    what people wrote.
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
        """What Metamon's replay parser reads.

        It puts `players` into file names, so they are without underscores here. Chat, and who came
        and went, is left out of the log.
        """
        lines = (
            line
            for line in self.log.split("\n")
            if not line.startswith("|") or line.split("|", 2)[1] not in CHAT | COMINGS
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
        """Where Metamon's replay parser looks for it: `{root}/gen1/ou/{id}.json`."""
        return root / self.format[:4] / self.format[4:] / f"{self.id}.json"


def is_replay(content: dict[str, Any]) -> bool:
    """Is this JSON a replay, good or bad, rather than a trajectory?"""
    return not content.keys() & {"states", "actions"} and bool(content.keys() & {"log", "text"})


def read_replay(where: Path, content: dict[str, Any]) -> RawReplay:
    """A record of Metamon's, PokéChamp's or Showdown's as one battle that somebody won.

    Raises TrajectoryError: `not_a_replay`, `empty_log`, `no_players`, `no_turns`, `no_winner`,
    `contradicts_outcome`, `no_format`, `format_mismatch`, `no_id` or `no_date`.
    """
    log = content.get("log", content.get("text"))
    if not isinstance(log, str):
        raise TrajectoryError(where, "not_a_replay", f"its log is {type(log).__name__}, not text")
    if not log.strip():
        raise TrajectoryError(where, "empty_log", "there is no battle in it")

    log = log.replace("\r\n", "\n")
    names, ratings = {}, {}
    winner, tie, turns, tier, time, chats = "", False, 0, "", None, False
    for kind, rest in _TOLD.findall(log):
        if kind == "turn":
            turns += 1
        elif kind == "player":
            seat, name, *others = (field.strip() for field in (rest + "||||").split("|"))
            if seat in ("p1", "p2") and name:  # without a name it says that the player left
                names[seat] = name
                if others[1].isascii() and others[1].isdecimal():
                    ratings[seat] = int(others[1][:9])
        elif kind == "win":
            winner = rest.strip()
        elif kind == "tie":
            tie = True
        elif kind == "tier":
            tier = _plain(rest)
        elif kind == "t:":
            time = time or rest
        else:
            chats = True

    def refuse(reason: str, detail: str) -> TrajectoryError:
        return TrajectoryError(where, reason, detail)

    # Metamon's parser, which needs to know which of them won, compares letters and digits.
    if len({re.sub(r"[\W_]", "", name).lower() for name in names.values()}) != 2:
        raise refuse("no_players", "the log does not name two players")
    if not turns:
        raise refuse("no_turns", "the log holds no turn")
    if not winner:
        raise refuse("no_winner", "a tie" if tie else "the log ends before anybody won")
    if winner not in names.values():
        raise refuse("no_winner", f"the winner {winner!r} is neither of the players")
    told = content.get("winner")
    if isinstance(told, str) and told and told not in ("p1", "p2") and told != winner:
        raise refuse("contradicts_outcome", f"the record says {told!r}, the log {winner!r}")

    battle_format, battle_id = _format(content, tier), _id(content)
    if not battle_format:
        raise refuse("no_format", "neither the record nor the log names a format")
    if tier.startswith("gen") and tier != battle_format:
        raise refuse("format_mismatch", f"the record says {battle_format}, the log {tier}")
    if not battle_id:
        raise refuse("no_id", "the record has no id, by which its files would be named")
    if battle_format not in battle_id.lower():  # as the trajectories' loader wants it
        battle_id = f"{battle_format}-{battle_id}"
    date = _date(content, time)
    if date is None:
        raise refuse("no_date", "neither the record nor the log says when it was")
    rating = min(ratings.values(), default=None)
    return RawReplay(
        id=battle_id,
        format=battle_format,
        players=(names["p1"], names["p2"]),
        log=log,
        date=date,
        rating=_lowest_rating(content) if rating is None else rating,
        winner=winner,
        turns=turns,
        chats=chats,
    )


def _plain(text: str) -> str:
    """`[Gen 1] OU` as `gen1ou`, by Showdown's own rule for ids."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _format(content: dict[str, Any], tier: str) -> str:
    told = (content.get(key) for key in ("formatid", "gamemode", "format"))
    plain = (_plain(text) for text in (*told, tier) if isinstance(text, str))
    return next((text for text in plain if FORMAT.fullmatch(text) and len(text) < 64), "")


def _id(content: dict[str, Any]) -> str:
    told = content.get("id", content.get("battle_id"))
    text = str(told) if isinstance(told, (str, int)) and told != "MISSING" else ""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[-128:]


def _date(content: dict[str, Any], time: str | None) -> datetime | None:
    for told in (content.get("uploadtime"), time):
        try:
            date = datetime.fromtimestamp(int(told), timezone.utc)  # type: ignore[arg-type]
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
    for told in (content.get("elo"), content.get("rating")):
        digits = re.match(r"\d{1,5}", str(told))
        if digits:
            return int(digits[0])
    return None
