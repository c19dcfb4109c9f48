"""`metamon-ext self_play_tournament`: everybody against everybody, in mirrored pairs of battles."""

from __future__ import annotations

from pathlib import Path

from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json, Resume, require_run
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.evaluation.report import print_tables
from metamon_ext.evaluation.sprt import in_words
from metamon_ext.terminal import console, print_json
from metamon_ext.workflows.tournament import TournamentConfig, TournamentResult, tournament


def self_play_tournament(
    config: TournamentConfig, resume: Resume = False, as_json: Json = False
) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    if resume:
        require_run(config.output_dir / RESULTS)
    result = tournament(config)
    if as_json:
        print_json(result.content)
    else:
        _report(config.output_dir, result)
    return print_unfinished(result.rows)


def _report(output_dir: Path, result: TournamentResult) -> None:
    print_tables(console(), result.rated)
    for verdict in result.content["sprt"]:
        print(verdict["decided"])
        if "elo" in verdict:
            print(f"  {in_words(verdict)}; {verdict['pairs']} mirrored pairs")
    print(
        f"{len(result.all_rows)} battles in {output_dir}; next: metamon-ext visualize_results "
        f"--tournament_dir {output_dir}"
    )


FUNCTIONS: Functions = {"self_play_tournament": self_play_tournament}
