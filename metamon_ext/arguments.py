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


def print_figures(figures: Mapping[str, object], as_json: bool) -> None:
    """A line each for people, or one line of JSON."""
    if as_json:
        print(json.dumps(figures))
        return
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))
