"""The result of an audit, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metamon_ext.data.validation import REASONS, REPLAY, TRAJECTORY, ValidationResult

EXAMPLES = 3


@dataclass
class AuditReport:
    """Counts over the validation results of many battles.

    All fields but `files`, `reasons` and `examples` count valid battles only.

    Attributes:
        files: All battles: files, and records of larger files.
        missing: Decisions whose action was not revealed.
        examples: Reason -> up to three files.
        lengths: Decisions of each trajectory.
        kinds: Trajectories and raw replays.
        turns: Turns of each raw replay.
        months: Dates, as `2015-06`.
        folder_formats: Folder -> formats of its files.
        people: Players whose names look like real ones.
        chats: Raw replays with chat.
        sampled: Only a sample was validated.
        notes: Sentences on skipped files.
    """

    files: int = 0
    decisions: int = 0
    missing: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    turns: list[int] = field(default_factory=list)
    ratings: list[int] = field(default_factory=list)
    months: Counter[str] = field(default_factory=Counter)
    folder_formats: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    people: set[str] = field(default_factory=set)
    chats: int = 0
    sampled: bool = False
    notes: list[str] = field(default_factory=list)

    def count(self, example: str, reason: str | None) -> None:
        """Count one battle: a valid one, or one with a reason and a line for `examples`."""
        self.files += 1
        if reason is not None:
            self.reasons[reason] += 1
            if len(self.examples[reason]) < EXAMPLES:
                self.examples[reason].append(_printable(example))

    def add(self, result: ValidationResult) -> None:
        """Count one battle, and its content if it is valid."""
        self.count(f"{result.path}: {result.detail}", result.reason)
        if result.reason is not None:
            return
        self.kinds[result.kind] += 1
        self.formats[result.format] += 1
        self.chats += result.chats
        self.people.update(result.people)
        if result.rating is not None:
            self.ratings.append(result.rating)
        if result.date is not None:
            self.months[f"{result.date:%Y-%m}"] += 1
        if result.path == result.file:
            self.folder_formats[str(result.path.parent)].add(result.format)
        if result.kind == REPLAY:
            self.turns.append(result.turns)
            return
        self.decisions += result.decisions
        self.missing += result.missing
        self.outcomes[result.outcome] += 1
        self.lengths.append(result.decisions)

    @property
    def usable_files(self) -> int:
        """The number of valid battles."""
        return self.files - self.reasons.total()

    @property
    def missing_action_share(self) -> float:
        """The share of decisions whose action was not revealed."""
        return self.missing / self.decisions if self.decisions else 0.0

    @property
    def placeholders(self) -> bool:
        """Whether all records have an empty log."""
        return 0 < self.files == self.reasons["empty_log"]

    @property
    def mixed_folders(self) -> dict[str, list[str]]:
        """Folder -> formats, for folders with files of several formats."""
        mixed = {key: sorted(formats) for key, formats in self.folder_formats.items()}
        return {_printable(key): formats for key, formats in mixed.items() if len(formats) > 1}

    @property
    def usable(self) -> bool:
        """Whether there are valid battles, and at least as many as invalid ones."""
        return self.usable_files > 0 and self.reasons.total() <= self.files / 2

    @property
    def verdict(self) -> str:
        """`usable`, `usable after quarantine` or `unusable`."""
        if not self.usable:
            return "unusable"
        return "usable after quarantine" if self.reasons else "usable"

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "verdict": self.verdict,
            "placeholders": self.placeholders,
            "sampled": self.sampled,
            "notes": list(map(_printable, self.notes)),
            "files": self.files,
            "usable_files": self.usable_files,
            "kinds": dict(sorted(self.kinds.items())),
            "decisions": self.decisions,
            "missing_action_share": self.missing_action_share,
            "outcomes": dict(sorted(self.outcomes.items())),
            "formats": dict(sorted(self.formats.items())),
            "mixed_folders": self.mixed_folders,
            "decisions_per_file": _spread(self.lengths),
            "turns_per_replay": _spread(self.turns),
            "ratings": {"known": len(self.ratings), **_spread(self.ratings)},
            "months": dict(sorted(self.months.items())),
            "people": {
                "names": len(self.people),
                "examples": list(map(_printable, sorted(self.people)[:EXAMPLES])),
                "replays_with_chat": self.chats,
            },
            "reasons": {
                reason: {"files": count, "examples": self.examples[reason]}
                for reason, count in self.reasons.most_common()
            },
        }


def _spread(numbers: Collection[int]) -> dict[str, float]:
    numbers = numbers or [0]
    return {"min": min(numbers), "median": statistics.median(numbers), "max": max(numbers)}


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()


def placeholder_message(records: int) -> str:
    """A message for a download without battles."""
    return (
        f"All {records:,} records that were checked are placeholders with an empty log. "
        "This download has no battles."
    )


def print_audit(console: Console, report: AuditReport) -> None:
    """Print what the files contain, their problems, and the verdict."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    found = report.to_dict()
    sampled = " (a sample)" if report.sampled else ""
    console.print(f"{report.usable_files:,} of {report.files:,} files are valid{sampled}.")
    if report.kinds[TRAJECTORY]:
        length = found["decisions_per_file"]
        console.print(
            f"{report.decisions:,} decisions, {report.missing_action_share:.1%} without an action; "
            f"{length['min']:,} to {length['max']:,} a file, median {length['median']:,}."
        )
    if report.kinds[REPLAY]:
        length = found["turns_per_replay"]
        console.print(
            f"{report.kinds[REPLAY]:,} raw replays, {length['min']:,} to {length['max']:,} turns, "
            f"median {length['median']:,}."
        )
    if report.usable_files:
        counts = sorted((report.outcomes + report.formats).items())
        say(", ".join(f"{name} {count:,}" for name, count in counts))
        first, last = min(report.months, default="?"), max(report.months, default="?")
        rating = found["ratings"]
        rated = f"{rating['min']} to {rating['max']}, median {rating['median']:,}"
        say(
            f"Played {first} to {last}; {rating['known']:,} rated"
            + (f" ({rated})." if report.ratings else ".")
        )
    for folder, formats in found["mixed_folders"].items():
        say(f"Mixed formats: {folder} contains {', '.join(formats)}.")
    if report.people or report.chats:
        names = ", ".join(found["people"]["examples"])
        say(
            f"People: {len(report.people):,} names that look real"
            + (f" ({names}{', ...' if len(report.people) > EXAMPLES else ''})" if names else "")
            + f", {report.chats:,} raw replays with chat."
        )
    print_reasons(console, report)
    if report.placeholders:
        say(placeholder_message(report.files))
    console.print(Text.assemble("Verdict: ", (report.verdict, "bold")))


def print_reasons(console: Console, report: AuditReport) -> None:
    """Print the notes, and a table of the reasons with examples."""
    for note in report.notes:
        console.print(_printable(note), soft_wrap=True)
    if not report.reasons:
        return
    table = Table("reason", "files", "share", "meaning: the file ...")
    for reason, count in report.reasons.most_common():
        table.add_row(reason, f"{count:,}", f"{count / report.files:.1%}", REASONS[reason])
    console.print(table)
    for reason, _ in report.reasons.most_common():
        for example in report.examples[reason]:
            console.print(f"{reason}: {example}", soft_wrap=True)
