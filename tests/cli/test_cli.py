"""What a user can get wrong gets one line that names it and the cure, and exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import gin
import pytest

from metamon_ext.arena.teams import SAMPLE_TEAMS
from metamon_ext.cli import main
from metamon_ext.cli.models import FUNCTIONS
from metamon_ext.errors import UserError
from tests.conftest import ROOT, cli_command
from tests.support.interruptions import on_a_full_disk

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

PLAY = ("play", "--p1", "random", "--p2", "random", "--battles", "2", "--workers", "1")


def refused(answer: subprocess.CompletedProcess[str], exit_code: int = 2) -> str:
    """The one line (a list of teams may follow) with which bad input is refused."""
    assert answer.returncode == exit_code, answer.stdout + answer.stderr
    assert answer.stdout == "" and "Traceback" not in answer.stderr
    first, *more = answer.stderr.strip().split("\n")
    assert first.startswith("metamon-ext: ") and all(line.startswith("  ") for line in more)
    return answer.stderr


def test_an_unknown_format_is_refused(cli: Cli) -> None:
    assert "unknown battle format 'gen1xx'" in refused(cli(*PLAY, "--battle_format", "gen1xx"))


@pytest.mark.parametrize("name", ["[Gen 1] OU", "GEN1OU", "gen1ou@@@Sleep Clause Mod"])
def test_another_name_of_a_format_is_refused_with_its_own(cli: Cli, name: str) -> None:
    said = refused(cli(*PLAY, "--battle_format", name))
    assert f"{name!r} is called gen1ou" in said


def test_doubles_are_refused(cli: Cli) -> None:
    assert "not a singles format" in refused(cli(*PLAY, "--battle_format", "gen9doublesou"))


def test_a_format_without_sample_teams_asks_for_some(cli: Cli) -> None:
    assert "--team_set" in refused(cli(*PLAY, "--battle_format", "gen5ou"))


@pytest.mark.parametrize(
    "name", ["heuristic", "no/such/checkpoint", "tests.support.arena_policies:None_"]
)
def test_an_unknown_policy_is_refused(cli: Cli, name: str) -> None:
    assert name in refused(cli("play", "--p1", name, "--p2", "random"))


def test_an_option_that_a_policy_does_not_take_is_refused(cli: Cli) -> None:
    answer = cli("play", "--p1", "random?temperature=2", "--p2", "random", "--battles", 1)
    assert "random?temperature=2" in refused(answer)


def test_illegal_teams_are_listed_with_the_reasons(cli: Cli, tmp_path: Path) -> None:
    good = SAMPLE_TEAMS / "gen1ou" / "tauros-standard.gen1ou_team"
    shutil.copy(good, tmp_path)
    (tmp_path / "mewtwo.txt").write_text(good.read_text().replace("Tauros", "Mewtwo"))
    (tmp_path / "empty.txt").write_text("")
    said = refused(cli(*PLAY, "--teams", tmp_path))
    assert "2 of 3 teams" in said
    assert "mewtwo.txt: " in said and "Mewtwo" in said and "empty.txt: " in said


def test_a_team_file_that_is_not_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff\xe0")
    assert "UTF-8" in refused(cli(*PLAY, "--teams", tmp_path))


def test_a_folder_of_teams_is_used(cli: Cli, tmp_path: Path) -> None:
    for team in list((SAMPLE_TEAMS / "gen1ou").iterdir())[:2]:
        shutil.copy(team, tmp_path / f"{team.stem}.txt")
    answer = cli(*PLAY, "--teams", tmp_path, "--json")
    assert json.loads(answer.stdout.splitlines()[-1])["battles"] == 2


def test_an_old_node_is_refused(cli: Cli, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v16.20.0\n")
    node.chmod(0o755)
    said = refused(cli(*PLAY, METAMON_EXT_NODE=str(node)))
    assert "v16.20.0" in said and "18 or newer" in said


def test_a_node_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert "METAMON_EXT_NODE" in refused(cli(*PLAY, METAMON_EXT_NODE=str(tmp_path / "node")))


def test_without_node_and_npm_the_cure_is_named(cli: Cli, tmp_path: Path) -> None:
    python = tmp_path / "python"  # an interpreter with no Node beside it
    code = "import sys, metamon_ext.cli; sys.executable = sys.argv.pop(1); "
    code += "sys.exit(metamon_ext.cli.main())"
    environment = os.environ | {"PATH": str(tmp_path)}
    environment.pop("METAMON_EXT_NODE", None)
    command = [*cli_command([])[:1], "-c", code, str(python), "setup"]
    environment["METAMON_EXT_CACHE_DIR"] = str(tmp_path / "cache")
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert "Node.js was not found" in refused(answer)
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    node.chmod(0o755)
    environment["PATH"] = f"{tmp_path}:/nowhere"
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert "npm was not found" in refused(answer)


def test_a_missing_simulator_is_named(cli: Cli, tmp_path: Path) -> None:
    said = refused(cli(*PLAY, METAMON_EXT_SIMULATOR="", METAMON_EXT_CACHE_DIR=str(tmp_path)))
    assert "metamon-ext setup" in said
    assert "METAMON_EXT_SIMULATOR" in refused(cli(*PLAY, METAMON_EXT_SIMULATOR=str(tmp_path)))


def test_a_folder_that_cannot_be_written_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "Cannot write" in refused(cli(*PLAY, "--output_dir", tmp_path / "file" / "run"))
    answer = cli(*PLAY, "--save_trajectories_to", tmp_path / "file" / "run")
    assert "Cannot write" in refused(answer)


def test_a_full_disk_is_said_in_one_line_and_the_run_goes_on_later(tmp_path: Path) -> None:
    words = "play --p1 simple_heuristics --p2 random --battles 60 --workers 1 --output_dir"
    command = cli_command([*words.split(), tmp_path])
    full = on_a_full_disk(command, 36_000)
    assert "make room, then run it again" in refused(full, exit_code=1)
    answer = subprocess.run(
        [*command, "--resume", "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert json.loads(answer.stdout.splitlines()[-1])["battles"] == 60


def test_trajectories_on_a_full_disk_stop_the_run_in_one_line(tmp_path: Path) -> None:
    command = cli_command([*PLAY, "--save_trajectories_to", tmp_path])
    full = on_a_full_disk(command, 2_000)
    said = refused(full, exit_code=1)
    assert f"Cannot write {tmp_path / 'gen1ou'}" in said and "Free disk space" in said
    assert list(tmp_path.rglob("*.*")) == []


def test_resume_without_a_folder_is_refused(cli: Cli) -> None:
    assert "--output_dir" in refused(cli(*PLAY, "--resume"))


def test_json_holds_what_is_promised(cli: Cli) -> None:
    answer = json.loads(cli(*PLAY, "--json").stdout.splitlines()[-1])
    promised = "battles p1_wins p2_wins ties unfinished decisions seconds decisions_per_second"
    assert {*promised.split(), "battles_per_second", "digest"} <= set(answer)


def test_an_answer_that_nobody_reads_to_its_end_is_no_error() -> None:
    with subprocess.Popen(
        cli_command(["models"]), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_models_lists_the_heuristics(cli: Cli) -> None:
    names = json.loads(cli("models", "--json").stdout)["heuristics"]
    assert names == ["random", "max_base_power", "simple_heuristics"]


def test_one_battle_is_no_benchmark(cli: Cli) -> None:
    assert "--num_battles" in refused(cli("benchmark", "arena", "--battles", 1, "--workers", 1))


def test_the_arena_benchmark_reports_a_ratio_of_one_run(cli: Cli) -> None:
    answer = json.loads(
        cli(
            *("benchmark", "arena", "--battles", 10, "--rounds", 1, "--workers", 1, "--json")
        ).stdout.splitlines()[-1]
    )
    ratio = answer["decisions_per_second"] / answer["simulator_decisions_per_second"]
    assert answer["ratio_to_simulator"] == pytest.approx(ratio, abs=2e-3)
    assert 0 < answer["peak_memory_mb"] < 1500


def test_gin_adds_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @gin.configurable
    def refuse() -> int:
        raise UserError("no")

    monkeypatch.setitem(FUNCTIONS, "models", refuse)
    assert main(["models"]) == 2
    assert capsys.readouterr().err == "metamon-ext: no\n"
