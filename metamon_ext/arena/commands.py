"""`metamon-ext models` and `metamon-ext setup`."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from metamon_ext.arena.policy import HEURISTICS
from metamon_ext.arena.simulator import find_node, find_simulator, install_simulator


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands of this module."""
    models = commands.add_parser("models", help="list the policies that can sit in a seat here")
    models.add_argument("--save_dir", type=Path, default=Path("runs"), help="where your runs are")
    models.add_argument("--json", action="store_true")
    models.set_defaults(run=list_models)
    setup = commands.add_parser(
        "setup", help="install the simulator from npm into our cache folder"
    )
    setup.set_defaults(run=set_up)


def list_models(args: argparse.Namespace) -> int:
    """Print what `--p1` and `--p2` may be in this environment."""
    checkpoints = sorted(str(path.parent) for path in args.save_dir.rglob("checkpoint.pt"))
    if args.json:
        print(json.dumps({"heuristics": list(HEURISTICS), "checkpoints": checkpoints}))
        return 0
    print("Heuristics of poke-env; ?epsilon=0.1 adds one random legal action in ten:")
    print("".join(f"  {name}\n" for name in HEURISTICS), end="")
    print(f"Checkpoints of the built-in learner in {args.save_dir}:")
    print(
        "".join(f"  {path}\n" for path in checkpoints) or "  none: metamon-ext train makes one\n",
        end="",
    )
    print("Your own: module:Class with begin, act and end (metamon_ext.arena.policy.Policy)")
    if importlib.util.find_spec("metamon") is None:
        print("Metamon's models and baselines: not here, Metamon is not installed")
    return 0


def set_up(args: argparse.Namespace) -> int:
    """Install what is missing and say where everything is."""
    install_simulator()
    print(f"Node       {find_node()}")
    print(f"simulator  {find_simulator()}")
    return 0
