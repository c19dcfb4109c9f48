"""Standard output and error are ours; what others print goes to a file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


class _Log(io.TextIOWrapper):
    """A file of text that nothing depends on: what cannot be written, on a full disk, is lost."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


@contextmanager
def print_to(log: Path) -> Iterator[TextIO]:
    """In the block everything that is printed goes to the end of a file, whether by Python, by
    other languages, or by child processes. Yields what standard error was before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    streams, descriptors = (sys.stdout, sys.stderr), (os.dup(1), os.dup(2))
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with (
        open(log, "ab", buffering=0) as raw,
        _Log(raw, "utf-8", "backslashreplace", write_through=True) as file,
        terminal,
    ):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        try:
            yield terminal
        finally:
            file.flush()
            sys.stdout, sys.stderr = streams
            for descriptor, place in zip(descriptors, (1, 2), strict=True):
                os.dup2(descriptor, place)
                os.close(descriptor)
