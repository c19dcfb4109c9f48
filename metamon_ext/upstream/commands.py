"""Run a module of Metamon's, and finetune one of its models."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metamon_ext.errors import NO_ROOM, UserError, cannot_write
from metamon_ext.upstream import catalog
from metamon_ext.upstream.catalog import require_metamon

if TYPE_CHECKING:
    from metamon_ext.upstream.finetune_config import FinetuneConfig
    from metamon_ext.upstream.preflight import Plan

FINETUNE = ("metamon.rl.finetune_from_hf", "metamon.rl.finetune")
"""Metamon's command up to 1.5, and from 1.6 on."""


def run_module(module: str, arguments: Sequence[str]) -> None:
    """As `python -m MODULE ARGUMENTS...` would, in this process, with our names registered."""
    require_metamon()
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


def run_finetuning(config: FinetuneConfig) -> Plan:
    """Train a run until it has all its epochs; an interrupted one resumes.

    Raises UserError for bad input, RunStopped where a checkpoint cannot be written.
    """
    from metamon_ext.upstream.preflight import make_plan
    from metamon_ext.upstream.quiet import print_to
    from metamon_ext.upstream.run_folder import LOG, latest_epoch, open_run

    require_metamon()
    require_finetune_from_hf()
    plan = make_plan(config)
    with open_run(plan) if is_main() else contextlib.nullcontext():
        done = latest_epoch(plan.run)
        if done is not None and done >= config.epochs - 1:
            return plan
        if is_main():
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
    return plan


def is_main() -> bool:
    """Whether this is the first of the processes of `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def what_next(plan: Plan) -> str:
    """The checkpoints of a run, and the commands that use them."""
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


def require_finetune_from_hf() -> None:
    """One line for a Metamon that has another way to finetune."""
    if not (catalog.metamon_folder() / "rl" / "finetune_from_hf.py").is_file():
        raise UserError(
            f"This Metamon has no {FINETUNE[0]}, which metamon-ext finetune builds on (1.5 has). "
            f"Use metamon-ext run -m {FINETUNE[1]} with the flags of that version."
        )
