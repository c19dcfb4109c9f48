"""`metamon-ext COMMAND`: find the command, run it, and report an error in one line.

`metamon-ext --help` imports no command. A command imports its own module only.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from metamon_ext.about import DESCRIPTION, __version__
from metamon_ext.errors import NO_ROOM, UserError, cannot_write, did_you_mean

Command = Callable[..., int]
COMMANDS = {
    "quickstart": "generate, filter, train, and evaluate on a laptop in minutes",
    "iterate": "generate, train, choose, and promote what is stronger, again and again",
    "psro": "add best responses to a population, each to the mixture that is hardest to beat",
    "run_psro": "psro with the flags of the script of that name",
    "train": "train the small built-in learner on trajectories",
    "play": "play battles between two policies",
    "generate_selfplay_data": "generate battles of one policy, of two, or of a weighted population",
    "gate": "test whether a candidate is better than a base; exit code 0 or 1",
    "self_play_tournament": "play a tournament between any number of policies",
    "calculate_elo": "rate the players of a tournament, with intervals",
    "visualize_results": "write plots and a report of a tournament",
    "meta_game": "find the meta-strategy of a league, and how much of its strength is cyclic",
    "models": "list the policies that can play here",
    "setup": "install the simulator from npm into the cache folder",
    "doctor": "check this machine and what is installed; print a fix for each failed check",
    "gin": "print the absolute path of one of our gin files, or list them",
    "run": "run a module of Metamon's with our rewards, spaces and models registered",
    "finetune": "finetune a Metamon model with the chosen reward; takes Metamon's flags",
    "adopt": "record how a run was trained that metamon-ext finetune did not train",
    "evaluate": "measure win rates of a Metamon model against Metamon's baselines",
    "evaluate_offline": "measure networks on recorded battles: accuracy, calibration, advantages",
    "benchmark": "measure speed, as ratios within one run",
    "cache": "build or verify a memory-mapped cache of training data",
    "download": "download one of Metamon's datasets, or list them",
    "download_pokechamp": "download PokéChamp's human battles as raw replays for Metamon's parser",
    "parse_replays": "parse raw replays to trajectories with Metamon's own parser",
    "audit": "validate trajectories or raw replays, and count their faults",
    "filter_selfplay_data": "link the good trajectories of a folder to another, and count the rest",
    "filter": "short for filter_selfplay_data",
}
"""Command -> its line in `metamon-ext --help`, which is the first line of its own help too."""


def find_command(command: str) -> Command | Mapping[str, Command]:
    """The function of a command, or of each of its actions. Imports the command's module only."""
    import metamon_ext.wiring  # noqa: F401

    match command:
        case "audit" | "filter_selfplay_data" | "filter":
            from metamon_ext.cli.data import FUNCTIONS as functions
        case "calculate_elo" | "visualize_results":
            from metamon_ext.cli.results import FUNCTIONS as functions
        case "meta_game":
            from metamon_ext.cli.meta_game import FUNCTIONS as functions
        case "download" | "download_pokechamp" | "parse_replays":
            from metamon_ext.cli.replays import FUNCTIONS as functions
        case "evaluate":
            from metamon_ext.cli.evaluate import FUNCTIONS as functions
        case "evaluate_offline":
            from metamon_ext.cli.evaluate_offline import FUNCTIONS as functions
        case "benchmark":
            from metamon_ext.cli.benchmark import FUNCTIONS as functions
        case "models" | "setup":
            from metamon_ext.cli.models import FUNCTIONS as functions
        case "doctor":
            from metamon_ext.cli.doctor import FUNCTIONS as functions
        case "cache":
            from metamon_ext.cli.cache import FUNCTIONS as functions
        case "gin" | "run" | "finetune" | "adopt":
            from metamon_ext.cli.metamon import FUNCTIONS as functions
        case "play":
            from metamon_ext.cli.play import FUNCTIONS as functions
        case "train":
            from metamon_ext.cli.train import FUNCTIONS as functions
        case "quickstart":
            from metamon_ext.cli.quickstart import FUNCTIONS as functions
        case "iterate":
            from metamon_ext.cli.iterate import FUNCTIONS as functions
        case "psro":
            from metamon_ext.cli.psro import FUNCTIONS as functions
        case "run_psro":
            from metamon_ext.cli.run_psro import FUNCTIONS as functions
        case "generate_selfplay_data":
            from metamon_ext.cli.generate import FUNCTIONS as functions
        case "gate":
            from metamon_ext.cli.gate import FUNCTIONS as functions
        case "self_play_tournament":
            from metamon_ext.cli.tournament import FUNCTIONS as functions
    return functions[command]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0: success. 1: a failed check, or a run that was stopped or interrupted. 2: bad input.
        141: the reader of standard output is gone, as with `| head`.
    """
    try:
        _prepare_streams()
        try:
            return run(sys.argv[1:] if argv is None else list(argv))
        finally:
            sys.stdout.flush()
    except UserError as error:
        line = str(error).partition("\n  In call to configurable")[0]  # as gin adds
        return _fail(line, error.exit_code)
    except KeyboardInterrupt:
        return _fail("Interrupted. All files on disk are complete.", 1)
    except BrokenPipeError:
        _discard_output()
        return 141
    except PermissionError as error:
        if error.filename is None:
            raise
        return _fail(str(cannot_write(error.filename, error)), 2)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        with suppress(OSError):
            sys.stdout.flush()
        _discard_output()
        stopped = cannot_write(error.filename or "standard output or a temporary file", error)
        return _fail(str(stopped), stopped.exit_code)


def run(argv: list[str]) -> int:
    """Run a command. Raises UserError for bad input."""
    for argument in argv:
        _need_text(argument)
    prog = "metamon-ext"
    name, *words = _choose(prog, DESCRIPTION, COMMANDS, argv)
    if name == "self_play_tournament" and "--list_models" in words:
        name, words = "models", [word for word in words if word != "--list_models"]
    command, description = find_command(name), COMMANDS[name]
    prog += f" {name}"
    if isinstance(command, Mapping):
        texts = {action: (each.__doc__ or "").split("\n")[0] for action, each in command.items()}
        name, *words = _choose(prog, description, texts, words)
        command, description = command[name], texts[name]
        prog += f" {name}"
    from metamon_ext.cli.flags import parse

    return parse(command, prog, description, words)()


def _choose(prog: str, description: str, texts: Mapping[str, str], argv: list[str]) -> list[str]:
    """The words from the first name on. Prints the help, or what is wrong, where there is none."""
    argv = argv[argv[:1] == ["--"] :]
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is not None and name not in texts:
        hint = did_you_mean(name, texts)
        raise UserError(f"Unknown command {name!r}.{hint} Run {prog} --help for the list.")
    parser = argparse.ArgumentParser(prog, description=description)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in texts.items():
        commands.add_parser(name, help=text)
    parser.parse_args(argv[:1])  # exits unless it is a name
    return argv


def _need_text(argument: str) -> None:
    """Raises UserError for bytes that are no text: neither JSON nor SQLite can hold them."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        fix = "rename it" if encoding == "utf-8" else "set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        raise UserError(f"argument {argument!r} is not {encoding} text: {fix}") from None


def _prepare_streams() -> None:
    """Open what was closed, and print what an encoding lacks as a backslash escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(line: str, exit_code: int) -> int:
    print(f"metamon-ext: {line}", file=sys.stderr)
    return exit_code


def _discard_output() -> None:
    """Send what is left in the buffer of standard output nowhere, so that exiting cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
