"""`meta_game` and `calculate_elo --head_to_head`, as a user calls them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.cli import main
from metamon_ext.evaluation.games import tally
from metamon_ext.evaluation.results import read_head_to_head
from tests.support.battles import result_of

HEAD = "player,opponent,wins,losses,ties"
CYCLE = f"{HEAD}\nrock,scissors,70,20,10\nscissors,paper,70,20,10\npaper,rock,70,20,10\n"
FILES = ("meta_game_analysis.json", "interaction_matrix.json", "meta_strategy.json")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "league.csv"
    path.write_text(CYCLE)
    return path


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The line that refuses it, with exit code 2."""
    assert main([*map(str, argv)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


def test_a_table_with_a_cycle(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["meta_game", "--head_to_head", str(table), "--draws", "50"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "300 games. Written to" in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines() if str(table.parent) not in line)
    analysis, interactions, strategy = (
        json.loads((table.parent / "meta_game" / name).read_bytes()) for name in FILES
    )
    assert {*strategy["strategy"]} == {*interactions["players"]} == {"rock", "paper", "scissors"}
    for estimate in strategy["strategy"].values():
        assert estimate["value"] == pytest.approx(1 / 3)
        assert estimate["low"] < 1 / 3 < estimate["high"]
    rock, scissors = (interactions["players"].index(player) for player in ("rock", "scissors"))
    assert interactions["observed"][rock][scissors] == 0.75
    assert interactions["observed"][rock][rock] is None
    assert interactions["win_rate"][scissors][rock] == pytest.approx(26 / 102)
    assert analysis["value"] == 0.5 and analysis["cyclic_share"]["value"] > 0.95
    assert [member["rating"]["games"] for member in analysis["members"]] == [200] * 3


def test_run_folders_are_joined(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The first has met the second in one folder, and the third in another."""
    for folder, players in (("one", ("random", "always")), ("two", ("random", "never"))):
        with ResultStore(tmp_path / folder / "results.sqlite") as store:
            for spec in schedule(*players, 20, pairs=True):
                store.add(spec, result_of(spec, "always" if "always" in players else "random"))
    folders = [str(tmp_path / folder) for folder in ("one", "two")]
    assert main(["meta_game", *folders, "--draws", "20", "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert content == json.loads((tmp_path / "one/meta_game/meta_game_analysis.json").read_bytes())
    assert content["games"] == 40 and content["unplayed_pairs"] == 1
    assert "1 of 3 pairs have not met" in content["notes"][-1]
    assert content["members"][0]["rating"]["player"] == "always"

    options = ["--min_games", "1", "--output_dir", str(tmp_path / "out"), "--draws", "20"]
    options += ["--solver", "uniform", "--exploration", "0.5"]
    assert main(["meta_game", *folders, *options]) == 0
    said = capsys.readouterr()
    assert "Left out, as not all pairs have 1 games: never." in said.err
    strategy = json.loads((tmp_path / "out" / FILES[2]).read_bytes())["strategy"]
    assert {player: each["value"] for player, each in strategy.items()} == {
        "always": 0.5,
        "random": 0.5,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Pass either the folders of tournaments or --head_to_head."),
        (["{table}", "--head_to_head", "{table}"], "Pass either the folders"),
        (["one", "one"], "A run folder is named twice."),
        (["nowhere"], "there is no folder nowhere"),
        (["--head_to_head", "{table}", "--solver", "nahs"], "Did you mean 'nash'?"),
        (["--head_to_head", "{table}", "--exploration", "1.5"], "exploration must be from 0 to 1"),
        (["--head_to_head", "{table}", "--draws", "1"], "draws must be a whole number of at least"),
        (["--head_to_head", "{table}", "--seed", "-1"], "-1 is not a seed"),
        (["--head_to_head", "{table}", "--players", "rok", "paper"], "Did you mean 'rock'?"),
        (["--head_to_head", "{table}", "--min_games", "101"], "Lower --min_games 101."),
        (["--head_to_head", "{table}", "--output_dir", "{table}"], "Cannot write"),
    ],
)
def test_bad_input_is_refused(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    words = [option.format(table=table) for option in options]
    assert said in refused(capsys, "meta_game", *words)
    assert [path.name for path in table.parent.iterdir()] == ["league.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks the columns player, opponent, wins, losses, ties."),
        ("player,opponent,wins,losses\na,b,1,2", "lacks the columns ties."),
        (f"{HEAD}\n", "has 0 games."),
        (f"{HEAD}\na,b,99999999,1,0", "has 100,000,000 games."),
        (f"{HEAD}\na,b,1,x,0", "line 2: losses must be a whole number of at least 0, not 'x'."),
        (f"{HEAD}\na,b,1,-2,0", "line 2: losses must be a whole number of at least 0, not '-2'."),
        (f"{HEAD}\na,b,1,2", "line 2: ties must be a whole number of at least 0, not None."),
        (f"{HEAD}\na,a,1,2,0", "line 2: player 'a' and opponent 'a' must be two names."),
        (f"{HEAD}\n,a,1,2,0", "line 2: player '' and opponent 'a' must be two names."),
        (f"{HEAD}\na,b,1,2,0\na,b,1,2,0", "line 3: 'a' against 'b' is in line 2 already."),
        (f"{HEAD}\na,b,1,2,0\nb,a,2,0,0", "'b' against 'a' is 2-0-0, but line 2 has 1-2-0"),
        (f'{HEAD}\n"a,b,1,2,0', "is not a CSV in UTF-8"),
        (f"{HEAD}\n\udcff,b,1,2,0", "is not a CSV in UTF-8"),
        (None, "Cannot read"),
    ],
)
def test_a_bad_table_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    path = tmp_path / "league.csv"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    assert said in refused(capsys, "calculate_elo", "--head_to_head", path)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Each two players once, or twice from both sides, in any order of the columns."""
    games = {("a", "b"): (3, 0, 2), ("a", "c, jr."): (0, 4, 0), ("b", "c, jr."): (1, 1, 1)}
    both = games | {(b, a): (losses, wins, ties) for (a, b), (wins, losses, ties) in games.items()}
    for rows in (games, both):
        path = tmp_path / "league.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["ties", "place", "player", "opponent", "wins", "losses"])
            for (player, opponent), (wins, losses, ties) in rows.items():
                writer.writerow([ties, 1, player, opponent, wins, losses])
        read = {
            players: tuple(outcomes.sum(0)[[0, 2, 1]].tolist())
            for players, outcomes in tally(read_head_to_head(path).games).items()
        }
        assert read == games


def test_a_table_is_rated(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with table.open("a") as file:
        file.writelines(f"{player},idle,0,0,0\n" for player in ("rock", "paper"))
        file.writelines(f"{player},last,90,5,5\n" for player in ("rock", "paper", "scissors"))
    assert main(["calculate_elo", "--head_to_head", str(table)]) == 0
    said = capsys.readouterr()
    assert "600 battles rated." in said.out
    assert "Left out, as they have no games: idle." in said.err
    assert "classic Elo is of a random order" in said.err
    content = json.loads((table.parent / "elo_results_ratings.json").read_bytes())
    elo = {player: row["elo"] for player, row in content["ratings"].items()}
    assert [*elo][-1] == "last" and elo["rock"] - elo["last"] > 300
    for a, b in combinations(("rock", "paper", "scissors"), 2):
        assert elo[a] == pytest.approx(elo[b], abs=1e-6)
    assert main(["visualize_results", "--head_to_head", str(table)]) == 0
    assert "<h1>Tournament</h1>" in (table.parent / "visualizations/report.html").read_text()


@pytest.mark.parametrize("command", ["calculate_elo", "visualize_results"])
def test_one_source_of_battles_is_needed(
    table: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    said = "Pass one of --tournament_dir and --head_to_head."
    assert said in refused(capsys, command)
    words = ["--tournament_dir", table.parent, "--head_to_head", table]
    assert said in refused(capsys, command, *words)
