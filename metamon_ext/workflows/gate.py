"""`metamon-ext gate`: a sequential test of a candidate against a base, head to head."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from metamon_ext.arena.conditions import add_condition_arguments
from metamon_ext.arguments import positive
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.evaluation.schedules import Sequential
from metamon_ext.evaluation.sprt import Sprt, in_words
from metamon_ext.terminal import print_json
from metamon_ext.workflows.tournament import play_tournament

LOOK = 16
"""Mirrored pairs between two looks: as many battles as two workers hold."""


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
    if args.candidate == args.base:
        raise UserError("--candidate and --base are the same: nothing can be decided")
    pairing = (args.candidate, args.base)
    test = Sprt(args.elo0, args.elo1, args.alpha, args.beta)
    plan = Sequential([pairing], test, args.max_battles, LOOK)
    settings = {name: getattr(args, name) for name in ("max_battles", "elo0", "elo1")}
    settings |= {"gate": pairing, "alpha": args.alpha, "beta": args.beta}
    with tempfile.TemporaryDirectory() as temporary:
        rows, content = play_tournament(
            args, pairing, args.output_dir or Path(temporary), plan, settings
        )
    if not content["sprt"][0]["pairs"]:
        reasons = "; ".join(sorted({row.reason for row in rows if row.reason}))
        raise RunStopped(f"no mirrored pair has finished: {reasons or 'raise --max_battles'}")
    answer = answer_of(content)
    if args.json:
        print_json(answer)
    else:
        print(in_text(answer, test))
    return 0 if answer["verdict"] == "better" else 1


def answer_of(content: dict[str, Any]) -> dict[str, Any]:
    """The verdict, the Elo difference with its interval, and the score, of the candidate.

    `verdict` is "better" where H1 is accepted, "not better" where H0 is, else "undecided", and
    `decided` says what H0 and H1 are. `kind` of the Elo difference: see `EloEstimate`.
    """
    (verdict,) = content["sprt"]
    (matchup,) = content["matchups"]
    mine, theirs = matchup["wins"], matchup["losses"]
    if matchup["player"] != verdict["player"]:
        mine, theirs = theirs, mine
    return {
        "candidate": verdict["player"],
        "base": verdict["opponent"],
        **{key: verdict[key] for key in ("verdict", "decided", "elo", "low", "high", "kind")},
        **{key: verdict[key] for key in ("llr", "pairs")},
        **{"wins": mine, "losses": theirs, "ties": matchup["ties"]},
        "unfinished": content["unfinished"],
        "battles": content["battles"],
    }


def in_text(answer: dict[str, Any], test: Sprt) -> str:
    """The answer for the terminal."""
    return (
        f"{answer['decided']}\n{in_words(answer)}; "
        + "{wins} won, {losses} lost, {ties} tied, {unfinished} unfinished in {battles} battles\n"
        "log likelihood ratio {llr:.2f}".format(**answer)
        + f", between {test.lower:.2f} (H0) and {test.upper:.2f} (H1)"
    )
