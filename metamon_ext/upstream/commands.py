"""`metamon-ext gin`, `metamon-ext run` and `metamon-ext finetune`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import runpy
import sys
from typing import Any

from metamon_ext.errors import UserError
from metamon_ext.upstream.gin_files import describe, find_gin_file, gin_files

FINETUNE = ("metamon.rl.finetune_from_hf", "metamon.rl.finetune")
"""Metamon's command up to 1.5, and from 1.6 on."""


def add_parsers(commands: Any) -> None:
    """Register the commands of this module."""
    parser = commands.add_parser("gin")
    parser.add_argument("name", nargs="?")
    parser.set_defaults(run=run_gin)

    parser = commands.add_parser("run")
    # a remainder that starts with the option takes the options after it too
    parser.add_argument(
        "-m", dest="command", nargs=argparse.REMAINDER, required=True, metavar="MODULE ..."
    )
    parser.set_defaults(run=run_module)

    # Metamon's own parser reads the flags. To this one, with another prefix, they are words.
    parser = commands.add_parser("finetune", prefix_chars="\0", add_help=False)
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run_finetune)


def run_gin(args: argparse.Namespace) -> int:
    """The path alone on standard output, for `$(metamon-ext gin NAME)`."""
    if args.name is not None:
        print(find_gin_file(args.name))
        return 0
    for path in gin_files():
        print(f"{path.stem:<28}{describe(path)}")
    return 0


def run_module(args: argparse.Namespace) -> int:
    """As `python -m MODULE ARGS...` would, in this process."""
    if not args.command:
        raise UserError("which module? For example: metamon-ext run -m metamon.rl.train --help")
    module, *arguments = args.command
    need_metamon()
    if importlib.util.find_spec(module) is None:
        raise UserError(f"there is no module {module!r} to run")
    from metamon_ext.upstream.register import register

    register()
    if module in FINETUNE and any(a.split("=")[0] == "--reward_function" for a in arguments):
        print(
            f"metamon-ext: {module} gives --reward_function to its evaluation only and trains on "
            "the base model's reward; metamon-ext finetune trains on yours",
            file=sys.stderr,
        )
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def run_finetune(args: argparse.Namespace) -> int:
    """Exit code 0 when the last epoch is trained and saved."""
    need_metamon()
    if importlib.util.find_spec(FINETUNE[0]) is None:
        raise UserError(
            f"this Metamon has no {FINETUNE[0]}, which metamon-ext finetune builds on (1.5 has): "
            f"use metamon-ext run -m {FINETUNE[1]} with the flags of that version"
        )
    from metamon_ext.upstream.finetune import build_parser, finetune

    finetune(build_parser().parse_args(args.flags))
    return 0


def need_metamon() -> None:
    """One line instead of a traceback where Metamon cannot be imported."""
    if importlib.util.find_spec("metamon") is None or not importlib.util.find_spec("metamon.rl"):
        raise UserError("Metamon is not installed here; run this in Metamon's environment")
    if not os.environ.get("METAMON_CACHE_DIR"):
        raise UserError("set METAMON_CACHE_DIR to a folder for Metamon's data and models")
