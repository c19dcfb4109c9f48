"""What the command lines of several rooms share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from metamon_ext.errors import UserError
from metamon_ext.terminal import print_json

T = TypeVar("T")


def default_workers() -> int:
    """One a core that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


FORBIDDEN = '/\\:?*"<>|'
"""What a run name cannot hold: these separate folders or a policy's options, or are no character
of a file's name everywhere."""
LONGEST_NAME = 128
"""Bytes. Checkpoints are named after the run, and a file's name has at most 255."""


def run_name(text: str) -> str:
    """A name that one folder can have, and that stays one name in a policy's name.

    Raises argparse.ArgumentTypeError that says what is wrong with it.
    """
    if not text:
        problem = "is empty"
    elif text.strip(". ") == "":
        problem = "names no folder of its own"
    elif text != text.strip():
        problem = "begins or ends with a blank"
    elif wrong := next((c for c in text if c in FORBIDDEN or not c.isprintable()), None):
        problem = f"holds {wrong!r}"
    elif len(text.encode()) > LONGEST_NAME:
        problem = f"has more than {LONGEST_NAME} bytes"
    else:
        return text
    raise argparse.ArgumentTypeError(
        f"Run name {text!r} {problem}. Use letters, digits, '_', '-' and '.', e.g. 'first_run'."
    )


def seed_value(text: str) -> int:
    """A seed on the command line: see `check_seed`."""
    try:
        return check_seed(int(text))
    except (ValueError, UserError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a seed: give a whole number of at least 0"
        ) from None


def check_seed(value: int) -> int:
    """A seed is any integer of at least 0, however large, as in numpy. Raises UserError."""
    if isinstance(value, int) and value >= 0:
        return value
    raise UserError(f"{value!r} is not a seed: give a whole number of at least 0")


def split_options(text: str) -> tuple[str, str]:
    """`NAME?OPTIONS` -> both. The path of something that exists may hold a `?` itself."""
    path = text
    while "?" in path and not os.path.exists(path):
        path = path.rpartition("?")[0]
    if not os.path.exists(path):
        path = text.partition("?")[0]
    return path, text[len(path) + 1 :]


def print_figures(figures: Mapping[str, object], as_json: bool) -> None:
    """A line each for people, or one line of JSON."""
    if as_json:
        print_json(figures)
        return
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))


def add_seat_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a `BattleConfig`."""
    parser.add_argument(
        "--battle_format", default="gen1ou", help="a singles format of the simulator"
    )
    parser.add_argument("--seed", type=seed_value, default=0)
    parser.add_argument(
        "--workers", type=positive, default=default_workers(), help="processes; default: one a core"
    )


def add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a `RunConfig`."""
    add_seat_arguments(parser)
    parser.add_argument(
        "--team_set",
        help="a team set of Metamon's, a folder of Showdown exports, or sample (ours); default: "
        "competitive, or sample where that cannot be had",
    )
    parser.add_argument(
        "--battle_backend",
        choices=["metamon", "pokeagent", "poke-env"],
        help="of Metamon's models; default: each model's own",
    )
    parser.add_argument(
        "--turn_limit", type=positive, default=1000, help="a longer battle ends as unfinished"
    )


def fill(config: type[T], args: argparse.Namespace, **values: Any) -> T:
    """A config dataclass from the flags of its fields' names; `values` go before the flags."""
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    return config(**{name: getattr(args, name) for name in names & vars(args).keys()} | values)
