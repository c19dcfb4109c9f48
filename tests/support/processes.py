"""Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_python(*words: object, cwd: Path, path: Path | None = None) -> str:
    """What `python WORDS...` prints; it must succeed. `path` goes first among its modules."""
    answer = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
