"""Where Metamon is not installed, what needs it says in one line what to install."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.tracking.tracker import has_metamon
from tests.support.replays import write_replay

pytestmark = pytest.mark.skipif(has_metamon(), reason="Metamon is installed here")


@pytest.mark.parametrize("words", [("parse_replays",), ("download", "teams")])
def test_what_needs_metamon_says_how_to_get_it(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]], words: tuple[str, ...]
) -> None:
    write_replay(tmp_path / "raw")
    folders = ("--input-dir", tmp_path / "raw", "--output-dir", tmp_path / "parsed")
    answer = cli(*words, *folders[: 4 if len(words) == 1 else 0])
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "Metamon is not installed here. Run this in Metamon's environment." in answer.stderr
    assert len(answer.stderr.splitlines()) == 1 and not (tmp_path / "parsed").exists()


def test_the_sets_have_names_without_metamon_too(
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    answer = cli("download")
    assert answer.returncode == 0
    for name in ("raw-replays", "parsed-replays", "self-play", "teams", "download_pokechamp"):
        assert name in answer.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("finetune", "--run_name", "r", "--save_dir", "s", "--finetune_from_model", "m"),
        ("adopt", "runs/r"),
    ],
)
def test_what_trains_and_records_models_says_where_to_run(
    cli: Callable[..., subprocess.CompletedProcess[str]], words: tuple[str, ...]
) -> None:
    answer = cli(*words)
    assert answer.returncode == 2
    assert answer.stderr == (
        "metamon-ext: Metamon is not installed here. Run this in Metamon's environment.\n"
    )
