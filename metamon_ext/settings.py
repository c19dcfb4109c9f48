"""Checks and defaults of settings that several rooms share."""

from __future__ import annotations

import math
import os

from metamon_ext.errors import UserError


def default_workers() -> int:
    """One a core that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_at_least(lowest: int, **settings: float | None) -> None:
    """Raise UserError for a setting below `lowest`, infinite, or not a number. None passes."""
    for name, value in settings.items():
        if value is not None and not lowest <= value < math.inf:
            kind = "whole" if isinstance(value, int) else "finite"
            raise UserError(f"{name} must be a {kind} number of at least {lowest}, not {value}.")


def check_beta(beta: float, temperature: float = 1.0) -> None:
    """Raise ValueError for a beta or temperature of a policy that is negative or not finite."""
    for name, value in (("beta", beta), ("temperature", temperature)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a number of at least 0, not {value:g}")


def check_seed(value: int) -> int:
    """A seed is any integer of at least 0, however large, as in numpy. Raises UserError."""
    if isinstance(value, int) and value >= 0:
        return value
    raise UserError(f"{value!r} is not a seed: give a whole number of at least 0")


FORBIDDEN = '/\\:?*"<>|'
"""What a run name cannot contain: path separators, what begins a policy's options, and characters
that some file systems do not allow."""
LONGEST_NAME = 128
"""Bytes. Checkpoints are named after the run, and a file's name has at most 255."""


def check_run_name(name: str) -> str:
    """A name that one folder can have, and that stays one name in a policy's name.

    Raises UserError that says what is wrong with it.
    """
    if not name:
        problem = "is empty"
    elif name.strip(". ") == "":
        problem = "names no folder of its own"
    elif name != name.strip():
        problem = "begins or ends with a blank"
    elif wrong := next((c for c in name if c in FORBIDDEN or not c.isprintable()), None):
        problem = f"holds {wrong!r}"
    elif len(name.encode()) > LONGEST_NAME:
        problem = f"has more than {LONGEST_NAME} bytes"
    else:
        return name
    raise UserError(
        f"Run name {name!r} {problem}. Use letters, digits, '_', '-' and '.', e.g. 'first_run'."
    )


def split_options(text: str) -> tuple[str, str]:
    """`NAME?OPTIONS` -> both. An existing path may contain a `?` itself."""
    path = text
    while "?" in path and not os.path.exists(path):
        path = path.rpartition("?")[0]
    if not os.path.exists(path):
        path = text.partition("?")[0]
    return path, text[len(path) + 1 :]
