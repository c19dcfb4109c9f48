"""`calculate_elo` and `visualize_results` on tournaments' folders, as a user calls them."""

from __future__ import annotations

import csv
import errno
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.cli import main
from metamon_ext.files import LOCK
from tests.evaluation.test_report import Page
from tests.support.battles import result_of

HOSTILE = '<script>"$\\alpha$"</script>[red]_x'
PLAYERS = ["always", "random", HOSTILE]
FILES = ["matchup_matrix.csv", "progression.csv", "ratings.json", "statistics.csv"]


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory, schedule: Callable[..., list[BattleSpec]]
) -> Path:
    """Three players: one always wins, and the third has not met the first."""
    rng, path = random.Random(0), tmp_path_factory.mktemp("played") / "results.sqlite"
    with ResultStore(path) as store:
        for a, b in combinations(PLAYERS, 2):
            if {a, b} != {"always", HOSTILE}:
                for spec in schedule(a, b, 40, pairs=True):
                    winner = rng.choice([a, b, b, None])
                    result = result_of(spec, "always" if "always" in (a, b) else winner)
                    if spec.pair == 3:
                        result = replace(result, score=None, reason="cut off")
                    store.add(spec, result)
    return path


@pytest.fixture
def tournament(tmp_path: Path, played: Path) -> Path:
    shutil.copy(played, tmp_path)
    return tmp_path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def calculate(folder: Path, *options: object) -> int:
    return main(["calculate_elo", "--tournament_dir", str(folder), *map(str, options)])


def refused(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    *options: object,
    command: str = "calculate_elo",
) -> str:
    """The one line that refuses it, with exit code 2."""
    code = main([command, "--tournament_dir", str(folder), *map(str, options)])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    return said.err.strip().split("\n")[-1]


