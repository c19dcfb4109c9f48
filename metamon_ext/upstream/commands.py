"""`metamon-ext gin`, `run`, `finetune` and `adopt`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

from metamon_ext.errors import NO_ROOM, UserError, cannot_write
from metamon_ext.upstream import catalog
from metamon_ext.upstream.checkpoints import run_at
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

    # Its own parser reads the flags. To this one, with another prefix, they are words.
    parser = commands.add_parser("finetune", prefix_chars="\0", add_help=False)
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run_finetune)

    parser = commands.add_parser("adopt")
    parser.add_argument("run_folder", metavar="RUN", help="the folder of the run")
    parser.add_argument("--base_model", metavar="MODEL", help="what the run was finetuned from")
    for part in catalog.PARTS:
        parser.add_argument(f"--{part}", metavar="NAME", help="default: that of the base model")
    parser.set_defaults(run=run_adopt)


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
    from metamon_ext.upstream.finetune_config import parse_config
    from metamon_ext.upstream.preflight import Plan, make_plan
    from metamon_ext.upstream.quiet import print_to
    from metamon_ext.upstream.run_folder import LOG, latest_epoch, open_run

    need_metamon()
    need_finetune_from_hf()
    config = parse_config(args.flags)
    plan: Plan = make_plan(config)
    is_main = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch`
    with open_run(plan) if is_main else contextlib.nullcontext():
        done = latest_epoch(plan.run)
        if done is None or done < config.epochs - 1:
            if is_main:
                print(plan.table(), file=sys.stderr)
                if done is not None:
                    print(f"Resuming after checkpoint {done}.", file=sys.stderr)
            with print_to(plan.run.folder / LOG) as terminal:
                from metamon_ext.upstream.finetune import finetune

                try:
                    finetune(plan, terminal)
                except OSError as error:
                    if error.errno in NO_ROOM:
                        raise cannot_write(plan.run.folder, error) from None
                    raise
    if is_main:
        print(what_next(plan))
    return 0


def what_next(plan: Any) -> str:
    """What a run made, and the commands to go on with."""
    from metamon_ext.upstream.runs import read_save_dirs

    run, base = plan.run, plan.base
    known = [folder.resolve() for folder in read_save_dirs()]
    in_sight = run.folder.parent.resolve() in known
    names = [
        f"{run.name}_Epoch{e}" if in_sight else f"{run.folder}?checkpoint={e}" for e in run.epochs
    ]
    latest = shlex.quote(names[-1])
    start = (
        f"{base.name}?checkpoint={base.epoch}"
        if plan.config.finetune_from_checkpoint
        else base.name
    )
    battle_format = (plan.config.formats or ["gen1ou"])[0]
    seats = "" if battle_format == "gen1ou" else f" --battle_format {battle_format}"
    match = re.fullmatch(r"gen(\d+)(\w+)", battle_format)
    gens = f" --gens {match[1]} --formats {match[2]}" if match and seats else ""
    gate_folder = shlex.quote(str(Path("gates", run.name)))
    return "\n".join(
        (
            f"Checkpoints of {run.folder}: {', '.join(names)}",
            f"play:      metamon-ext play --p1 {latest} --p2 {shlex.quote(start)} --pairs{seats}",
            f"evaluate:  metamon-ext evaluate --agent {latest}{gens}",
            f"gate:      metamon-ext gate --candidate {latest} --base {shlex.quote(start)} "
            f"--output_dir {gate_folder}{seats}",
        )
    )


def run_adopt(args: argparse.Namespace) -> int:
    """Exit code 0 when every checkpoint of the run has its record."""
    need_metamon()
    run = run_at(args.run_folder)
    if run is None:
        raise UserError(f"{args.run_folder} is not the folder of a run: it has no ckpts/.")
    from metamon_ext.upstream.adopt import adopt

    given = {part: getattr(args, part) for part in catalog.PARTS}
    epochs = adopt(run, args.base_model, given)
    print(f"Recorded: {', '.join(f'{run.name}_Epoch{epoch}' for epoch in epochs)}")
    return 0


def need_metamon() -> None:
    """One line instead of a traceback where Metamon cannot be imported."""
    catalog.metamon_folder()
    if not os.environ.get("METAMON_CACHE_DIR"):
        raise UserError("METAMON_CACHE_DIR is not set. Set it to a folder for Metamon's data.")


def need_finetune_from_hf() -> None:
    """One line for a Metamon that has another way to finetune."""
    if not (catalog.metamon_folder() / "rl" / "finetune_from_hf.py").is_file():
        raise UserError(
            f"This Metamon has no {FINETUNE[0]}, which metamon-ext finetune builds on (1.5 has). "
            f"Use metamon-ext run -m {FINETUNE[1]} with the flags of that version."
        )
