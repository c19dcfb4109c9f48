"""Is a set of trajectory files fit to train on? Every file is judged, and every fault counted."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from rich.console import Console
from rich.progress import track
from rich.table import Table

from metamon_ext.data.trajectory import (
    BLANK_ACTION,
    Trajectory,
    TrajectoryError,
    decode,
    trajectory_files,
    unpack,
)
from metamon_ext.errors import UserError

REASONS = {
    "unreadable": "cannot be opened, is damaged or ends too early",
    "too_big": "unpacks to far more than a battle can fill",
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
    "duplicate": "holds the same text, byte for byte, as a file before it",
    # Given by the filter only:
    "same_name": "has the name and format of a file before it",
    "too_short": "has fewer decisions than asked for",
    "too_long": "has more decisions than asked for",
}
EXAMPLES = 3
CHUNK = 32
FORMAT = re.compile(r"gen\d[a-z0-9]+")

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
# Came with generation 9: older data sets lack them, and Metamon fills them in.
_OPTIONAL = frozenset(("base_species", "tera_type", "can_tera", "opponent_teampreview"))


@dataclass(frozen=True)
class Verdict:
    """What one file is worth. `reason` is None for a good file, else a key of REASONS.

    `decisions` and what follows it is only known of files whose fault, if any, is `cut_off` or
    `duplicate`. `missing` counts the decisions with action -1; `digest` is of the unpacked text.
    """

    path: Path
    reason: str | None = None
    detail: str = ""
    decisions: int = 0
    missing: int = 0
    outcome: str = ""
    format: str = ""
    digest: bytes = b""


def judge(path: Path) -> Verdict:
    """Judge one file by itself. Raises nothing, whatever the file holds."""
    try:
        data = unpack(path)
        trajectory = decode(path, data)
        _check(path, trajectory)
    except TrajectoryError as error:
        return Verdict(path, error.reason, error.detail)
    last = trajectory.states[-1]
    finished = last["battle_won"] or last["battle_lost"]
    return Verdict(
        path,
        reason=None if finished else "cut_off",
        detail="" if finished else "the last state is neither won nor lost",
        decisions=trajectory.decisions,
        missing=trajectory.actions[:-1].count(BLANK_ACTION),
        outcome=trajectory.name.outcome,
        format=last["format"],
        digest=hashlib.blake2b(data, digest_size=16).digest(),
    )


def judge_all(
    paths: Sequence[Path], workers: int = 1, show_progress: bool = False
) -> Iterator[Verdict]:
    """Judge files on `workers` processes, in their order, finding duplicates among them.

    Raises UserError when a worker process dies.
    """
    seen: set[bytes] = set()
    verdicts = _in_processes(paths, min(workers, len(paths) // CHUNK))
    stderr = Console(stderr=True)
    hidden = not (show_progress and stderr.is_terminal)
    for verdict in track(verdicts, "judging", total=len(paths), console=stderr, disable=hidden):
        if verdict.digest in seen:
            detail = "the same content as a file before it"
            verdict = replace(verdict, reason="duplicate", detail=detail)
        elif verdict.digest:
            seen.add(verdict.digest)
        yield verdict


def _in_processes(paths: Sequence[Path], workers: int) -> Iterator[Verdict]:
    if workers <= 1:
        yield from map(judge, paths)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(judge, paths, chunksize=CHUNK)
        except BrokenProcessPool:
            raise UserError("a worker died, perhaps for memory: try --workers 1") from None


def _check(path: Path, trajectory: Trajectory) -> None:
    """Raise TrajectoryError with the first fault of a file that could be decoded."""
    states, actions, name = trajectory.states, trajectory.actions, trajectory.name
    if len(states) < 2:
        raise TrajectoryError(path, "no_decisions", f"{len(states)} states")
    if actions[-1] != BLANK_ACTION:
        raise TrajectoryError(path, "last_action", f"the last action is {actions[-1]}, not -1")
    for index, state in enumerate(states):
        if not _is_universal(state):
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


def _is_universal(state: dict[str, Any]) -> bool:
    """Would Metamon 1.5.1 read it? No key may be missing, and none be there that it has not."""
    return (
        _fits(state, _STATE)
        and _fits(state["player_prev_move"], _MOVE)
        and _fits(state["opponent_prev_move"], _MOVE)
        and _is_pokemon(state["player_active_pokemon"])
        and _is_pokemon(state["opponent_active_pokemon"])
        and all(map(_is_pokemon, state["available_switches"]))
        and all(type(name) is str for name in state.get("opponent_teampreview", ()))
    )


def _is_pokemon(value: object) -> bool:
    return _fits(value, _POKEMON) and all(_fits(move, _MOVE) for move in value["moves"])


def _fits(value: object, fields: Fields) -> TypeGuard[dict[str, Any]]:
    return (
        type(value) is dict
        and value.keys() <= fields.keys()
        and all(type(item) in fields[name] for name, item in value.items())
        and (len(value) == len(fields) or fields.keys() - value.keys() <= _OPTIONAL)
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


@dataclass
class AuditReport:
    """The verdicts on many files, added up. All figures but `files` and `reasons` are of good ones.

    `lengths` are decisions a file; `examples` holds up to three files of each reason.
    """

    files: int = 0
    decisions: int = 0
    missing: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.files += 1
        if verdict.reason is not None:
            self.reasons[verdict.reason] += 1
            if len(self.examples[verdict.reason]) < EXAMPLES:
                example = f"{verdict.path}: {verdict.detail}"
                self.examples[verdict.reason].append(example.encode(errors="replace").decode())
            return
        self.decisions += verdict.decisions
        self.missing += verdict.missing
        self.outcomes[verdict.outcome] += 1
        self.formats[verdict.format] += 1
        self.lengths.append(verdict.decisions)

    @property
    def usable_files(self) -> int:
        return self.files - self.reasons.total()

    @property
    def missing_action_share(self) -> float:
        """Share of decisions whose action was not revealed; the blank last one is no decision."""
        return self.missing / self.decisions if self.decisions else 0.0

    @property
    def verdict(self) -> str:
        """`usable`, `usable after quarantine`, or `unusable` when more than half the files are."""
        if self.usable_files == 0 or self.reasons.total() > self.files / 2:
            return "unusable"
        return "usable after quarantine" if self.reasons else "usable"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        lengths = self.lengths or [0]
        return {
            "verdict": self.verdict,
            "files": self.files,
            "usable_files": self.usable_files,
            "decisions": self.decisions,
            "missing_action_share": self.missing_action_share,
            "outcomes": dict(sorted(self.outcomes.items())),
            "formats": dict(sorted(self.formats.items())),
            "decisions_per_file": {
                "min": min(lengths),
                "median": statistics.median(lengths),
                "max": max(lengths),
            },
            "reasons": {
                reason: {"files": count, "examples": self.examples[reason]}
                for reason, count in self.reasons.most_common()
            },
        }


def audit(paths: Iterable[Path], workers: int = 1, show_progress: bool = False) -> AuditReport:
    """Judge files and folders of files.

    Raises UserError where a path is not there or holds no trajectory file.
    """
    files: list[Path] = []
    for path in paths:
        found = [path] if path.is_file() else list(trajectory_files(path))
        if not found:
            raise UserError(f"{path}: no .json.lz4 or .json file in it or below")
        files += found
    report = AuditReport()
    for verdict in judge_all(files, workers, show_progress):
        report.add(verdict)
    return report


def print_audit(console: Console, report: AuditReport) -> None:
    """Show what is in the files, what is wrong with them, and the verdict."""
    console.print(f"{report.usable_files:,} of {report.files:,} files are good.")
    if report.usable_files:
        length = report.to_dict()["decisions_per_file"]
        console.print(
            f"{report.decisions:,} decisions, {report.missing_action_share:.1%} without an action; "
            f"{length['min']:,} to {length['max']:,} a file, median {length['median']:,}."
        )
        counts = sorted((report.outcomes + report.formats).items())
        console.print(", ".join(f"{name} {count:,}" for name, count in counts), markup=False)
    print_reasons(console, report)
    console.print(f"Verdict: [bold]{report.verdict}[/bold]")


def print_reasons(console: Console, report: AuditReport) -> None:
    """A table of why files are set aside, with examples under it; nothing where none is."""
    if not report.reasons:
        return
    table = Table("reason", "files", "share", "the file")
    for reason, count in report.reasons.most_common():
        table.add_row(reason, f"{count:,}", f"{count / report.files:.1%}", REASONS[reason])
    console.print(table)
    for reason, _ in report.reasons.most_common():
        for example in report.examples[reason]:
            console.print(f"{reason}: {example}", markup=False, highlight=False, soft_wrap=True)
