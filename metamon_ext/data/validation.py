"""Validation of one battle: a trajectory file, a raw replay, or a record of a larger file."""

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
from metamon_ext.data.replays.readers import Record
from metamon_ext.data.trajectory import (
    BLANK_ACTION,
    Trajectory,
    TrajectoryError,
    check_length,
    from_json,
    parse_json,
)

REASONS = {
    "unreadable": "cannot be opened, is corrupt or ends too early",
    "too_big": "unpacks to far more than a battle can fill",
    "no_records": "contains no battle",
    "not_json": "is not JSON (NaN and Infinity are not JSON)",
    "not_a_trajectory": "has no list of states and list of actions",
    "lengths_differ": "has different numbers of actions and states",
    "bad_name": "has a name that Metamon's loader drops or cannot filter by",
    "no_decisions": "ends before the first decision",
    "last_action": "has a choice after the end of the battle, where the last action must be -1",
    "not_universal": "has states that are not Metamon's universal states",
    "format_mismatch": "names different formats in its folder, its name and its states",
    "illegal_action": "has a choice that is not legal in its state",
    "contradicts_outcome": "won by its name and lost by its last state, or the reverse",
    "cut_off": "stops before the battle was won or lost (a turn limit, or a tie)",
    # Raw replays:
    "not_a_replay": "has no battle log",
    "empty_log": "is a placeholder: its log is empty",
    "no_players": "has a log that does not name two players",
    "no_turns": "has a log without a turn",
    "no_winner": "has a log in which neither player wins: cut off, or a tie",
    "no_format": "does not name the battle format",
    "no_date": "has no date, which Metamon's parser needs",
    "no_id": "has no id, by which its trajectories would be named",
    # Both:
    "usernames": "contains real names or chat (checked on request)",
    "duplicate": "has the same content as an earlier file",
    "same_name": "has the name and format of an earlier file",
    # The filter only:
    "too_short": "has fewer decisions or turns than the minimum",
    "too_long": "has more decisions or turns than the maximum",
    "invalid_choices": "has a higher rate of invalid choices than the maximum",
    "surplus_outcome": "is in excess when a player's wins and losses are balanced",
    # The download only:
    "low_rating": "has a player below the minimum rating, or of unknown rating",
    "other_format": "is of a format that was not requested",
    # The cache only:
    "unobservable": "makes the observation space, the reward or the tokenizer fail",
}
TRAJECTORY, REPLAY = "trajectory", "raw replay"
ANONYMOUS = re.compile(r"[a-z][a-z-]*\d{2,}")
"""A name as in Metamon's anonymized datasets: mist98895. Some real names match too."""

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
# New in generation 9: older datasets lack them, and Metamon fills them in.
_OPTIONAL = frozenset(("base_species", "tera_type", "can_tera", "opponent_teampreview"))


