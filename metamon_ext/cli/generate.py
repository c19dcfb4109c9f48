"""`metamon-ext generate_selfplay_data`: battles to learn from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from metamon_ext.arena.play import print_unfinished
from metamon_ext.arguments import add_condition_arguments, fill, positive
from metamon_ext.data.trajectory import MANIFEST
from metamon_ext.errors import UserError
from metamon_ext.terminal import print_json
from metamon_ext.workflows.generate import GenerateConfig, generate


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext generate_selfplay_data`."""
    parser = commands.add_parser("generate_selfplay_data")
    parser.add_argument("--model", help="a policy: see `metamon-ext models`")
    parser.add_argument("--opponent_model", help="default: the model itself")
    parser.add_argument(
        "--population",
        type=Path,
        help='a JSON file {"policy": weight, ...} to draw the opponents from, or, without --model, '
        "both players",
    )
    parser.add_argument(
        "--num_battles", type=positive, required=True, help="won or lost; ties come on top"
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    add_condition_arguments(parser)
    parser.add_argument(
        "--parallel_instances",
        type=positive,
        default=32,
        help="battles at the same time; --workers processes share them",
    )
    parser.add_argument("--temperature", type=float, help="of the models; heuristics have none")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 if an error has left battles unfinished: the same command plays them again."""
    generated = generate(fill(GenerateConfig, args, opponents=population_of(args)))
    about = generated.manifest
    if args.json:
        print_json(about)
    else:
        print(
            f"{about['battles']} battles, {about['trajectories']} trajectories in "
            f"{args.output_dir / args.battle_format} ({about['ties']} ties, "
            f"{about['unfinished']} unfinished); {MANIFEST} says where they came from"
        )
    return print_unfinished(generated.rows)


def population_of(args: argparse.Namespace) -> dict[str, float]:
    """The opponents and their weights. Raises UserError for flags that do not go together."""
    if args.population is None:
        return {args.opponent_model: 1.0} if args.model and args.opponent_model else {}
    if args.opponent_model is not None:
        raise UserError("--opponent_model and --population exclude each other: leave one out")
    cure = f'{args.population} must hold {{"policy": weight, ...}} with weights in (0, 1e100)'
    try:
        weights = json.loads(args.population.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{cure}: {error}") from None
    if not isinstance(weights, dict) or not weights:
        raise UserError(cure)
    if not all(type(w) in (int, float) and 0 < w < 1e100 for w in weights.values()):
        raise UserError(cure)
    return weights
