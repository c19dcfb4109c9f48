"""`metamon-ext train`: the small built-in learner."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from metamon_ext.arguments import positive, run_name, seed_value


def add_parsers(commands: Any) -> None:
    """Add the command to what `ArgumentParser.add_subparsers` gave."""
    parser = commands.add_parser("train")
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data_dir", type=Path, help="a folder of filtered trajectory files")
    data.add_argument(
        "--cached",
        nargs="+",
        default=[],
        metavar="CACHE[?FILTER]",
        help="caches of such folders, each with a filter if wanted: x.mmap?wins_losses_both=wins",
    )
    add("--cached_weights", nargs="+", type=float, help="how often each is drawn from")
    add("--save_dir", type=Path, default=Path("runs"), help="runs lie in {save_dir}/{run_name}")
    add("--run_name", type=run_name, required=True, help="a folder of this name is made")
    add("--gin_config", default="binary_advantage", help="a path, or a file of gin_configs/lite")
    add("--gin", action="append", default=[], metavar="'NAME.PARAM = VALUE'", help="override")
    add("--finetune_from", type=Path, metavar="RUN", help="begin with the weights of another run")
    add(
        "--reward_function",
        help="WinLossReward if not given; a cache must have been built with the same one",
    )
    add("--steps", type=positive, help="in all, those before --resume included")
    add("--seed", type=seed_value)
    add("--resume", action="store_true", help="go on from the run's checkpoint, if there is one")
    add("--log", action="store_true", help="log to Weights & Biases (WANDB_MODE=offline works)")
    parser.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> int:
    """Exit code 0 when the last step is made and saved."""
    from metamon_ext.training.lite.train import train

    train(
        data_dir=args.data_dir,
        run_dir=args.save_dir / args.run_name,
        config=args.gin_config,
        overrides=args.gin,
        steps=args.steps,
        seed=args.seed,
        resume=args.resume,
        log=args.log,
        cached=args.cached,
        cached_weights=args.cached_weights,
        finetune_from=args.finetune_from,
        reward_function=args.reward_function,
    )
    return 0
