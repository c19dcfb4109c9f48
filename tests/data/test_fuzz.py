"""Minutes of coverage-guided fuzzing of every reader, bounded in memory and time by libFuzzer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metamon_ext.data.replays.sources import READERS
from tests.data.replays.test_sources import WRITERS

SECONDS = 20
MEGABYTES = 1000


@pytest.mark.long
@pytest.mark.parametrize("ending", READERS)
def test_no_input_breaks_a_reader(tmp_path: Path, repository: Path, ending: str) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, write in WRITERS.items():
        (corpus / name).write_bytes(write(tmp_path / name).read_bytes())
    limits = (f"-max_total_time={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-timeout=10")
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.fuzz_readers",
            ending,
            *limits,
            "-max_len=100000",
            corpus,
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(repository)},
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
