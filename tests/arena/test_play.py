"""Battles in the real simulator: reproducible, legal, in every format, whatever goes wrong."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metamon_ext.arena.battle import BattleResult
from metamon_ext.arena.executors import worker
from metamon_ext.arena.executors.local import ATTEMPTS, LocalExecutor
from metamon_ext.arena.executors.protocol import Recording
from metamon_ext.arena.executors.worker import WorkerSettings
from metamon_ext.arena.play import play_battles, summarize
from metamon_ext.arena.policy import Policy
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.data.audit import audit
from metamon_ext.data.trajectory import read_trajectory, trajectory_files
from metamon_ext.errors import RunStopped
from metamon_ext.settings import default_workers
from tests.conftest import ROOT
from tests.support.battles import is_decided, play
from tests.support.third_party import install

Schedule = Callable[..., list[BattleSpec]]


def test_the_same_seed_gives_the_same_battles_however_they_are_spread(schedule: Schedule) -> None:
    specs = schedule("simple_heuristics?epsilon=0.3", "random", 12, seed=7)
    alone = play(specs, workers=1, battles_at_once=1)
    assert play(specs, workers=3, battles_at_once=2) == alone
    assert play(specs[::-1], workers=1, battles_at_once=12) == alone[::-1]
    assert len({result.digest for result in alone}) == len(alone)


def test_another_seed_gives_other_battles(schedule: Schedule) -> None:
    digests = [play(schedule("random", "random", 2, seed=seed))[0].digest for seed in (0, 1)]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "battle_format",
    ["gen1ou", "gen2ou", "gen3ou", "gen4ou", "gen9ou", "gen1randombattle", "gen9randombattle"],
)
def test_every_format_is_played_to_its_end(schedule: Schedule, battle_format: str) -> None:
    results = play(schedule("simple_heuristics", "random", 8, battle_format))
    assert [result.reason for result in results if result.score is None] == []
    assert sum(result.a_invalid + result.b_invalid for result in results) == 0
    assert Counter(result.score for result in results)[1.0] > 4


def test_mirrored_pairs_share_teams_and_dice_and_change_seats(schedule: Schedule) -> None:
    for first, second in zip(
        *[iter(schedule("random", "max_base_power", 6, pairs=True))] * 2, strict=False
    ):
        assert first.seats == second.seats[::-1]
        assert first.p1_team == second.p1_team and first.p2_team == second.p2_team
        assert first.seed == second.seed and first.pair == second.pair
        assert first.key != second.key


def test_a_policy_against_itself_plays_both_battles_of_a_pair_alike(schedule: Schedule) -> None:
    name = "tests.support.arena_policies:First"
    first, second = play(schedule(name, name, 2, pairs=True))
    assert first.digest == second.digest


def test_both_points_of_view_are_saved_and_sound(schedule: Schedule, tmp_path: Path) -> None:
    recording = Recording(tmp_path, datetime(2026, 11, 21, 10, 30))
    specs = schedule("simple_heuristics", "max_base_power", 10)
    results = play(specs, recording=recording)
    finished = [result for result in results if is_decided(result)]
    trajectories = [read_trajectory(path) for path in trajectory_files(tmp_path)]
    assert len(trajectories) == 2 * len(finished)
    assert audit([tmp_path]).usable_files == len(trajectories)
    decisions = Counter(t.name.battle_id for t in trajectories for _ in t.actions[:-1])
    assert sorted(decisions.values()) == sorted(r.a_decisions + r.b_decisions for r in finished)
    winners = Counter(t.name.player for t in trajectories if t.name.outcome == "WIN")
    wins = Counter(result.score for result in finished)
    assert winners["simple+heuristics"] == wins[1.0]
    assert winners["max+base+power"] == wins[0.0]


def test_a_policy_that_raises_ends_its_battles_only(schedule: Schedule) -> None:
    healthy = schedule("random", "max_base_power", 6)
    broken = schedule("tests.support.arena_policies:Raising", "random", 3)
    results = play(healthy + broken, workers=1)
    assert results[:6] == play(healthy)
    for result in results[6:]:
        assert result.score is None
        assert "RuntimeError('out of memory, say')" in result.reason


def test_an_answer_that_is_no_number_is_the_policys_fault(schedule: Schedule) -> None:
    (result,) = play(schedule("random", "tests.support.arena_policies:Speechless", 1), workers=1)
    assert result.score is None
    assert result.reason.startswith("tests.support.arena_policies:Speechless: TypeError")


def test_an_illegal_answer_is_asked_again_and_then_replaced(schedule: Schedule) -> None:
    once = play(schedule("tests.support.arena_policies:IllegalOnce", "random", 2))
    always = play(schedule("tests.support.arena_policies:AlwaysIllegal", "random", 2))
    assert all(result.score is not None for result in once + always)
    assert [result.a_invalid for result in once] == [0, 0]
    assert all(result.a_invalid == result.a_decisions > 0 for result in always)


def test_a_battle_over_its_turn_limit_is_unfinished_and_not_saved(
    schedule: Schedule, tmp_path: Path
) -> None:
    specs = schedule("simple_heuristics", "random", 3, turn_limit=3)
    results = play(specs, recording=Recording(tmp_path))
    assert {(r.score, r.reason) for r in results} == {(None, "over the limit of 3 turns")}
    assert list(tmp_path.rglob("*.lz4")) == []


def test_a_policy_that_never_answers_ends_its_battle_only(schedule: Schedule) -> None:
    specs = schedule("tests.support.arena_policies:Sleeping", "random", 1)
    specs += schedule("tests.support.arena_policies:First", "random", 3)
    started = time.monotonic()
    sleeping, *others = play(specs, workers=1, stall_seconds=5)
    assert sleeping.score is None and "no answer for 5 s" in sleeping.reason
    assert all(result.score is not None for result in others)
    assert time.monotonic() - started < 600  # the policy sleeps for an hour


def test_a_battle_is_not_charged_for_the_loading_of_policies(
    schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Metamon model on a busy machine took longer to load than a battle may stall."""
    now = 0.0

    build = PolicyRef.build

    def build_slowly(policy: PolicyRef) -> Policy:
        nonlocal now
        now += 1000
        return build(policy)

    monkeypatch.setattr(PolicyRef, "build", build_slowly)
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now))
    results: list[BattleResult] = []
    running = worker.Worker(WorkerSettings(), results.append)
    for name in ("simple_heuristics", "max_base_power"):
        running.start(schedule(name, "random", 1)[0])
    while len(running):
        running.step()
    running.close()
    assert now == 3000
    assert [result for result in results if result.reason] == []


