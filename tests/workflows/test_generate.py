"""Data to learn from: exactly as many battles as were asked for, and where they came from."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamon_ext.arena.rows import read_results
from metamon_ext.cli import main
from metamon_ext.data.trajectory import TrajectoryName, read_trajectory, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.workflows.generate import drawer
from tests.conftest import ROOT, cli_command
from tests.support.battles import is_decided
from tests.support.interruptions import kill_when, on_a_full_disk


def generate(folder: Path, battles: int, *more: object) -> list[str]:
    common = ["--num_battles", battles, "--output_dir", folder, "--team_set", "sample"]
    return ["generate_selfplay_data", *map(str, [*common, "--workers", 2, *more])]


def decided(folder: Path) -> int:
    try:
        rows = read_results(folder / "results.sqlite")
    except UserError:
        return 0
    return sum(is_decided(row) for row in rows)


def test_ties_come_on_top(tmp_path: Path) -> None:
    """Random players in generation 1 tie often enough; a tie has no place in a file."""
    command = generate(tmp_path, 60, "--model", "max_base_power", "--opponent_model", "random")
    assert main(command) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    rows = read_results(tmp_path / "results.sqlite")
    files = list(trajectory_files(tmp_path))
    assert decided(tmp_path) == 60 == manifest["battles"]
    assert manifest["ties"] == sum(row.score == 0.5 for row in rows) == len(rows) - 60 > 0
    assert len(files) == 120 == manifest["trajectories"]
    outcomes = Counter(TrajectoryName.parse(path.name).outcome for path in files)
    assert outcomes == {"WIN": 60, "LOSS": 60}
    seats = Counter((row.player_a, row.player_b) for row in rows)
    assert abs(seats["random", "max_base_power"] - seats["max_base_power", "random"]) <= 1

    assert main(generate(tmp_path, 70, *command[-4:])) == 0  # more of the same
    assert decided(tmp_path) == 70
    assert main(command) == 2  # not fewer


def test_the_manifest_traces_the_data(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_text("epoch 1")
    model = f"tests.support.arena_policies:WithWeights?file={weights}"
    command = generate(tmp_path / "data", 2, "--model", model, "--opponent_model", "random")
    assert main(command) == 0
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["players"][model]["weights"] == str(weights)
    assert len(manifest["players"][model]["sha256"]) == 64
    assert manifest["team_set"] == "sample" and manifest["team_files"]
    assert manifest["settings"]["seed"] == 0 and manifest["versions"]["pokemon-showdown"]
    weights.write_text("epoch 2")
    assert main(command) == 2  # another player of the same name


def test_a_killed_run_ends_with_exactly_the_battles(tmp_path: Path) -> None:
    command = cli_command(generate(tmp_path, 80, "--model", "simple_heuristics"))
    kill_when(lambda: decided(tmp_path) >= 10, command)
    assert 10 <= decided(tmp_path) < 80
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert decided(tmp_path) == 80
    files = list(trajectory_files(tmp_path))
    assert len(files) == 160
    for path in files:
        read_trajectory(path)


@given(
    weights=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([1, 2, 5]), min_size=1),
    seed=st.integers(0, 10),
)
def test_opponents_are_drawn_by_their_weights(weights: dict[str, float], seed: int) -> None:
    """4 sd of a binomial of 2,000 draws with p = 1/2 are 90."""
    draw = drawer("model", weights, seed)
    battles = [draw(number) for number in range(2000)]
    assert battles == [draw(number) for number in range(2000)]
    assert all((a, b).count("model") == 1 for a, b in battles)
    assert Counter(battles[0::2])[battles[0]] and {a for a, _ in battles[0::2]} == {"model"}
    drawn = Counter(b if a == "model" else a for a, b in battles)
    for name, weight in weights.items():
        assert abs(drawn[name] - 2000 * weight / sum(weights.values())) < 90


def test_a_population_plays_itself(tmp_path: Path) -> None:
    population = tmp_path / "population.json"
    weights = '{"random": 1, "max_base_power": 3}'
    population.write_text(weights, encoding="utf-8-sig")  # with a byte order mark
    data = tmp_path / "data"
    assert main(generate(data, 20, "--population", population)) == 0
    pairs = Counter(
        frozenset((row.player_a, row.player_b)) for row in read_results(data / "results.sqlite")
    )
    assert pairs[frozenset(["max_base_power"])] > pairs[frozenset(["random"])]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "pass --model or --population"),
        (["--model", "nobody"], "Unknown policy 'nobody'."),
        (["--model", "random", "--population", "nowhere.json"], "nowhere.json must hold"),
        (["--population", "empty.json", "--opponent_model", "random"], "exclude each other"),
        (["--population", "empty.json"], "empty.json must hold"),
        (["--population", "negative.json"], "weights in (0, 1e100)"),
        (["--population", "infinite.json"], "weights in (0, 1e100)"),
        (["--model", "random", "--team_set", "paper"], "No team set 'paper'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.json").write_text("{}")
    Path("negative.json").write_text('{"random": -1}')
    Path("infinite.json").write_text('{"random": 1e308, "max_base_power": 1e308}')
    assert main(generate(tmp_path / "data", 2, *flags)) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1


def test_a_team_set_is_found_where_metamon_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from metamon_ext.arena.teams import SAMPLE_TEAMS, find_team_set

    monkeypatch.delenv("METAMON_CACHE_DIR", raising=False)
    assert find_team_set(None, "gen1ou") is None
    assert len(capsys.readouterr().err.splitlines()) == 1
    for named in ("competitive", "modern_replays", "nowhere/teams"):
        with pytest.raises(UserError, match=f"No team set '{named}' .METAMON_CACHE_DIR is not"):
            find_team_set(named, "gen1ou")
    folder = tmp_path / "teams" / "competitive"
    (folder / "gen1ou").mkdir(parents=True)  # as a download that failed leaves it
    monkeypatch.setenv("METAMON_CACHE_DIR", str(tmp_path))
    assert find_team_set(None, "gen1ou") is None
    assert "no gen1ou teams in" in capsys.readouterr().err
    shutil.copy(next((SAMPLE_TEAMS / "gen1ou").iterdir()), folder / "gen1ou" / "a.gen1ou_team")
    assert find_team_set("competitive", "gen1ou") == folder == find_team_set(None, "gen1ou")
    assert find_team_set(str(SAMPLE_TEAMS), "gen1ou") == SAMPLE_TEAMS
    assert capsys.readouterr().err == ""


def test_a_full_disk_ends_the_run_with_what_it_has(tmp_path: Path) -> None:
    command = cli_command(generate(tmp_path, 60, "--model", "simple_heuristics"))
    full = on_a_full_disk(command, 36_000)
    assert full.returncode == 1 and len(full.stderr.splitlines()) == 1, full.stderr
    assert 0 < decided(tmp_path) < 60
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert decided(tmp_path) == 60
