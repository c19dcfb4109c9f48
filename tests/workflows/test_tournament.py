"""A tournament is held once, whatever happens on the way, and says what it found."""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.rows import read_results
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.arena.store import ResultStore
from metamon_ext.cli import main
from metamon_ext.data.trajectory import TrajectoryName, trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.evaluation.exports import HEADER
from metamon_ext.evaluation.games import games_of, tally
from metamon_ext.workflows.tournament import pairings_of
from tests.conftest import ROOT, cli_command
from tests.support.battles import is_decided
from tests.support.interruptions import kill_when, on_a_full_disk

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
PLAYERS = ("simple_heuristics", "max_base_power", "random")
BATTLES = 24
"""A matchup."""


def tournament(folder: Path, *more: object, models: tuple[str, ...] = PLAYERS) -> list[str]:
    common = ["--team_set", "sample", "--workers", 2, "--seed", 5, "--output_dir", folder]
    return ["self_play_tournament", "--models", *models, *map(str, [*common, *more])]


def digest(folder: Path) -> tuple[object, ...]:
    """All that a tournament leaves, without the time of day in the names of its trajectories."""
    files = {
        "_".join([*path.name.split("_")[:5], path.name.split("_")[-1]]): path.read_bytes()
        for path in trajectory_files(folder / "trajectories")
    }
    logs = {path.name: path.read_text() for path in (folder / "team_results").iterdir()}
    results = json.loads((folder / "tournament_results.json").read_text())
    return read_results(folder / "results.sqlite"), files, logs, results


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tournament")
    assert main(tournament(folder, "--battles_per_matchup", BATTLES)) == 0
    return folder


def test_every_matchup_is_played_in_mirrored_pairs_and_saved(undisturbed: Path) -> None:
    rows = read_results(undisturbed / "results.sqlite")
    assert Counter(frozenset((row.player_a, row.player_b)) for row in rows) == {
        frozenset((a, b)): BATTLES for a, b in pairings_of(PLAYERS, None)
    }
    pairs = Counter((frozenset((row.player_a, row.player_b)), row.pair, row.seed) for row in rows)
    assert set(pairs.values()) == {2}
    files = list(trajectory_files(undisturbed / "trajectories" / "gen1ou"))
    assert len(files) == 2 * sum(is_decided(row) for row in rows)


def test_the_results_say_what_the_battles_were(undisturbed: Path) -> None:
    rows = read_results(undisturbed / "results.sqlite")
    results = json.loads((undisturbed / "tournament_results.json").read_text())
    assert results["battles"] == len(rows) == 3 * BATTLES and results["unfinished"] == 0
    assert [rating["player"] for rating in results["ratings"]] == list(PLAYERS)
    for matchup in results["matchups"]:
        scores = [(row.player_a, row.player_b, row.score) for row in rows]
        a, b = matchup["player"], matchup["opponent"]
        wins = scores.count((a, b, 1.0)) + scores.count((b, a, 0.0))
        assert matchup["wins"] == wins
        assert matchup["wins"] + matchup["losses"] + matchup["ties"] == BATTLES
        assert 0 <= matchup["low"] <= matchup["win_rate"] <= matchup["high"] <= 1
    about = results["players"]["random"]
    assert about["decisions"] == sum(
        (row.a_decisions if row.player_a == "random" else row.b_decisions)
        for row in rows
        if "random" in (row.player_a, row.player_b)
    )


def test_the_logs_are_metamons_and_name_the_trajectories(undisturbed: Path) -> None:
    rows = {int(row.key, 16): row for row in read_results(undisturbed / "results.sqlite")}
    seen: Counter[int] = Counter()
    names = [TrajectoryName.parse(path.name) for path in trajectory_files(undisturbed)]
    saved = {(int(n.battle_id.rpartition("-")[2]), n.player): n.outcome for n in names}
    for log in (undisturbed / "team_results").glob("battle_log_*_gen1ou.csv"):
        header, *lines = log.read_text().splitlines()
        assert header == HEADER
        for player, team, _opponent, result, turns, battle in csv.reader(lines):
            row = rows[int(battle)]
            first = row.player_a == player
            assert team == f"teams/gen1ou/{row.team_a if first else row.team_b}.gen1ou_team"
            assert int(turns) == row.turns
            if result != "TIE":
                assert saved[int(battle), player.replace("_", "+")] == result
            seen[int(battle)] += 1
    assert seen == dict.fromkeys(rows, 2)


