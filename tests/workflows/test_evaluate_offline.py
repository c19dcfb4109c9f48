"""`metamon-ext evaluate_offline`: figures of networks on recorded battles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metamon_ext.cli import main
from metamon_ext.workflows.evaluate_offline import PLOT, RESULT
from tests.conftest import ROOT
from tests.training.lite.test_predictor import save

Output = pytest.CaptureFixture[str]
ARENA = ROOT / "tests" / "data" / "arena"
DATA = ("--data_dir", str(ARENA))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A network with critics and one without."""
    folder = tmp_path_factory.mktemp("networks")
    return str(save(folder / "critics.pt")), str(save(folder / "cloned.pt", gammas=()))


def test_the_command_in_full(
    networks: tuple[str, str], tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out"
    assert main(["evaluate_offline", "--models", *networks, *DATA, "--output_dir", str(out)]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if not line.endswith(".pt")]
    assert max(map(len, lines[:-1])) <= 80 and "…" not in printed
    assert "10 battles, 20 trajectories, 667 decisions" in printed
    assert printed.count("no trained critics") == 1 and printed.count("Brier") == 1
    assert (out / PLOT).read_bytes().startswith(b"\x89PNG")
    written = json.loads((out / RESULT).read_text())
    assert main(["evaluate_offline", "--model", *networks, *DATA, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    critics, cloned = (written["models"][name] for name in networks)
    assert set(critics["by"]) == {"rating", "format", "turn"}
    assert critics["overall"]["decisions"] == 667
    assert len(critics["by"]["format"]) == 5 and critics["reliability"]
    assert set(cloned["overall"]["figures"]) == {"accuracy", "cross_entropy"}


def test_sides_folders_and_caches_agree(
    networks: tuple[str, str], tmp_path: Path, capsys: Output
) -> None:
    cache = str(tmp_path / "c.mmap")
    assert main(["cache", "build", str(ARENA), "--output", cache]) == 0
    capsys.readouterr()

    def figures(*words: str) -> dict[str, object]:
        assert main(["evaluate_offline", "--model", networks[0], *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["models"][networks[0]]["overall"]

    counts = []
    for side in ("train", "test"):
        words = ("--split", side, "--test_fraction", "0.3")
        folder = figures(*DATA, *words)
        assert figures("--cached", cache, *words) == folder
        assert figures("--cached", f"{cache}?split={side}&test_fraction=0.3") == folder
        counts.append(folder["battles"])
    assert sum(counts) == 10 and min(counts) > 0
    assert figures(*DATA, "--max_battles", "3")["battles"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--model", "random"), "Policy 'random' gives no probabilities."),
        (("--model", "{net}?temperature=0.5"), "Leave out temperature."),
        (("--model", "{net}", "{net}"), "A model is named twice"),
        (("--model", "{net}", "--cached", "x"), "Pass either --data_dir or --cached."),
        (("--model", "{net}", "--test_fraction", "7"), "test_fraction must be from 0 to 1, not 7"),
        (("--model", "{net}", "--split", "test", "--test_fraction", "0"), "no trajectories"),
        (("--model", "{net}", "--max_battles", "0"), "max_battles must be"),
        (("--model", "nowhere"), "Unknown policy 'nowhere'."),
    ],
)
def test_bad_input_is_one_line(
    networks: tuple[str, str], words: tuple[str, ...], says: str, capsys: Output
) -> None:
    words = tuple(word.format(net=networks[0]) for word in words)
    assert main(["evaluate_offline", *words, *DATA]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and len(captured.err.splitlines()) == 1
