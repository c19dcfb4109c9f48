"""Win rates against Metamon's baselines, from the command line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metamon_ext.arena.rows import BattleRow
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.upstream.evaluate import EVAL_TYPES, policy_name, share, tabulate
from tests.support.battles import result_of
from tests.upstream.fresh_runs import RNN, fresh_run

Schedule = Callable[..., list[BattleSpec]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a run."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fresh_run(folder / "runs", "run", RNN)
        yield folder


def call(work: Path, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metamon_ext", *map(str, args)]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=600)


def test_scores_come_with_intervals(work: Path) -> None:
    answer = call(
        work,
        *("evaluate", "--agent", "run_Epoch1", "--baselines", "RandomBaseline", "Grunt"),
        *("--gens", 1, "--total_battles", 9, "--checkpoints", 1, "--workers", 1, "--json"),
    )
    assert answer.returncode == 0, answer.stderr
    scores = json.loads(answer.stdout)["scores"]
    assert [score["baseline"] for score in scores] == ["RandomBaseline", "Grunt"]
    assert answer.stderr == ""
    for score, battles in zip(scores, (5, 4), strict=True):
        assert score["agent"] == "run_Epoch1?checkpoint=1"
        assert score["wins"] + score["losses"] + score["ties"] == battles
        assert score["low"] <= score["win_rate"] <= score["high"]
        assert score["unfinished"] == score["invalid_actions"] == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--agent", "run_Epoch2"), "runs/run has no checkpoint 2. It has 1."),
        (("--agent", "run_Epoch1", "--baselines", "Nobody"), "Unknown policy 'Nobody'."),
        (("--agent", "run_Epoch1", "--total_battles", 3), "3 is fewer than the 6 baselines"),
        (("--agent", "run_Epoch1", "--formats", "doubles"), "unknown battle format"),
    ],
)
def test_bad_input_is_one_line(work: Path, args: tuple[str, ...], says: str) -> None:
    answer = call(work, "evaluate", *args)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert says in line


def test_exactly_as_many_battles_are_played_as_are_asked_for() -> None:
    assert share(10, 2) == [5, 5]
    assert share(11, 3) == [4, 4, 3]


def test_wins_are_counted_for_the_agent_whatever_its_seat(schedule: Schedule) -> None:
    specs = schedule("random", "max_base_power", 4, pairs=True)
    results = [
        result_of(specs[0], "random", a_invalid=2, b_invalid=3),
        result_of(specs[1], "random", a_invalid=2, b_invalid=3),
        result_of(specs[2], a_invalid=2, b_invalid=3),
        result_of(specs[3], score=None, a_invalid=2, b_invalid=3),
    ]
    rows = [BattleRow.of(*each) for each in zip(specs, results, strict=True)]
    (score,) = tabulate({("gen1ou", "random", "max_base_power"): specs}, rows)
    assert (score.agent, score.baseline) == ("random", "max_base_power")
    assert (score.wins, score.losses, score.ties, score.unfinished) == (2, 0, 1, 1)
    assert score.invalid_actions == 4 * (2 if specs[0].player_a.name == "random" else 3)


def test_a_policys_name_says_only_what_is_not_the_default() -> None:
    assert policy_name("A", None, 1.0) == "A"
    assert policy_name("A", 4, 0.5, "metamon") == (
        "A?checkpoint=4&battle_backend=metamon&temperature=0.5"
    )


def test_the_default_baselines_are_metamons() -> None:
    from metamon.baselines import ALL_BASELINES
    from metamon.rl.evaluate import HEURISTIC_COMPOSITE_BASELINES

    assert list(EVAL_TYPES["heuristic"]) == HEURISTIC_COMPOSITE_BASELINES
    assert set(EVAL_TYPES["il"]) <= set(ALL_BASELINES)


def test_the_benchmark_says_what_to_start(work: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("localhost", 8000)) == 0:
            pytest.skip("a server is running")
    answer = call(work, "benchmark", "evaluate", "--agent", "run_Epoch1")
    assert answer.returncode == 2
    assert "no Showdown server at localhost:8000" in answer.stderr.splitlines()[-1]
