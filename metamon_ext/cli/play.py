"""`metamon-ext play`: two policies against each other."""

from __future__ import annotations

from metamon_ext.arena.play import print_unfinished
from metamon_ext.cli.flags import Functions, Json, Resume, require_run
from metamon_ext.data.trajectory import RESULTS
from metamon_ext.errors import UserError
from metamon_ext.terminal import print_json
from metamon_ext.workflows.play import PlayConfig, play


def play_command(config: PlayConfig, resume: Resume = False, as_json: Json = False) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    if resume and config.output_dir is None:
        raise UserError("--resume needs the --output_dir of the run to resume")
    if resume and config.output_dir:
        require_run(config.output_dir / RESULTS)
    played = play(config)
    if as_json:
        print_json(played.summary)
    else:
        summary = played.summary
        print(
            f"{config.p1} {summary['p1_wins']} - {summary['p2_wins']} {config.p2}"
            f"  (ties {summary['ties']}, unfinished {summary['unfinished']})\n"
            f"{played.played} battles in {summary['seconds']:.1f} s: "
            f"{summary['battles_per_second']} battles/s, "
            f"{summary['decisions_per_second']:.0f} decisions/s; digest {summary['digest']}"
        )
    return print_unfinished(played.rows)


FUNCTIONS: Functions = {"play": play_command}
