"""What one battle is worth: a trajectory file, a raw replay, or a record of either."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from metamon_ext.data.replays.raw import FORMAT, RawReplay, is_replay, read_replay
from metamon_ext.data.replays.sources import Record
from metamon_ext.data.trajectory import (
    BLANK_ACTION,
    Trajectory,
    TrajectoryError,
    from_json,
    parse_json,
)

REASONS = {
    "unreadable": "cannot be opened, is damaged or ends too early",
    "too_big": "unpacks to far more than a battle can fill",
    "no_records": "holds no battle at all",
    "not_json": "does not hold JSON (NaN and Infinity are not JSON)",
    "not_a_trajectory": "holds no list of states and list of actions",
    "lengths_differ": "has not as many actions as states",
    "bad_name": "has a name that Metamon's loader drops or cannot filter by",
    "no_decisions": "ends before the first decision",
    "last_action": "has a choice where the blank last action belongs",
    "not_universal": "has states that are not Metamon's universal states",
    "format_mismatch": "names different formats in its folder, its name and its states",
    "illegal_action": "has a choice that its state does not offer",
    "contradicts_outcome": "says won in its name and lost in its last state, or the reverse",
    "cut_off": "stops before the battle was won or lost (a turn limit, or a tie)",
    # Of raw replays:
    "not_a_replay": "holds no log of a battle",
    "empty_log": "is a placeholder: its log is empty",
    "no_players": "has a log that does not name two players",
    "no_turns": "has a log without a turn",
    "no_winner": "has a log in which neither player wins: cut off, or a tie",
    "no_format": "does not say which format was played",
    "no_date": "does not say when it was, which Metamon's parser needs",
    "no_id": "has no id, by which its trajectories would be named",
    # Of both:
    "usernames": "holds names or words of people (looked for when asked)",
    "duplicate": "holds the same text, byte for byte, as a file before it",
    # Given to what is not taken a second time:
    "same_name": "has the name and format of a file before it",
    # Given by the filter only:
    "too_short": "has fewer decisions or turns than asked for",
    "too_long": "has more decisions or turns than asked for",
    "invalid_choices": "has more invalid choices of its player than asked for",
    "surplus_outcome": "is left over when a player's wins and losses are balanced",
    # Given by the download only:
    "low_rating": "has a player below the rating asked for, or of unknown rating",
    "other_format": "is of a format that was not asked for",
    # Given by the cache only:
    "unobservable": "makes the observation space, the reward or the tokenizer fail",
}
TRAJECTORY, REPLAY = "trajectory", "raw replay"
ANONYMOUS = re.compile(r"[a-z][a-z-]*\d{2,}")
"""A name as Metamon's anonymised data sets have them: mist98895. Some people's look like it too."""

Fields = Mapping[str, tuple[type, ...]]
_NUMBER = (int, float)
_STATS = ("atk", "spa", "def", "spd", "spe")
_MOVE: Fields = {
    **dict.fromkeys(("name", "move_type", "category"), (str,)),
    **dict.fromkeys(("base_power", "accuracy", "priority", "current_pp", "max_pp"), _NUMBER),
}
_POKEMON: Fields = {
    **dict.fromkeys(("name", "base_species", "types", "tera_type"), (str,)),
    **dict.fromkeys(("item", "ability", "status", "effect"), (str,)),
    **dict.fromkeys(("hp_pct", "lvl"), _NUMBER),
    **dict.fromkeys((f"{stat}_boost" for stat in (*_STATS, "accuracy", "evasion")), _NUMBER),
    **dict.fromkeys((f"base_{stat}" for stat in (*_STATS, "hp")), _NUMBER),
    "moves": (list,),
}
_STATE: Fields = {
    **dict.fromkeys(("format", "weather", "battle_field"), (str,)),
    **dict.fromkeys(("player_conditions", "opponent_conditions"), (str,)),
    **dict.fromkeys(("player_active_pokemon", "opponent_active_pokemon"), (dict,)),
    **dict.fromkeys(("player_prev_move", "opponent_prev_move"), (dict,)),
    **dict.fromkeys(("available_switches", "opponent_teampreview"), (list,)),
    **dict.fromkeys(("forced_switch", "battle_won", "battle_lost", "can_tera"), (bool,)),
    "opponents_remaining": _NUMBER,
}
_FIELDS = {"move": _MOVE, "pokemon": _POKEMON, "state": _STATE}
# Came with generation 9: older data sets lack them, and Metamon fills them in.
_OPTIONAL = frozenset(("base_species", "tera_type", "can_tera", "opponent_teampreview"))


@dataclass(frozen=True)
class Verdict:
    """What one battle is worth. `reason` is None for a good one, else a key of REASONS.

    `path` names it for people; `file` is the file that it lies in, which for a record of a larger
    one is another. What follows `kind` is only known of battles whose fault, if any, is `cut_off`,
    `usernames` or `duplicate`. `decisions` and `missing` (those with action -1) are of
    trajectories, `turns` of raw replays; `digest` is of the unpacked text. `people` are players
    whose names seem to be real ones, and `chats` says whether their words are in it.
    """

    path: Path
    reason: str | None = None
    detail: str = ""
    decisions: int = 0
    missing: int = 0
    outcome: str = ""
    format: str = ""
    digest: bytes = b""
    kind: str = ""
    file: Path = Path()
    turns: int = 0
    rating: int | None = None
    date: datetime | None = None
    people: tuple[str, ...] = ()
    chats: bool = False


def judge(source: Path | Record | TrajectoryError) -> Verdict:
    """Judge one battle by itself. Raises nothing, whatever there is in it.

    What could not even be read, and came as an error, is judged by that.
    """
    if isinstance(source, TrajectoryError):
        return Verdict(Path(source.where), source.reason, source.detail)
    record = Record(source, source) if isinstance(source, Path) else source
    kind = ""
    try:
        data = record.text()
        content = parse_json(record.where, data)
        kind = REPLAY if is_replay(content) else TRAJECTORY
        if kind == REPLAY:
            return judge_replay(record, read_replay(record.where, content))
        return judge_decoded(record, data, from_json(record.where, content))
    except TrajectoryError as error:
        return Verdict(record.where, error.reason, error.detail, kind=kind, file=record.file)


def judge_trajectory(path: Path) -> Verdict:
    """Judge a file that has to be a trajectory: a raw replay is none. Raises nothing."""
    verdict = judge(path)
    if verdict.kind != REPLAY:
        return verdict
    return Verdict(path, "not_a_trajectory", "a raw replay, not a trajectory", file=path)


def judge_decoded(record: Record, data: bytes, trajectory: Trajectory) -> Verdict:
    """Judge a trajectory that could be read from the text `data`. Raises TrajectoryError."""
    _check(record.where, trajectory)
    last, name = trajectory.states[-1], trajectory.name
    finished = last["battle_won"] or last["battle_lost"]
    # Agents' battles have ids like metamon-gen1ou-1; Showdown's own have gen1ou-1.
    human = FORMAT.match(name.battle_id) is not None
    return Verdict(
        record.where,
        reason=None if finished else "cut_off",
        detail="" if finished else "the last state is neither won nor lost",
        decisions=trajectory.decisions,
        missing=trajectory.actions[:-1].count(BLANK_ACTION),
        outcome=name.outcome,
        format=last["format"],
        digest=_digest(data),
        kind=TRAJECTORY,
        file=record.file,
        rating=name.rating,
        date=name.date,
        people=_people(name.player, name.opponent) if human else (),
    )


def judge_replay(record: Record, replay: RawReplay) -> Verdict:
    """Judge a raw replay that could be read."""
    folder = "".join(record.where.parts[-3:-1])
    if re.fullmatch(r"gen\d", "".join(record.where.parts[-3:-2])) and folder != replay.format:
        detail = f"a {replay.format} battle, where Metamon looks for {folder}"
        raise TrajectoryError(record.where, "format_mismatch", detail)
    return Verdict(
        record.where,
        format=replay.format,
        digest=_digest(replay.log.encode(errors="surrogatepass")),
        kind=REPLAY,
        file=record.file,
        turns=replay.turns,
        rating=replay.rating,
        date=replay.date.replace(tzinfo=None),
        people=_people(*replay.players),
        chats=replay.chats,
    )


def _people(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if not ANONYMOUS.fullmatch(name))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _check(path: Path, trajectory: Trajectory) -> None:
    """Raise TrajectoryError with the first fault of a file that could be decoded."""
    states, actions, name = trajectory.states, trajectory.actions, trajectory.name
    if len(states) < 2:
        raise TrajectoryError(path, "no_decisions", f"{len(states)} states")
    if actions[-1] != BLANK_ACTION:
        raise TrajectoryError(path, "last_action", f"the last action is {actions[-1]}, not -1")
    known: dict[str, dict[str, Any]] = {}
    for index, state in enumerate(states):
        if not _is_universal(state, known):
            raise TrajectoryError(path, "not_universal", f"state {index}{_unlike(state)}")

    battle_format = states[0]["format"]
    formats = {state["format"] for state in states}
    if not FORMAT.fullmatch(battle_format):
        raise TrajectoryError(path, "format_mismatch", f"{battle_format!r} is no format's name")
    if FORMAT.fullmatch(path.parent.name):
        formats.add(path.parent.name)
    if len(formats) > 1:
        raise TrajectoryError(path, "format_mismatch", " and ".join(sorted(formats)))
    if battle_format not in re.sub(r"[\[\] ]", "", name.battle_id).lower():
        detail = f"{battle_format!r} is not in the battle id {name.battle_id!r}"
        raise TrajectoryError(path, "format_mismatch", detail)

    for index, (state, action) in enumerate(zip(states, actions, strict=True)):
        if not _is_possible(state, action):
            detail = f"action {action} is impossible in state {index}"
            raise TrajectoryError(path, "illegal_action", detail)

    won, lost = states[-1]["battle_won"], states[-1]["battle_lost"]
    if lost if name.outcome == "WIN" else won:
        detail = f"a {name.outcome} whose last state has battle_won {won}, battle_lost {lost}"
        raise TrajectoryError(path, "contradicts_outcome", detail)


def _is_possible(state: dict[str, Any], action: int) -> bool:
    """The rule that Metamon's replay parser and its legal-action mask go by.

    -1 was not revealed, 0 to 3 are moves, 9 to 12 moves with terastallization, neither in a forced
    switch, and 4 to 8 switches. Whether a move had PP or was disabled is not in a state.
    """
    if action == BLANK_ACTION:
        return True
    if 4 <= action <= 8:
        return action - 4 < len(state["available_switches"])
    if state["forced_switch"]:
        return False
    moves = len(state["player_active_pokemon"]["moves"])
    if 9 <= action <= 12:
        return action - 9 < moves and state.get("can_tera", False)
    return 0 <= action <= 3 and action < moves


def _is_universal(state: dict[str, Any], known: dict[str, dict[str, Any]]) -> bool:
    """Would Metamon 1.5.1 read it? No key may be missing, and none be there that it has not.

    `known` are Pokémon that passed, by name. One that equals them does too: most of a team is in
    a state as it was in the one before.
    """
    if not (
        _fits(state, "state")
        and _fits(state["player_prev_move"], "move")
        and _fits(state["opponent_prev_move"], "move")
        and all(type(name) is str for name in state.get("opponent_teampreview", ()))
    ):
        return False
    team = state["available_switches"]
    for pokemon in (state["player_active_pokemon"], state["opponent_active_pokemon"], *team):
        name = pokemon.get("name") if type(pokemon) is dict else None
        if type(name) is not str:
            return False
        if known.get(name) != pokemon:
            if not _is_pokemon(pokemon):
                return False
            known[name] = pokemon
    return True


def _is_pokemon(value: object) -> TypeGuard[dict[str, Any]]:
    return _fits(value, "pokemon") and all(_fits(move, "move") for move in value["moves"])


def _fits(value: object, kind: str) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict and _is_shape(kind, tuple(value), tuple(map(type, value.values())))


@lru_cache(maxsize=4096)  # a data set has a handful, and asks a hundred times a state
def _is_shape(kind: str, names: tuple[str, ...], types: tuple[type, ...]) -> bool:
    fields = _FIELDS[kind]
    return (
        fields.keys() >= set(names)
        and fields.keys() - names <= _OPTIONAL
        and all(one in fields[name] for name, one in zip(names, types, strict=True))
    )


def _unlike(state: dict[str, Any]) -> str:
    """What is wrong with a state that is not universal, after the words `state 7`."""
    missing = sorted(_STATE.keys() - state.keys() - _OPTIONAL)
    unknown = sorted(state.keys() - _STATE.keys())
    if missing:
        return f" lacks {', '.join(missing)}"
    if unknown:
        return f" has keys that Metamon 1.5.1 does not know: {', '.join(unknown)}"
    return " has a value of the wrong kind, or a Pokémon or move with other keys than Metamon's"
