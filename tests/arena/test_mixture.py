"""A mixture draws one member a battle, is replayed alike, and is what its members are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from metamon_ext.arena.battle import RunningBattle
from metamon_ext.arena.mixture import read_population
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import BattleSpec
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.workflows.generate import GenerateConfig, generate
from tests.conftest import ROOT
from tests.support.battles import play

Schedule = Callable[..., list[BattleSpec]]


@pytest.fixture
def mixture(tmp_path: Path) -> Callable[..., str]:
    """`mixture({"policy": weight})`: the name of a mixture."""

    def make(content: object, name: str = "population.json") -> str:
        (tmp_path / name).write_text(json.dumps(content))
        return f"mixture:{tmp_path / name}"

    return make


def drawn(specs: list[BattleSpec]) -> list[dict[str, str]]:
    """Player -> the policy that plays for it, of each battle."""
    battles = [RunningBattle(spec, record=False) for spec in specs]
    return [{seat.player.name: seat.policy.name for seat in battle.seats} for battle in battles]


def test_members_are_drawn_by_their_weights_and_one_for_both_battles_of_a_pair(
    mixture: Callable[..., str], schedule: Schedule
) -> None:
    name = mixture({"random": 3, "max_base_power": 1})
    battles = drawn(schedule(name, "simple_heuristics", 400, pairs=True))
    assert {battle["simple_heuristics"] for battle in battles} == {"simple_heuristics"}
    members = [battle[name] for battle in battles]
    assert members[::2] == members[1::2]
    assert 0.65 < Counter(members)["random"] / 400 < 0.85


def test_two_seats_with_one_mixture_draw_by_themselves(
    mixture: Callable[..., str], schedule: Schedule
) -> None:
    name = mixture({"random": 1, "max_base_power": 1})
    battles = [RunningBattle(spec, record=False) for spec in schedule(name, name, 80)]
    pairs = Counter(tuple(seat.policy.name for seat in battle.seats) for battle in battles)
    assert len(pairs) == 4 and min(pairs.values()) > 8


def test_a_mixture_plays_as_its_members_do_and_is_replayed_alike(
    mixture: Callable[..., str], schedule: Schedule
) -> None:
    name = mixture({"random?epsilon=0.5": 1, "simple_heuristics": 1})
    specs = schedule(name, "max_base_power", 8, pairs=True)
    alone = play(specs, workers=1, battles_at_once=1)
    assert play(specs[::-1], workers=2) == alone[::-1]
    assert [result.reason for result in alone] == [""] * 8


def test_its_fingerprint_is_that_of_its_members_and_probabilities(
    mixture: Callable[..., str],
) -> None:
    def fingerprint(content: object, name: str = "population.json") -> str:
        return PolicyRef.resolve(mixture(content, name)).fingerprint

    assert fingerprint({"random": 1, "max_base_power": 3}) == fingerprint(
        {"random": 2, "max_base_power": 6}, "other.json"
    )
    assert fingerprint({"random": 1, "max_base_power": 3}) != fingerprint(
        {"random": 1, "max_base_power": 2}
    )
    assert fingerprint({"random": 1}) != PolicyRef.resolve("random").fingerprint


def test_another_checkpoint_under_a_members_path_is_another_mixture(
    mixture: Callable[..., str], tmp_path: Path
) -> None:
    from metamon_ext.training.lite.checkpoint import load_checkpoint, save_checkpoint
    from metamon_ext.training.lite.train import TrainConfig, train
    from tests.training.lite.test_train import SMALL

    run = tmp_path / "run"
    train(TrainConfig(output_dir=run, data_dir=ROOT / "tests/data/arena", gin=SMALL, steps=1))
    name = mixture({"run?temperature=0.5": 1, "random": 1})
    before = PolicyRef.resolve(name)
    assert [ref.name for ref, _ in before.members] == [f"{run}?temperature=0.5", "random"]
    assert before.weights is None and before.fingerprint
    content = load_checkpoint(run)
    next(iter(content["learner"]["model"].values())).add_(1)
    save_checkpoint(run / "checkpoint.pt", content)
    assert PolicyRef.resolve(name).fingerprint != before.fingerprint


def test_a_meta_strategy_is_a_population_without_the_players_that_it_never_plays(
    mixture: Callable[..., str], tmp_path: Path
) -> None:
    estimates = {"random": {"value": 0.25}, "a": {"value": 0.0}, "max_base_power": {"value": 0.75}}
    name = mixture({"solver": "nash", "strategy": estimates}, "meta_strategy.json")
    members = PolicyRef.resolve(name).members
    assert [(ref.name, p) for ref, p in members] == [("random", 0.25), ("max_base_power", 0.75)]
    played = generate(
        GenerateConfig(
            output_dir=tmp_path / "data",
            num_battles=2,
            model=name,
            opponents=read_population(tmp_path / "meta_strategy.json"),
            team_set="sample",
            workers=1,
        )
    )
    assert {row.player_a for row in played.rows} | {row.player_b for row in played.rows} > {name}


def test_paths_are_found_beside_the_file_and_in_the_folder_above(tmp_path: Path) -> None:
    (tmp_path / "iteration_1").mkdir()
    for path in ("here", "iteration_1/there"):
        (tmp_path / path).touch()
    file = tmp_path / "iteration_1" / "population.json"
    file.write_text(json.dumps({"there?beta=8": 1, "here": 2, "tests": 3, "random": 4}))
    found = {f"{file.parent}/there?beta=8": 1, f"{tmp_path}/here": 2, "tests": 3, "random": 4}
    assert read_population(file) == found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"random": 0}, "must hold"),
        ({"strategy": {"random": 1}}, "must hold"),
        ({"strategy": {"random": {"value": 0.0}}}, "must hold"),
        (["random"], "must hold"),
        ({"randm": 1}, "Unknown policy 'randm'. Did you mean 'random'?"),
        ({"mixture:other.json": 1, "random": 1}, "has the mixture 'mixture:other.json' in it"),
    ],
)
def test_a_bad_file_or_member_is_refused_in_one_line(
    mixture: Callable[..., str], content: object, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = mixture(content)
    assert main(["play", "--p1", name, "--p2", "random", "--num_battles", "2"]) == 2
    said = capsys.readouterr().err
    assert says in said and "population.json" in said and len(said.splitlines()) == 1


def test_a_missing_file_and_building_a_mixture_are_refused(mixture: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"nowhere.json must hold .*No such file"):
        PolicyRef.resolve("mixture:nowhere.json")
    with pytest.raises(UserError, match="is a mixture"):
        PolicyRef.resolve(mixture({"random": 1})).build()
