"""`metamon-ext gate`: a sequential test of a candidate against a base, head to head."""

from __future__ import annotations

from typing import Any

from metamon_ext.cli.flags import Functions, Json
from metamon_ext.evaluation.sprt import Sprt, in_words
from metamon_ext.terminal import print_json
from metamon_ext.workflows.gate import GateConfig, gate


def gate_command(config: GateConfig, as_json: Json = False) -> int:
    """Exit code 0 if H1 is accepted, 1 if H0 is or the test is undecided."""
    answer = gate(config)
    if as_json:
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


FUNCTIONS: Functions = {"gate": gate_command}
