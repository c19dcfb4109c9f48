"""`metamon-ext download`, `download_pokechamp` and `parse_replays`."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from metamon_ext.cli.flags import WORKERS, Functions, Json, Positional, Workers
from metamon_ext.data.audit_report import placeholder_message, print_reasons
from metamon_ext.data.replays.pokechamp import DownloadFilter
from metamon_ext.data.replays.pokechamp import download as pokechamp
from metamon_ext.data.trajectory import PARSE_FAILURES
from metamon_ext.errors import RunStopped
from metamon_ext.terminal import console, print_json
from metamon_ext.upstream.download import SETS, size_text
from metamon_ext.upstream.download import download as metamon
from metamon_ext.upstream.parse_replays import ParseReplaysConfig, Summary
from metamon_ext.upstream.parse_replays import parse_replays as parse


def download(
    name: Positional[str | None] = None, formats: tuple[str, ...] = (), only_show: bool = False
) -> int:
    """Exit code 0 where all that was asked for is there.

    Args:
        name: a data set; without one they are listed
        formats: e.g. gen1ou; default: all
        only_show: print how large it is, and stop
    """
    if name is None:
        table = Table("name", "what", "on the hub, by jakegrigsby")
        for name, data_set in SETS.items():
            table.add_row(name, data_set.text, data_set.repository.partition("/")[2])
        console().print(table)
        print("PokéChamp's human battles: metamon-ext download_pokechamp")
        return 0
    parts = metamon(name, formats, only_show)
    for part in parts:
        print(f"{size_text(part.size):>12}  {part.target}")
    done = "to download" if only_show else "downloaded"
    print(f"{size_text(sum(part.size for part in parts))} {done}.")
    return 0


def download_pokechamp(
    output_dir: Path,
    wanted: DownloadFilter,
    max_games: int | None = None,
    workers: Workers = WORKERS,
    source: Path | None = None,
    revision: str | None = None,
    as_json: Json = False,
) -> int:
    """Exit code 0 where battles were written, 1 where there were none.

    Args:
        output_dir: gets a file for each battle; the same command again resumes
        max_games: stop at so many battles
        source: your own files or folder: jsonl, parquet, ...
        revision: of the data set on the hub
    """
    report = pokechamp(output_dir, wanted, max_games, source, workers, revision, True)
    if report.placeholders:
        raise RunStopped(placeholder_message(report.files))
    if as_json:
        counts = {"read": report.files, "kept": report.usable_files, "dropped": report.reasons}
        print_json(counts | {"notes": report.to_dict()["notes"]})
    else:
        print_reasons(console(), report)
        print(f"Kept {report.usable_files:,} of {report.files:,} battles in {output_dir}.")
    return 0 if report.usable_files else 1


def parse_replays(config: ParseReplaysConfig, as_json: Json = False) -> int:
    """Exit code 0 where there are trajectories, 1 where no replay could be parsed."""
    summary = parse(config, show_progress=True)
    if as_json:
        counts = {"replays": summary.replays, "trajectories": summary.files}
        print_json(counts | {"causes": summary.causes, "notes": summary.notes})
    else:
        print_summary(summary, config.output_dir / PARSE_FAILURES)
    return 0 if summary.files else 1


def print_summary(summary: Summary, failures: Path) -> None:
    """How many replays were parsed, and why the others were not."""
    for note in summary.notes:
        print(note)
    if summary.failures:
        table = Table("cause", "replays", "share", "for example")
        for cause, count in summary.causes.most_common():
            first = summary.failures[cause][0]
            share = f"{count / summary.replays:.1%}"
            table.add_row(cause, f"{count:,}", share, f"{first.name}: {first.detail}")
        console().print(table)
        print(f"All of them: {failures}")
    print(f"{summary.files:,} trajectories of {summary.replays:,} replays.")


FUNCTIONS: Functions = {
    "download": download,
    "download_pokechamp": download_pokechamp,
    "parse_replays": parse_replays,
}
