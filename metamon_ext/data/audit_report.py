"""What an audit found, added up, for people and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metamon_ext.data.judge import REASONS, REPLAY, TRAJECTORY, Verdict

EXAMPLES = 3


@dataclass
class AuditReport:
    """The verdicts on many battles, added up: a battle is a file, or a record of a larger one.

    All figures but `files` and `reasons` are of good ones. `lengths` are decisions a trajectory,
    `turns` turns a raw replay; `months` are the dates as `2015-06`; `folder_formats` the formats
    of the files of each folder; `people` the players whose names seem to be real; `chats` counts
    the raw replays with words of people in them. `examples` holds up to three files of each reason.
    `sampled`: this is a sample, and there may be more. `notes` are sentences on what was not looked
    at.
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
        """Count one battle: a good one, or one with a reason, which `example` may illustrate."""
        self.files += 1
        if reason is not None:
            self.reasons[reason] += 1
            if len(self.examples[reason]) < EXAMPLES:
                self.examples[reason].append(_printable(example))

    def add(self, verdict: Verdict) -> None:
        """Count one battle, and what is in it if it is a good one."""
        self.count(f"{verdict.path}: {verdict.detail}", verdict.reason)
        if verdict.reason is not None:
            return
        self.kinds[verdict.kind] += 1
        self.formats[verdict.format] += 1
        self.chats += verdict.chats
        self.people.update(verdict.people)
        if verdict.rating is not None:
            self.ratings.append(verdict.rating)
        if verdict.date is not None:
            self.months[f"{verdict.date:%Y-%m}"] += 1
        if verdict.path == verdict.file:
            self.folder_formats[str(verdict.path.parent)].add(verdict.format)
        if verdict.kind == REPLAY:
            self.turns.append(verdict.turns)
            return
        self.decisions += verdict.decisions
        self.missing += verdict.missing
        self.outcomes[verdict.outcome] += 1
        self.lengths.append(verdict.decisions)

    @property
    def usable_files(self) -> int:
        return self.files - self.reasons.total()

    @property
    def missing_action_share(self) -> float:
        """Share of decisions whose action was not revealed; the blank last one is no decision."""
        return self.missing / self.decisions if self.decisions else 0.0

    @property
    def placeholders(self) -> bool:
        """Is there nothing but records with an empty log?"""
        return 0 < self.files == self.reasons["empty_log"]

    @property
    def mixed_folders(self) -> dict[str, list[str]]:
        """Folder -> formats, where files of several lie side by side."""
        mixed = {key: sorted(formats) for key, formats in self.folder_formats.items()}
        return {_printable(key): formats for key, formats in mixed.items() if len(formats) > 1}

    @property
    def verdict(self) -> str:
        """`usable`, `usable after quarantine`, or `unusable` when more than half the files are."""
        if self.usable_files == 0 or self.reasons.total() > self.files / 2:
            return "unusable"
        return "usable after quarantine" if self.reasons else "usable"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it."""
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


def placeholder_words(looked_at: int) -> str:
    """What there is to say of a download without battles."""
    return (
        f"placeholders: every record looked at has an empty log ({looked_at:,} looked at), "
        "there are no battles in this download"
    )


def print_audit(console: Console, report: AuditReport) -> None:
    """Show what is in the files, what is wrong with them, and the verdict."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    found = report.to_dict()
    sampled = " (a sample)" if report.sampled else ""
    console.print(f"{report.usable_files:,} of {report.files:,} files are good{sampled}.")
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
        say(f"Mixed: {folder} holds {', '.join(formats)} side by side.")
    if report.people or report.chats:
        names = ", ".join(found["people"]["examples"])
        say(
            f"People: {len(report.people):,} names that seem to be real"
            + (f" ({names}{', ...' if len(report.people) > EXAMPLES else ''})" if names else "")
            + f", {report.chats:,} raw replays with chat."
        )
    print_reasons(console, report)
    if report.placeholders:
        say(placeholder_words(report.files))
    console.print(Text.assemble("Verdict: ", (report.verdict, "bold")))


def print_reasons(console: Console, report: AuditReport) -> None:
    """What was not looked at, and a table of why files are set aside, with examples under it."""
    for note in report.notes:
        console.print(_printable(note), soft_wrap=True)
    if not report.reasons:
        return
    table = Table("reason", "files", "share", "the file")
    for reason, count in report.reasons.most_common():
        table.add_row(reason, f"{count:,}", f"{count / report.files:.1%}", REASONS[reason])
    console.print(table)
    for reason, _ in report.reasons.most_common():
        for example in report.examples[reason]:
            console.print(f"{reason}: {example}", soft_wrap=True)