def test_battles_of_a_dead_simulator_are_played_again(schedule: Schedule, tmp_path: Path) -> None:
    name = f"tests.support.arena_policies:SimulatorKiller?flag={tmp_path / 'killed'}"
    specs = schedule(name, "random", 6)
    died = play(specs, workers=1)
    assert (tmp_path / "killed").exists()
    assert died == play(specs, workers=1)


def test_a_battle_that_always_kills_its_worker_is_given_up(schedule: Schedule) -> None:
    specs = schedule("tests.support.arena_policies:Suicidal", "random", 1)
    (result,) = play(specs, workers=1)
    assert result.score is None
    assert result.reason == f"the worker died {ATTEMPTS} times while it was played"


def test_where_the_cores_of_a_process_are_not_known_all_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert default_workers() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert default_workers() == os.cpu_count()


def test_workers_that_die_one_after_another_stop_the_run(schedule: Schedule) -> None:
    """Rather than one process after the other for hundreds of battles that none can play."""
    specs = schedule("tests.support.arena_policies:Suicidal", "random", 40)
    with pytest.raises(RunStopped, match=r"7 workers died one after another"):
        play(specs, workers=1, battles_at_once=1)


def test_requests_may_come_before_or_after_the_update(
    schedule: Schedule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulator of the other kind: the real one with its messages of each step reversed."""
    from metamon_ext.arena.simulator.process import find_simulator

    real = find_simulator()
    specs = schedule("simple_heuristics", "random", 4)
    expected = play(specs)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "dist" / "sim").mkdir(parents=True)
    (tmp_path / "dist" / "sim" / "battle.js").write_text(
        f"module.exports = require('{real}/dist/sim/battle.js');"
    )
    (tmp_path / "index.js").write_text(
        f"""
        const real = require('{real}');
        class Reversed extends real.BattleStream {{
            _write(chunk) {{
                const said = [];
                const push = this.pushMessage;
                this.pushMessage = (type, data) => said.push([type, data]);
                super._write(chunk);
                this.pushMessage = push;
                for (const [type, data] of said.reverse()) this.pushMessage(type, data);
            }}
        }}
        module.exports = {{...real, BattleStream: Reversed}};
        """
    )
    monkeypatch.setenv("METAMON_EXT_SIMULATOR", str(tmp_path))
    assert play(specs) == expected


def test_a_summary_counts_by_policy_not_by_seat(schedule: Schedule) -> None:
    specs = schedule("simple_heuristics", "random", 12, pairs=True)
    with LocalExecutor(2) as executor:
        summary = summarize(play_battles(specs, executor), "simple_heuristics")
    assert summary["battles"] == 12
    assert summary["p1_wins"] >= 10
    assert summary["p1_wins"] + summary["p2_wins"] + summary["ties"] == 12


@pytest.mark.parametrize("battle_format", ["gen1ou", "gen2ou", "gen3ou", "gen4ou", "gen9ou"])
def test_the_arena_writes_what_metamon_was_seen_to_read(
    schedule: Schedule, battle_format: str, tmp_path: Path
) -> None:
    """The files in `data/arena`, which `tests/upstream/test_trajectories.py` loads with Metamon."""
    recorded = ROOT / "tests" / "data" / "arena" / battle_format
    specs = schedule("simple_heuristics", "max_base_power?epsilon=0.1", 2, battle_format, seed=1)
    play(specs, recording=Recording(tmp_path, datetime(2026, 11, 21)))
    written = {path.name.replace("-00:00:00", ""): path for path in trajectory_files(tmp_path)}
    assert len(written) >= 2
    for name, path in written.items():
        theirs = read_trajectory(recorded / name)
        assert read_trajectory(path).states == theirs.states
        assert read_trajectory(path).actions == theirs.actions


def test_an_executor_of_another_package_plays_the_same_battles(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    there = {"PYTHONPATH": str(install(tmp_path))}
    words = ("play", "--p1", "simple_heuristics", "--p2", "random", "--num_battles", 3)
    theirs = cli(*words, "--executor", "one_at_a_time", **there)
    assert theirs.returncode == 0, theirs.stderr
    first, *printed = theirs.stdout.splitlines()
    assert first == "one at a time"
    ours = cli(*words).stdout.splitlines()
    assert printed[0] == ours[0] and printed[1].split()[-1] == ours[1].split()[-1]
    unknown = cli(*words, "--executor", "lokal")
    assert unknown.returncode == 2
    assert "Unknown executor 'lokal'. Did you mean 'local'?" in unknown.stderr
