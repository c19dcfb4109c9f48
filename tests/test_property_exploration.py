"""The property tests on examples drawn at random."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_properties_hold_for_random_examples(repository: Path) -> None:
    """A failure prints its example, and the seed that finds it again."""
    seed = secrets.randbits(32)
    words = ["-m", "hypothesis and not long", "--hypothesis-profile", "random"]
    command = [sys.executable, "-m", "pytest", "tests", *words, f"--hypothesis-seed={seed}"]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert answer.returncode == 0, f"--hypothesis-seed={seed}\n{answer.stdout}{answer.stderr}"