def kill_and_resume(folder: Path, battles: int, kills: int, rng: random.Random) -> int:
    """Kill a tournament with all its workers so often, then let it end. Returns the kills that
    hit it while it ran."""
    command = cli_command(tournament(folder, "--battles_per_matchup", battles))
    hits = 0
    for _ in range(kills):
        until = count(folder) + rng.randint(1, 12)
        hits += kill_when(lambda enough=until: count(folder) >= enough, command).killed
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    return hits


def count(folder: Path) -> int:
    try:
        return len(read_results(folder / "results.sqlite"))
    except UserError:
        return 0


def test_a_killed_tournament_ends_as_an_undisturbed_one(undisturbed: Path, tmp_path: Path) -> None:
    assert kill_and_resume(tmp_path, BATTLES, kills=2, rng=random.Random(0)) >= 1
    assert digest(tmp_path) == digest(undisturbed)


@pytest.mark.long
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    assert main(tournament(tmp_path / "undisturbed", "--battles_per_matchup", 400)) == 0
    hits = kill_and_resume(tmp_path / "killed", 400, kills=20, rng=random.Random(1))
    assert hits == 20
    assert digest(tmp_path / "killed") == digest(tmp_path / "undisturbed")


def test_a_tournament_gains_players_and_battles(undisturbed: Path, tmp_path: Path) -> None:
    """And plays what is missing: all of it together is what one command would have played."""
    first = tournament(tmp_path, "--battles_per_matchup", 8, models=PLAYERS[:2])
    assert main(first) == 0
    then = {row.key: row for row in read_results(tmp_path / "results.sqlite")}
    assert len(then) == 8
    with played() as new:
        assert main(tournament(tmp_path, "--battles_per_matchup", BATTLES)) == 0
    assert len(new) == 3 * BATTLES - 8 and not then.keys() & set(new)
    assert digest(tmp_path) == digest(undisturbed)
    with played() as new:
        reverse = tournament(tmp_path, "--battles_per_matchup", BATTLES, models=PLAYERS[::-1])
        assert main(reverse) == 0
    assert new == []


def test_battles_under_other_conditions_are_kept_and_rated_apart(tmp_path: Path) -> None:
    common = ("--battles_per_matchup", 4)
    assert main(tournament(tmp_path, *common)) == 0
    results = json.loads((tmp_path / "tournament_results.json").read_text())
    for more, rated in (("--turn_limit", 50), 12), (("--seed", 6), 24):
        assert main(tournament(tmp_path, *common, *more)) == 0
        results = json.loads((tmp_path / "tournament_results.json").read_text())
        assert results["battles"] == rated
    assert len(read_results(tmp_path / "results.sqlite")) == 36
    pairs = tally(games_of(read_results(tmp_path / "results.sqlite"))[0])
    assert all(outcomes.sum(1).max() <= 2 for outcomes in pairs.values())


@contextmanager
def played() -> Iterator[list[str]]:
    """The keys of the battles that are kept in the block."""
    keys: list[str] = []
    add = ResultStore.add

    def note(store: ResultStore, spec: BattleSpec, result: BattleResult) -> None:
        keys.append(spec.key)
        add(store, spec, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResultStore, "add", note)
        yield keys


def test_one_policy_under_two_names_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for name in ("one", "copy"):
        (tmp_path / name).write_text("the same")
        names.append(f"tests.support.arena_policies:WithWeights?file={tmp_path / name}")
    assert main(tournament(tmp_path / "run", models=(*names, "random"))) == 2
    assert f"{names[0]} and {names[1]} are the same policy" in capsys.readouterr().err


def test_a_checkpoint_that_was_trained_on_is_another_player(tmp_path: Path) -> None:
    """The name is the same; what it names is not."""
    weights = tmp_path / "weights"
    weights.write_text("epoch 1")
    player = f"tests.support.arena_policies:WithWeights?file={weights}"
    command = tournament(tmp_path / "run", "--battles_per_matchup", 2, models=(player, "random"))
    assert main(command) == 0 == main(command)
    weights.write_text("epoch 2")
    assert main(command) == 0
    results = json.loads((tmp_path / "run" / "tournament_results.json").read_text())
    before, after = (name for name in results["players"] if name != "random")
    assert {before.partition("@")[0], after.partition("@")[0]} == {player}
    assert sorted(rating["games"] for rating in results["ratings"]) == [2, 2, 4]


def test_players_and_gauntlets_that_make_no_sense_are_refused() -> None:
    assert pairings_of(("a", "b", "c"), "b") == [("b", "a"), ("b", "c")]
    for models, gauntlet, says in [
        (("a", "b", "a"), None, "a is listed twice"),
        (("a",), None, "at least two"),
        (("a", "b"), "c", "--gauntlet c"),
        (("a",), "a", "--gauntlet a"),
    ]:
        with pytest.raises(UserError, match=says):
            pairings_of(models, gauntlet)


