"""Coverage-guided fuzzing of one reader.

    python -m tests.support.fuzz_readers NAME [libFuzzer's flags]

NAME is the ending of a file that the audit reads. Needs atheris, which has wheels for few Pythons.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["metamon_ext", "tarfile", "gzip"]):
    from metamon_ext.data.replays.sources import READERS, records
    from metamon_ext.data.validation import REASONS, validate
    from tests.support.states import make_name


def main() -> None:
    name, *flags = sys.argv[1:]
    assert name in READERS, f"one of {' '.join(READERS)}"
    with tempfile.TemporaryDirectory() as folder:
        stem = make_name().filename.removesuffix(".json.lz4")
        path = Path(folder, f"{stem}{name}")

        def read(content: bytes) -> None:
            path.write_bytes(content)
            for record in records(path):
                assert validate(record).reason in {None, *REASONS}

        atheris.Setup([sys.argv[0], *flags], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
