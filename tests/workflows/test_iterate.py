"""The loop, small: what it decides and keeps, and that it resumes where it was stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.rows import read_results
from metamon_ext.arena.teams import SAMPLE_TEAMS
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.evaluation.games import Game, HeadToHead
from metamon_ext.training.lite.checkpoint import load_checkpoint
from metamon_ext.workflows.iterate_config import with_options
from metamon_ext.workflows.iteration import differ, pooled_payoffs
from tests.conftest import ROOT, cli_command
from tests.support.interruptions import kill_when
from tests.training.lite.test_train import SMALL

FIRST, LAST = (f"iteration_1/model/checkpoints/step_{step}.pt" for step in (5, 10))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """`command(folder, *more)`: two iterations from `random`; the gate is easy to pass."""
    held_out = tmp_path_factory.mktemp("held_out")
    (held_out / "gen1ou").mkdir()
    shutil.copy(next((SAMPLE_TEAMS / "gen1ou").iterdir()), held_out / "gen1ou" / "a.gen1ou_team")
    flags: dict[str, object] = {
        **{"base": "random", "iterations": 2, "num_battles": 6, "steps": 10, "workers": 1},
        **{"num_race_battles": 8, "num_gate_battles": 64, "num_table_battles": 2},
        **{"held_out_team_set": held_out, "data_dir": ROOT / "tests/data/arena/gen1ou"},
        **{"generate_options": "temperature=0.5", "keep_iterations": 1},
    }
    words = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    words += ["--gate", "-800", "-400"]
    words += [word for binding in SMALL for word in ("--gin", binding)]
    return lambda folder, *more: ["iterate", "--output_dir", str(folder), *words, *map(str, more)]


@pytest.fixture(scope="module")
def finished(
    command: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A finished run and what it said."""
    folder = tmp_path_factory.mktemp("iterate")
    answer = subprocess.run(cli_command(command(folder)), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder, answer.stdout


def lines_of(folder: Path) -> list[dict]:
    text = (folder / "iterations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()[1:]]


def test_each_iteration_says_what_it_did_and_why(finished: tuple[Path, str]) -> None:
    folder, said = finished
    one, two = lines_of(folder)
    assert one["champion_before"] == "random" and two["champion_before"] == one["champion"]
    for line in (one, two):
        number = line["iteration"]
        assert line["candidate"] == line["race"]["leader"] in line["checkpoints"]
        assert line["promoted"] == (line["gate"]["verdict"] == "better")
        assert line["champion"] == line["candidate" if line["promoted"] else "champion_before"]
        assert line["gate"]["decided"] in line["reason"]
        assert [row["held_out"] for row in line["tables"]] == [False, True] * 2
        assert line["training"][f"iteration_{number}"] == 6
        assert line["candidate"] in said.replace("\n", "") or "step_" in said
    assert one["champion"] in (FIRST, LAST), "the gate is far below equal strength"
    assert max(len(line) for line in said.splitlines() if not line.startswith("The ")) <= 80
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and two["reason"][:12] in page


def test_opponents_are_harder_ones_more_often_and_none_is_forgotten(
    finished: tuple[Path, str],
) -> None:
    first, second = (
        json.loads((finished[0] / f"iteration_{k}" / "plan.json").read_text()) for k in (1, 2)
    )
    assert first["seats"] == ["random"], "a heuristic has no temperature"
    assert set(first["opponents"].values()) == {round(1 / 3, 6)}, "nothing is known yet"
    champion = second["champion"]
    assert second["seats"] == [f"{champion}?temperature=0.5"]
    weights = second["opponents"]
    assert set(weights) == {champion, "random", "simple_heuristics", "max_base_power"}
    assert weights["simple_heuristics"] > weights["random"] > 0.2 / 4


def test_what_no_iteration_needs_is_deleted(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    line = lines_of(folder)[0]
    assert {path.name for path in (folder / "iteration_1").iterdir() if path.is_dir()} == {"model"}
    there = {file for file in line["checkpoints"].values() if (folder / file).exists()}
    assert there == {line["checkpoints"][line["champion"]]}
    assert list((folder / "iteration_2" / "data").rglob("*.lz4"))


def test_training_starts_from_the_champion(finished: tuple[Path, str]) -> None:
    """From new weights without KL regularization, and then regularized towards the champion."""
    one, two = (finished[0] / f"iteration_{k}" / "model" for k in (1, 2))
    assert "Learner.kl_coeff = None" in (one / "config.gin").read_text()
    assert "Learner.kl_coeff = @PowerLaw()" in (two / "config.gin").read_text()
    reference = load_checkpoint(two)["learner"]["reference"]
    champion = load_checkpoint(finished[0] / lines_of(finished[0])[0]["champion"])
    weights = champion["learner"]["model"]
    assert all((reference[name] == weights[name]).all() for name in weights)


def test_the_same_command_again_plays_and_trains_nothing(
    finished: tuple[Path, str],
    command: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, said = finished
    before = (folder / "iterations.jsonl").read_bytes(), read_results(folder / "results.sqlite")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")}
    assert main(command(folder)) == 0
    assert capsys.readouterr().out == f"Nothing to do: {folder} has 2 finished iterations.\n" + said
    assert before[0] == (folder / "iterations.jsonl").read_bytes()
    assert before[1] == read_results(folder / "results.sqlite")
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")}
    assert main(command(folder, "--seed", 1)) == 2
    assert "has a run with seed 0, not 1" in capsys.readouterr().err


def test_killed_in_each_stage_it_ends_as_if_undisturbed(
    finished: tuple[Path, str], command: Callable[..., list[str]], tmp_path: Path
) -> None:
    words = cli_command(command(tmp_path, "--iterations", 1))
    folder = tmp_path / "iteration_1"

    def battles() -> int:
        try:
            return len(read_results(tmp_path / "results.sqlite"))
        except UserError:
            return 0

    stages = {
        "generating": lambda: len(list(folder.rglob("selfplay/*/*.lz4"))) > 2,
        "training": lambda: (folder / "model" / "training_log.csv").exists(),
        "gate": lambda: battles() > 20,
    }
    for stage, reached in stages.items():
        ended = kill_when(reached, words)
        assert ended.killed, f"{stage}: {ended.stderr}"
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    whole = finished[0]
    journal = (tmp_path / "iterations.jsonl").read_bytes()
    assert journal == b"".join((whole / "iterations.jsonl").read_bytes().splitlines(True)[:2])
    plan = Path("iteration_1", "plan.json")
    assert (tmp_path / plan).read_bytes() == (whole / plan).read_bytes()
    rows = read_results(tmp_path / "results.sqlite")
    assert set(rows) < set(read_results(whole / "results.sqlite"))
    (line,) = lines_of(tmp_path)
    assert len(rows) >= 6 + line["race"]["battles"] + line["gate"]["battles"] + 8


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--base", "nobody"], "Unknown policy 'nobody'."),
        (["--trainer", "light"], "Unknown trainer 'light'."),
        (["--gate", "30", "0"], "a test needs elo0 < elo1, not 30 and 0"),
        (["--new_data_share", "0"], "new_data_share must be above 0"),
        (["--gin", "Learner.lr = 1"], "lr"),
        (["--train_gin_config", "iterat"], "no gin config 'iterat'"),
        (["--population", "nowhere.json"], "nowhere.json must hold"),
        (["--data_dir", "nowhere"], "There is no folder nowhere."),
        (["--team_set", "sample", "sample"], "Team set 'sample' is named twice."),
        (["--held_out_team_set", "paper"], "No team set 'paper'"),
        (["--checkpoint_options", "betta=8"], "A checkpoint has no option 'betta'."),
        (["--generate_options", "beta=much"], "Option beta=much: give a number."),
        (["--generate_options", "beta"], "must have the form name=value"),
        (["--generate_options", "beta=-1"], "beta must be a number of at least 0, not -1"),
        (["--checkpoint_options", "beta=8&gamma=0.5"], "no critic for gamma = 0.5. Known: 0.9, 0."),
        (
            ["--train_gin_config", "behavior_cloning", "--checkpoint_options", "beta=8"],
            "Checkpoints do not take beta=8: there is no critic for gamma = 0.999. It was trained "
            "without critics.",
        ),
        (["--trainer", "metamon", "--gin", "a.b = 1"], "--gin is for the built-in learner."),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [] if "--base" in flags else ["--base", "random"]
    assert main(["iterate", "--output_dir", str(tmp_path / "run"), *base, *flags]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1
    assert not (tmp_path / "run" / "iteration_1").exists()


def test_options_take_the_place_of_a_policys_own() -> None:
    assert with_options("random", "") == "random"
    assert with_options("a?beta=100&temperature=0.5", "beta=8") == "a?beta=8&temperature=0.5"


def test_win_rates_of_a_policys_variants_are_pooled() -> None:
    games = [Game("a", "x", 1, 1.0), Game("x", "b", 2, 0.0), Game("b", "y", 3, 0.0)]
    payoffs = pooled_payoffs(games, {"a", "b"}, ["a", "x", "y", "b", "z"])
    against = dict(zip(payoffs.players, payoffs.win_rates[0], strict=True))
    assert against["x"] == 3 / 4
    assert against["y"] == 1 / 3
    assert against["b"] == against["z"] == against["a"] == 1 / 2


def test_win_rates_differ_where_their_intervals_allow_it() -> None:
    def rate(mean: float) -> HeadToHead:
        return HeadToHead(0, 0, 0, 1, mean, mean - 0.05, mean + 0.05)

    assert differ(rate(0.6), rate(0.5)) and not differ(rate(0.57), rate(0.5))