def test_a_policy_that_raises_leaves_the_rest_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the same command plays its battles again, when it no longer does."""
    broken = tmp_path / "broken"
    broken.touch()
    player = f"tests.support.arena_policies:RaisingWhile?file={broken}"
    models = (player, "random", "max_base_power")
    command = tournament(tmp_path / "run", "--battles_per_matchup", 4, models=models)
    assert main(command) == 1
    assert "8 times: " in capsys.readouterr().err
    results = json.loads((tmp_path / "run" / "tournament_results.json").read_text())
    assert results["battles"] == 12 and results["unfinished"] == 8
    assert [m["wins"] + m["losses"] + m["ties"] for m in results["matchups"]] == [4]
    broken.unlink()
    assert main(command) == 0
    results = json.loads((tmp_path / "run" / "tournament_results.json").read_text())
    assert results["battles"] == 12 and results["unfinished"] == 0


def test_battles_that_fail_are_played_once_a_run_however_many_rounds_it_has(
    tmp_path: Path,
) -> None:
    models = ("tests.support.arena_policies:Raising", "random", "max_base_power")
    options = ("--battles_per_matchup", 48, "--sprt", 0, 5)
    with played() as keys:
        assert main(tournament(tmp_path / "run", *options, models=models)) == 1
    assert len(keys) == len(set(keys)) == 3 * 48


def test_a_full_disk_ends_the_run_with_what_it_has(tmp_path: Path) -> None:
    command = cli_command(tournament(tmp_path, "--battles_per_matchup", 40))
    full = on_a_full_disk(command, 40_000)
    assert full.returncode == 1, full.stderr
    assert len(full.stderr.splitlines()) == 1 and "Cannot write" in full.stderr
    held = count(tmp_path)
    assert 0 < held < 120
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert count(tmp_path) == 120


def test_a_sequential_tournament_stops_what_is_decided(undisturbed: Path, tmp_path: Path) -> None:
    command = tournament(tmp_path, "--battles_per_matchup", 400, "--sprt", 0, 100)
    assert main(command) == 0
    results = json.loads((tmp_path / "tournament_results.json").read_text())
    assert {v["verdict"] for v in results["sprt"]} == {"better"}
    assert results["battles"] < 400
    for verdict in results["sprt"]:
        assert verdict["low"] <= verdict["elo"] <= verdict["high"] and verdict["low"] > 0
    first = digest(tmp_path)
    shutil.rmtree(tmp_path / "team_results")
    assert main(command) == 0
    assert digest(tmp_path) == first


def test_pairs_take_the_luck_of_the_teams_out(tmp_path: Path) -> None:
    """Of two battles with the same teams and seats changed, the mean varies less than that of two
    battles on their own: here to about 0.6 of it (0.60 in 200 pairs, seed 0)."""
    players = ("simple_heuristics", "simple_heuristics?epsilon=0.1")
    assert main(tournament(tmp_path, "--battles_per_matchup", 240, models=players)) == 0
    games, _ = games_of(read_results(tmp_path / "results.sqlite"))
    (outcomes,) = tally(games).values()
    scores = outcomes @ [1.0, 0.5, 0.0] / 2
    wins, ties, losses = outcomes.sum(0) / outcomes.sum()
    mean = wins + ties / 2
    unpaired = wins * (1 - mean) ** 2 + ties * (0.5 - mean) ** 2 + losses * mean**2
    assert np.var(scores, ddof=1) < 0.8 * unpaired / 2


def test_who_can_play_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["self_play_tournament", "--list_models"]) == 0
    assert "simple_heuristics" in capsys.readouterr().out
    assert main(["self_play_tournament"]) == 2


def test_an_adaptive_tournament_spends_its_battles_on_close_neighbours(tmp_path: Path) -> None:
    models = (*PLAYERS, "simple_heuristics?epsilon=0.05")
    command = tournament(tmp_path, "--battles_per_matchup", 60, "--adaptive", models=models)
    assert main(command) == 0
    rows = read_results(tmp_path / "results.sqlite")
    battles = Counter(frozenset((row.player_a, row.player_b)) for row in rows)
    assert min(battles.values()) >= 4 and battles.total() <= 360
    close, plain = (frozenset(("simple_heuristics", name)) for name in (models[3], "random"))
    assert battles[close] > 3 * battles[plain]
    first = digest(tmp_path)
    assert main(command) == 0
    assert digest(tmp_path) == first
