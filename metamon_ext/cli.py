"""`metamon-ext COMMAND`: finds the command and says in one line what is wrong with its input."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import metamon_ext
from metamon_ext.errors import UserError

COMMANDS = {
    "quickstart": "metamon_ext.lite.quickstart",
    "train": "metamon_ext.lite.commands",
    "play": "metamon_ext.arena.play",
    "generate_selfplay_data": "metamon_ext.arena.generate",
    "gate": "metamon_ext.league.gate",
    "self_play_tournament": "metamon_ext.league.self_play_tournament",
    "calculate_elo": "metamon_ext.league.calculate_elo",
    "visualize_results": "metamon_ext.league.visualize_results",
    "models": "metamon_ext.arena.commands",
    "setup": "metamon_ext.arena.commands",
    "doctor": "metamon_ext.doctor.command",
    "gin": "metamon_ext.upstream.commands",
    "run": "metamon_ext.upstream.commands",
    "finetune": "metamon_ext.upstream.commands",
    "evaluate": "metamon_ext.upstream.evaluate",
    "benchmark": "metamon_ext.arena.benchmark",
    "cache": "metamon_ext.data.cache_commands",
    "download": "metamon_ext.upstream.download",
    "download_pokechamp": "metamon_ext.data.pokechamp",
    "parse_replays": "metamon_ext.upstream.parse_replays",
    "audit": "metamon_ext.data.commands",
    "filter_selfplay_data": "metamon_ext.arena.filtering",
    "filter": "metamon_ext.arena.filtering",
}
"""Command -> the module whose `add_parsers` registers it."""


def build_parser(modules: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands that these modules register."""
    parser = argparse.ArgumentParser(prog="metamon-ext", description=metamon_ext.__doc__)
    parser.add_argument("--version", action="version", version=metamon_ext.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in modules:
        importlib.import_module(module).add_parsers(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: done, 1: a check failed or the run stopped, 2: bad input, 130: Ctrl-C,
    141: nobody reads the answer any more."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # Only the module of the command that is asked for is imported; all of them for `--help`.
    known = COMMANDS.get(argv[0]) if argv else None
    modules = [known] if known else list(dict.fromkeys(COMMANDS.values()))
    try:
        args = build_parser(modules).parse_args(argv)
        exit_code = args.run(args)
        sys.stdout.flush()
        return exit_code
    except UserError as error:
        line = str(error).partition("\n  In call to configurable")[0]  # as gin adds
        print(f"metamon-ext: {line}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        print(f"metamon-ext: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("metamon-ext: interrupted; what is written is whole", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
