"""What the command lines of several rooms share."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping


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


def print_figures(figures: Mapping[str, object], as_json: bool) -> None:
    """A line each for people, or one line of JSON."""
    if as_json:
        print(json.dumps(figures))
        return
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))
