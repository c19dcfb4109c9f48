"""`metamon-ext gate`: a sequential test of a candidate against a base, head to head."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from metamon_ext.arguments import add_condition_arguments, fill, positive
from metamon_ext.evaluation.sprt import Sprt, in_words
from metamon_ext.terminal import print_json
from metamon_ext.workflows.gate import GateConfig, gate


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `metamon-ext gate`."""
    parser = commands.add_parser("gate")
    parser.add_argument("--candidate", required=True, help="a policy: see `metamon-ext models`")
    parser.add_argument("--base", required=True, help="the policy that it must beat")
    parser.add_argument("--elo0", type=float, default=0.0, help="H0: at most so much stronger")
    parser.add_argument("--elo1", type=float, default=30.0, help="H1: at least so much stronger")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance to accept H1 wrongly")
    parser.add_argument("--beta", type=float, default=0.05, help="chance to accept H0 wrongly")
    parser.add_argument("--max_battles", type=positive, default=2000)
    add_condition_arguments(parser)
    parser.add_argument("--output_dir", type=Path, help="keep the battles, and go on with them")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if H1 is accepted, 1 if H0 is or the test is undecided."""
    config = fill(GateConfig, args)
    answer = gate(config)
    if args.json:
        print_json(answer)
    else:
        print(in_text(answer, config.test))
    return 0 if answer["verdict"] == "better" else 1


def in_text(answer: dict[str, Any], test: Sprt) -> str:
    """The answer for the terminal."""
    return (
        f"{answer['decided']}\n{in_words(answer)}; "
        + "{wins} won, {losses} lost, {ties} tied, {unfinished} unfinished in {battles} battles\n"
        "log likelihood ratio {llr:.2f}".format(**answer)
        + f", between {test.lower:.2f} (H0) and {test.upper:.2f} (H1)"
    )
