"""Play every singles format of the simulator and write the table of docs/formats.md.

    python -m tests.support.sweep_formats [--battles 24] [--formats FORMAT ...]
        [--output docs/formats.md]

A format plays if all of its battles are finished and all of the trajectories saved from them pass
the audit. The others are rejected up front, by what the simulator says of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.conditions import Conditions
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.schedule import BattleSpec, matchup
from metamon_ext.arena.simulator.process import (
    SIMULATOR_VERSION,
    Simulator,
    find_node,
    find_simulator,
)
from metamon_ext.arena.teams import Team, load_format
from metamon_ext.data.audit import audit
from metamon_ext.errors import UserError
from tests.support.battles import is_decided, play

TEAMS = 4
"""How many random legal teams a format is tried with."""
MATCHUPS = (("random", "max_base_power"), ("simple_heuristics", "random"))
PLAYS, REJECTED, NO_TEAM, FAILS = "plays", "rejected", "no team", "FAILS"


@dataclass(frozen=True)
class Verdict:
    """What became of a format: one of the four words above, and why."""

    format: str
    verdict: str
    reason: str = ""


def random_teams(formats: Sequence[str] = (), seed: int = 1) -> dict[str, list[Team] | str]:
    """Singles format -> random legal teams, or the reason why none was found."""
    script = Path(__file__).with_name("random_teams.js")
    command = [find_node(), script, find_simulator(), TEAMS, seed, *formats]
    answer = subprocess.run(map(str, command), capture_output=True, check=True)
    found: dict[str, list[Team] | str] = {}
    for row in map(orjson.loads, answer.stdout.splitlines()):
        if row["teams"] is None:
            found[row["format"]] = [Team("random", None)]
        else:
            teams = [Team(f"random-{i}", packed) for i, packed in enumerate(row["teams"])]
            found[row["format"]] = teams or row["reason"]
    return found


def sweep(
    teams: dict[str, list[Team] | str], battles: int, folder: Path, workers: int = 2
) -> list[Verdict]:
    """Play so many battles in each format; trajectories go into `folder`."""
    verdicts: dict[str, Verdict] = {}
    specs: dict[str, list[BattleSpec]] = {}
    with Simulator() as simulator:
        for name, found in teams.items():
            try:
                battle_format = load_format(name, simulator)
            except UserError as error:
                verdicts[name] = Verdict(name, REJECTED, str(error))
                continue
            if isinstance(found, str):
                verdicts[name] = Verdict(name, NO_TEAM, found)
                continue
            conditions = Conditions(battle_format, found)
            specs[name] = [
                spec
                for players in MATCHUPS
                for spec in matchup(*players, battles // len(MATCHUPS), conditions, 1)
            ]
    everything = [spec for one in specs.values() for spec in one]
    results: dict[str, list[BattleResult]] = defaultdict(list)
    for spec, result in zip(
        everything,
        play(everything, workers, recording=Recording(folder), stall_seconds=600),
        strict=True,
    ):
        results[spec.battle_format].append(result)
    verdicts |= {name: _judge(name, results[name], folder) for name in specs}
    return [verdicts[name] for name in teams]


def _judge(name: str, results: Sequence[BattleResult], folder: Path) -> Verdict:
    broken = Counter(result.reason for result in results if result.failed)
    if broken:
        return Verdict(name, FAILS, f"{sum(broken.values())} battles, first: {next(iter(broken))}")
    decided = sum(is_decided(result) for result in results)
    usable = audit([folder / name]).usable_files if decided else 0
    if usable != 2 * decided:
        return Verdict(name, FAILS, f"{2 * decided - usable} trajectories do not pass the audit")
    invalid = sum(result.a_invalid + result.b_invalid for result in results)
    if invalid:
        return Verdict(name, FAILS, f"{invalid} invalid choices")
    return Verdict(name, PLAYS)


def table(verdicts: Sequence[Verdict], battles: int) -> str:
    """The page for the docs."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    lines = [
        "# Battle formats",
        "",
        f"All {len(verdicts)} singles formats of pokemon-showdown {SIMULATOR_VERSION}, "
        f"{battles} battles each with random legal teams, between the hand-written policies: "
        + ", ".join(f"{count} {word}" for word, count in counts.most_common())
        + ". A format plays if every battle was finished and every saved trajectory passed the "
        "audit. Mega evolution, Z-moves and dynamax are not among Metamon's 13 actions: formats "
        "that have them are played without. Formats other than singles are rejected.",
        "",
        f"Command: `python -m tests.support.sweep_formats --battles {battles} "
        "--output docs/formats.md`.",
        "",
        "| format | | reason |",
        "| --- | --- | --- |",
        *(f"| {v.format} | {v.verdict} | {v.reason.replace('|', '/')} |" for v in verdicts),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the table. Exit code 1 if a format neither plays nor is rejected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", type=int, default=24)
    parser.add_argument("--formats", nargs="+", default=[], help="default: all singles formats")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, help="default: standard output")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        verdicts = sweep(random_teams(args.formats), args.battles, Path(folder), args.workers)
    page = table(verdicts, args.battles)
    if args.output:
        args.output.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return int(any(verdict.verdict == FAILS for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