@dataclass(frozen=True)
class ValidationResult:
    """What validation found in one battle. `reason` is None if it is valid, else a key of REASONS.

    `path` names the battle in messages; `file` is the file that contains it, which differs from
    `path` for a record of a larger file. The fields after `kind` are known for valid battles, and
    for the reasons `cut_off`, `usernames` and `duplicate`: `decisions` and `missing` (those with
    action -1) of a trajectory, `turns` of a raw replay, and the `digest` of the uncompressed text.
    `people` are players whose names look like real ones; `chats` is whether there is chat.
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


def validate(source: Path | Record | TrajectoryError) -> ValidationResult:
    """Validate one battle. Never raises. An error from reading the source becomes the reason."""
    if isinstance(source, TrajectoryError):
        return ValidationResult(Path(source.where), source.reason, source.detail)
    record = Record(source, source) if isinstance(source, Path) else source
    kind = ""
    try:
        data = record.text()
        content = parse_json(record.where, data)
        kind = REPLAY if is_replay(content) else TRAJECTORY
        if kind == REPLAY:
            return validate_replay(record, read_replay(record.where, content))
        return validate_trajectory(record, data, from_json(record.where, content))
    except TrajectoryError as error:
        return ValidationResult(
            record.where, error.reason, error.detail, kind=kind, file=record.file
        )


def validate_trajectory_file(path: Path) -> ValidationResult:
    """Validate a file that must be a trajectory, not a raw replay. Never raises."""
    result = validate(path)
    if result.kind != REPLAY:
        return result
    return ValidationResult(path, "not_a_trajectory", "a raw replay, not a trajectory", file=path)


def validate_trajectory(record: Record, data: bytes, trajectory: Trajectory) -> ValidationResult:
    """Validate a trajectory that was read from the text `data`. Raises TrajectoryError."""
    _check(record.where, trajectory)
    last, name = trajectory.states[-1], trajectory.name
    finished = last["battle_won"] or last["battle_lost"]
    # Battles of agents have ids like metamon-gen1ou-1, those of people gen1ou-1.
    human = FORMAT.match(name.battle_id) is not None
    return ValidationResult(
        record.where,
        reason=None if finished else "cut_off",
        detail="" if finished else "the last state is neither won nor lost",
        decisions=trajectory.decisions,
        missing=trajectory.actions[:-1].count(BLANK_ACTION),
        outcome=name.outcome,
        format=last["format"],
        digest=content_digest(data),
        kind=TRAJECTORY,
        file=record.file,
        rating=name.rating,
        date=name.date,
        people=_people(name.player, name.opponent) if human else (),
    )


def validate_replay(record: Record, replay: RawReplay) -> ValidationResult:
    """Validate a raw replay that was read. Raises TrajectoryError."""
    folder = "".join(record.where.parts[-3:-1])
    if re.fullmatch(r"gen\d", "".join(record.where.parts[-3:-2])) and folder != replay.format:
        detail = f"a {replay.format} battle, where Metamon looks for {folder}"
        raise TrajectoryError(record.where, "format_mismatch", detail)
    return ValidationResult(
        record.where,
        format=replay.format,
        digest=content_digest(replay.log.encode(errors="surrogatepass")),
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


def content_digest(data: bytes) -> bytes:
    """16 bytes that identify a battle by its uncompressed text."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _check(path: Path, trajectory: Trajectory) -> None:
    """Raise TrajectoryError for the first problem of a decoded file."""
    states, actions, name = trajectory.states, trajectory.actions, trajectory.name
    check_length(path, states, actions)
    known: dict[str, dict[str, Any]] = {}
    for index, state in enumerate(states):
        if not _is_universal(state, known):
            raise TrajectoryError(path, "not_universal", f"state {index}{_problem(state)}")

    battle_format = states[0]["format"]
    formats = {state["format"] for state in states}
    if not FORMAT.fullmatch(battle_format):
        raise TrajectoryError(path, "format_mismatch", f"{battle_format!r} is not a format")
    if FORMAT.fullmatch(path.parent.name):
        formats.add(path.parent.name)
    if len(formats) > 1:
        raise TrajectoryError(path, "format_mismatch", " and ".join(sorted(formats)))
    if battle_format not in re.sub(r"[\[\] ]", "", name.battle_id).lower():
        detail = f"{battle_format!r} is not in the battle id {name.battle_id!r}"
        raise TrajectoryError(path, "format_mismatch", detail)

    for index, (state, action) in enumerate(zip(states, actions, strict=True)):
        if not _is_legal(state, action):
            detail = f"action {action} is not legal in state {index}"
            raise TrajectoryError(path, "illegal_action", detail)

    won, lost = states[-1]["battle_won"], states[-1]["battle_lost"]
    if lost if name.outcome == "WIN" else won:
        detail = f"a {name.outcome} whose last state has battle_won {won}, battle_lost {lost}"
        raise TrajectoryError(path, "contradicts_outcome", detail)


def _is_legal(state: dict[str, Any], action: int) -> bool:
    """The rule of Metamon's replay parser and legal-action mask.

    -1 is unknown, 0 to 3 are moves, 4 to 8 switches, and 9 to 12 moves with terastallization. A
    forced switch allows no move. A state does not say which moves are disabled or out of PP.
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
    """Whether Metamon 1.5.1 can read a state. It accepts neither missing nor unknown keys.

    `known` maps names to valid Pokémon. An equal one is not checked again: most of a team does not
    change from one state to the next.
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


@lru_cache(maxsize=4096)  # a dataset has few shapes, and each state asks a hundred times
def _is_shape(kind: str, names: tuple[str, ...], types: tuple[type, ...]) -> bool:
    fields = _FIELDS[kind]
    return (
        fields.keys() >= set(names)
        and fields.keys() - names <= _OPTIONAL
        and all(one in fields[name] for name, one in zip(names, types, strict=True))
    )


def _problem(state: dict[str, Any]) -> str:
    """Why a state is not universal, to be appended to `state 7`."""
    missing = sorted(_STATE.keys() - state.keys() - _OPTIONAL)
    unknown = sorted(state.keys() - _STATE.keys())
    if missing:
        return f" lacks {', '.join(missing)}"
    if unknown:
        return f" has keys that Metamon 1.5.1 does not know: {', '.join(unknown)}"
    return " has a value of the wrong type, or a Pokémon or move with other keys than Metamon's"
