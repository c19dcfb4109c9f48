"""PSRO, small: what it decides and keeps, and that it resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.rows import read_results
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.workflows.psro import exploitability_of
from tests.conftest import ROOT, cli_command
from tests.support.interruptions import kill_when
from tests.training.lite.test_train import SMALL

Command = Callable[..., list[str]]
ANALYSIS = ["population.json", "interaction_matrix.json", "meta_strategy.json"]
ANALYSIS += ["meta_game_analysis.json"]


@pytest.fixture(scope="module")
def command() -> Command:
    """`command(folder, *more)`: one iteration from heuristics; the gate is easy to pass."""
    flags: dict[str, object] = {
        **{"iterations": 1, "num_battles": 6, "steps": 10, "workers": 1, "solver": "uniform"},
        **{"num_race_battles": 16, "num_gate_battles": 64, "battles_per_matchup": 10, "draws": 20},
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    words += ["--population", "random", "max_base_power", "--gate", "-800", "-400"]
    words += [word for binding in SMALL for word in ("--gin", binding)]
    return lambda folder, *more: ["psro", "--output_dir", str(folder), *words, *map(str, more)]


@pytest.fixture(scope="module")
def finished(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run and what it said."""
    folder = tmp_path_factory.mktemp("psro")
    answer = subprocess.run(cli_command(command(folder)), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder, answer.stdout


def lines_of(folder: Path) -> list[dict]:
    text = (folder / "psro.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()[1:]]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_an_iteration_says_what_it_did_and_why(finished: tuple[Path, str]) -> None:
    folder, said = finished
    (line,) = lines_of(folder)
    assert line == read(folder / "iteration_1" / "iteration_summary.json")
    assert line["strategy"] == {"random": 0.5, "max_base_power": 0.5}
    assert line["learner"] == "max_base_power", "without any weights the best member plays"
    assert line["candidate"] == line["race"]["leader"] in line["checkpoints"]
    assert line["added"] and line["gate"]["verdict"] == "better"
    assert line["reason"].startswith("Added to the population: ")
    assert line["gate"]["base"] == "mixture:iteration_1/meta_strategy.json"
    assert line["gate"]["decided"] in line["reason"] and line["reason"] in said
    low, value, high = (line["exploitability"][name] for name in ("low", "value", "high"))
    assert -0.5 < low < value < high < 0.5 and "lower bound" in said
    assert line["exploitability"]["battles"] == line["gate"]["battles"]


def test_the_files_are_those_of_the_last_analysis(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    (line,) = lines_of(folder)
    members = [*line["population"], line["candidate"]]
    assert list(read(folder / "population.json")) == members
    assert list(read(folder / "iteration_1" / "population.json")) == members[:2]
    for name in ANALYSIS:
        assert (folder / "iteration_1" / name).read_bytes() != (folder / name).read_bytes()
    games = read(folder / "interaction_matrix.json")["games"]
    assert sum(map(sum, games)) == 2 * 3 * 8, "uniform does not depend on payoffs"
    summary = read(folder / "psro_summary.json")
    assert summary["population"] == members and summary["iterations"] == 1
    assert summary["exploitability"] == [line["exploitability"]]
    assert set(summary["strategy"]) == set(members)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and line["reason"][:24] in page
    assert "A lower bound of the exploitability" in page


def test_the_same_command_again_plays_and_trains_nothing(
    finished: tuple[Path, str], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, said = finished
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p.suffix in (".pt", ".json")}
    before = read_results(folder / "results.sqlite")
    assert main(command(folder)) == 0
    assert capsys.readouterr().out == f"Nothing to do: {folder} has 1 finished iterations.\n" + said
    assert before == read_results(folder / "results.sqlite")
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert main(command(folder, "--seed", 1)) == 2
    assert "has a run with seed 0, not 1" in capsys.readouterr().err


def test_killed_in_each_stage_it_ends_as_if_undisturbed(
    finished: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    words, (whole, _) = cli_command(command(tmp_path)), finished
    folder, (line,) = tmp_path / "iteration_1", lines_of(whole)

    def battles() -> int:
        try:
            return len(read_results(tmp_path / "results.sqlite"))
        except UserError:
            return 0

    raced = 8 + 6 + line["race"]["battles"]
    stages = {
        "payoffs": lambda: battles() > 2,
        "generating": lambda: len(list(folder.rglob("selfplay/*/*.lz4"))) > 2,
        "training": lambda: (folder / "model" / "training_log.csv").exists(),
        "gate": lambda: battles() > raced + 2,
        "last analysis": lambda: (folder / "iteration_summary.json").exists(),
    }
    for stage, reached in stages.items():
        ended = kill_when(reached, words)
        assert ended.killed, f"{stage}: {ended.stderr}"
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    for name in [*ANALYSIS, "psro.jsonl", "psro_summary.json", "iteration_1/plan.json"]:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
    assert len(read_results(tmp_path / "results.sqlite")) == len(
        read_results(whole / "results.sqlite")
    )


def test_more_iterations_extend_a_run(
    finished: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished[0], tmp_path / "run")
    assert main(command(folder, "--iterations", 2)) == 0
    first, second = lines_of(folder)
    assert first == lines_of(finished[0])[0]
    assert second["population"] == ["random", "max_base_power", first["candidate"]]
    assert second["learner"] == first["candidate"], "the only member with weights"
    assert set(second["training"]) == {"iteration_1", "iteration_2"}
    assert set(read_results(finished[0] / "results.sqlite")) < set(
        read_results(folder / "results.sqlite")
    )
    assert read(folder / "psro_summary.json")["iterations"] == 2


def test_a_response_that_does_not_beat_the_mixture_is_not_added(
    finished: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    """The same battles again, before a gate that is hard to pass."""
    folder = shutil.copytree(finished[0], tmp_path / "run")
    journal = folder / "psro.jsonl"
    settings = json.loads(journal.read_text().splitlines()[0]) | {"gate": [0.0, 400.0]}
    journal.write_text(json.dumps(settings) + "\n")
    (folder / "psro_summary.json").unlink()
    assert main(command(folder, "--gate", 0, 400)) == 0
    (line,) = lines_of(folder)
    assert not line["added"] and line["reason"].startswith("Not added: ")
    assert line["gate"]["verdict"] == "not better" and "H0 accepted" in line["reason"]
    assert list(read(folder / "population.json")) == ["random", "max_base_power"]


def test_exploitability_is_a_win_rate_minus_one_half() -> None:
    gate = {"elo": 0.0, "low": -190.85, "high": 190.85, "kind": "corrected", "battles": 10}
    found = exploitability_of(gate)
    assert found["value"] == 0 and found["kind"] == "corrected" and found["is_lower_bound"]
    assert found["low"] == pytest.approx(-0.25, abs=1e-4) == -found["high"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--population", "random"], "A population needs at least two members."),
        (["--population", "random", "randm"], "Unknown policy 'randm'."),
        (["--population", "random", "random?"], "are the same policy"),
        (["--population", "random", "mixture:{}"], "is a mixture. Name its members"),
        (["--init_from_checkpoint", "random"], "random has no weights to start from."),
        (["--solver", "nahs"], "Unknown meta-solver 'nahs'. Did you mean 'nash'?"),
        (["--exploration", "1.5"], "exploration must be from 0 to 1, not 1.5."),
        (["--battles_per_matchup", "1"], "battles_per_matchup must be at least 2"),
        (["--trainer", "metamon"], "Metamon trains from a model."),
        (["--epochs", "3"], "--epochs needs --steps for the built-in learner."),
        (["--checkpoint_options", "betta=8"], "A checkpoint has no option 'betta'."),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "population.json").write_text('{"random": 1}')
    flags = [flag.format(tmp_path / "population.json") for flag in flags]
    base = [] if "--population" in flags else ["--population", "random", "max_base_power"]
    assert main(["psro", "--output_dir", str(tmp_path / "run"), *base, *flags]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run" / "iteration_1").exists()