def test_four_files_say_the_same(tournament: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calculate(tournament) == 0
    out = capsys.readouterr().out
    content: dict[str, Any] = json.loads((tournament / "elo_results_ratings.json").read_bytes())
    ratings = content["ratings"]
    assert [r["rank"] for r in ratings.values()] == [1, 2, 3]
    first = ratings["always"]
    assert (first["wins"], first["losses"], first["ties"], first["unfinished"]) == (38, 0, 0, 2)
    assert first["low"] < first["elo"] < first["high"] and 0.5 < first["superiority"] < 1
    assert ratings["random"]["games"] == 76 and ratings["random"]["unfinished"] == 4
    assert sum(r["elo"] for r in ratings.values()) == pytest.approx(4500)
    assert (content["battles"], content["unfinished"]) == (76, 4)
    assert {m["player"] for m in content["matchups"]} <= set(PLAYERS)
    assert "cut off (4)" in content["notes"][0]

    table = rows_of(tournament / "elo_results_statistics.csv")
    assert [row["player"] for row in table] == list(ratings)
    for row in table:
        known = ratings[row["player"]]
        for column in ("elo", "low", "gxe", "classic_elo", "wins", "win_rate", "mean_turns"):
            assert float(row[column]) == pytest.approx(known[column], abs=1e-3)

    games = rows_of(tournament / "elo_results_progression.csv")
    last = {}
    for number, game in enumerate(games, 1):
        assert int(game["battle"]) == number
        last |= {game["player_a"]: game["elo_a"], game["player_b"]: game["elo_b"]}
    assert {p: float(e) for p, e in last.items()} == pytest.approx(
        {p: r["classic_elo"] for p, r in ratings.items()}, abs=0.01
    )

    matrix = {r["player"]: r for r in rows_of(tournament / "elo_results_matchup_matrix.csv")}
    assert list(matrix) == list(ratings)
    assert matrix["always"]["random"] == "1.0" and matrix["random"]["always"] == "0.0"
    assert matrix["always"]["always"] == matrix["always"][HOSTILE] == ""
    assert float(matrix["random"][HOSTILE]) + float(matrix[HOSTILE]["random"]) == pytest.approx(1)
    assert "always" in out and "38-0-0" in out and "76 battles rated" in out


def test_an_anchor_moves_all_ratings_but_not_classic_elo(tournament: Path) -> None:
    calculate(tournament)
    free = json.loads((tournament / "elo_results_ratings.json").read_bytes())["ratings"]
    calculate(tournament, "--anchor", "random", "--anchor_rating", 1000, "--output_prefix", "fixed")
    fixed = json.loads((tournament / "fixed_ratings.json").read_bytes())["ratings"]
    assert [fixed["random"][end] for end in ("elo", "low", "high")] == pytest.approx([1000] * 3)
    for player in PLAYERS:
        move = free["random"]["elo"] - 1000
        assert free[player]["elo"] - fixed[player]["elo"] == pytest.approx(move)
        assert fixed[player]["classic_elo"] == free[player]["classic_elo"]
        assert fixed[player]["gxe"] < free[player]["gxe"]


def test_k_factor_and_initial_rating_are_of_classic_elo(tournament: Path) -> None:
    calculate(tournament, "--k_factor", 10, "--initial_rating", 1000)
    first = rows_of(tournament / "elo_results_progression.csv")[0]
    assert sorted((float(first["elo_a"]), float(first["elo_b"]))) == [995, 1005]


def test_json_is_all_that_is_printed(tournament: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calculate(tournament, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((tournament / "elo_results_ratings.json").read_bytes())


@pytest.mark.parametrize("prefix", ["ratings/of today/x", "{absolute}/x"])
def test_a_prefix_may_be_a_path(tournament: Path, tmp_path_factory: Any, prefix: str) -> None:
    prefix = prefix.format(absolute=tmp_path_factory.mktemp("elsewhere"))
    assert calculate(tournament, "--output_prefix", prefix) == 0
    folder = (tournament / prefix).parent
    assert sorted(p.name for p in folder.iterdir()) == [f"x_{name}" for name in FILES]


def test_the_same_battles_make_the_same_files(tournament: Path) -> None:
    calculate(tournament)
    calculate(tournament, "--output_prefix", "again")
    for name in FILES:
        one, two = (tournament / f"{prefix}_{name}" for prefix in ("elo_results", "again"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--anchor", "ghost"], "anchor 'ghost' has no games; choose one of"),
        (["--k_factor", 0], "k_factor must be a finite number above 0, not 0.0."),
        (["--k_factor", "nan"], "k_factor must be a finite number above 0, not nan."),
        (["--initial_rating", "high"], "--initial_rating must be a number, not 'high'."),
        (["--output_prefix", "folder/"], "is a folder: add a name to it"),
        (["--output_prefix", ""], "is a folder: add a name to it"),
        (["--output_prefix", "results.sqlite/x"], "Cannot write"),
    ],
)
def test_bad_input_is_refused(
    tournament: Path, capsys: pytest.CaptureFixture[str], options: Sequence[object], said: str
) -> None:
    assert said in refused(capsys, tournament, *options)
    assert [p.name for p in tournament.iterdir()] == ["results.sqlite"]


@pytest.mark.parametrize("command", ["calculate_elo", "visualize_results"])
def test_a_folder_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    said = refused(capsys, tmp_path / "nowhere", command=command)
    assert "there is no folder" in said


def test_pictures_table_and_page(tournament: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["visualize_results", "--tournament_dir", str(tournament)]) == 0
    folder = tournament / "visualizations"
    assert capsys.readouterr().out == f"Report: {folder / 'report.html'}\n"
    pictures = [
        *("elo_rankings.png", "winrate_heatmap.png"),
        *("statistics_comparison.png", "elo_progression.png"),
    ]
    assert {p.name for p in folder.iterdir()} == {
        *pictures,
        "tournament_summary.csv",
        "report.html",
        LOCK,
    }
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert rows_of(folder / "tournament_summary.csv")[0]["player"] == "always"
    page = Page((folder / "report.html").read_text())
    assert len(page.addresses) == 4 and all(a.startswith("data:image/png") for a in page.addresses)
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 2
    for said in (
        "3 players, 76 battles finished, 4 did not.",
        "always is rated highest",
        "cut off (4)",
    ):
        assert said in page.text


def test_pictures_of_two_players_and_one_battle(
    tmp_path: Path, schedule: Callable[..., list[BattleSpec]]
) -> None:
    (spec,) = schedule("a", "b", 1)
    with ResultStore(tmp_path / "results.sqlite") as store:
        store.add(spec, result_of(spec))
    options = ["--output_dir", str(tmp_path / "x"), "--anchor", "b"]
    assert main(["visualize_results", "--tournament_dir", str(tmp_path), *options]) == 0
    text = Page((tmp_path / "x" / "report.html").read_text()).text
    assert "b is set to 1500" in text


def test_what_may_not_be_read_is_named(
    tournament: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the two refusals are staged."""

    def closed(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", closed)
        assert "results.sqlite: unable to open" in refused(capsys, tournament)

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    assert "results.sqlite: Permission denied" in refused(capsys, tournament)
