"""Any integer of at least 0 is a seed, in every command, and is recorded as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gin
import pytest
import torch

from metamon_ext.cli import main
from metamon_ext.data.filter import filter_trajectories
from metamon_ext.errors import UserError
from metamon_ext.files import to_json
from metamon_ext.settings import check_seed
from metamon_ext.training.lite.checkpoint import load_checkpoint
from metamon_ext.training.lite.train import TrainConfig, TrainSettings, train
from tests.support.flags import settings_of
from tests.training.lite.test_train import DATA, SMALL, assert_same_state

HUGE = 2**128 - 5
"""Of 128 bits, as `numpy.random.SeedSequence().entropy` is."""
REQUIRED = {
    "play": "--p1 random --p2 random",
    "generate_selfplay_data": "--model a --num_battles 1 --output_dir x",
    "self_play_tournament": "--models a b --output_dir x",
    "gate": "--candidate a --base b",
    "filter_selfplay_data": "--input_dir x --output_dir y",
    "train": "--data_dir x --run_name y",
    "quickstart": "",
    "evaluate": "--agent a",
    "parse_replays": "--input-dir x --output-dir y",
    "benchmark arena": "",
    "benchmark evaluate": "--agent a",
    "benchmark rating": "",
}


@pytest.mark.parametrize("command", REQUIRED)
def test_every_command_takes_the_same_seeds(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*REQUIRED[command].split(), "--seed"]
    for seed in (0, 7, 2**63, 2**64, HUGE):
        assert settings_of(command, *words, str(seed))["seed"] == seed
    for text, said in (
        ("-1", "-1 is not a seed: give a whole number of at least 0"),
        *((text, "--seed must be a whole number") for text in ("1.5", "x", "", "9" * 5000)),
    ):
        assert main([*command.split(), *words, text]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None])
def test_what_is_no_seed_is_refused_by_functions_too(seed: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a seed"):
        check_seed(seed)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is not a seed"):
        TrainSettings(seed=seed)  # type: ignore[arg-type]
    if seed is not None:
        with pytest.raises(UserError, match="is not a seed"):
            filter_trajectories(DATA, tmp_path, balance_seed=seed)  # type: ignore[arg-type]


def test_a_seed_of_128_bits_lasts_to_the_end_of_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played, league, gate = tmp_path / "played", tmp_path / "league", tmp_path / "gate"
    common = ["--team_set", "sample", "--workers", "1", "--seed", str(HUGE), "--json"]
    players = ["random", "max_base_power"]

    def call(*words: object) -> dict[str, object]:
        assert main([*map(str, words), *common]) in (0, 1)
        return json.loads(capsys.readouterr().out)

    made = call(
        "generate_selfplay_data", "--model", "random", "--num_battles", 2, "--output_dir", played
    )
    assert made["settings"]["seed"] == HUGE
    assert json.loads((played / "manifest.json").read_text()) == made
    made = call(
        "self_play_tournament",
        "--models",
        *players,
        "--battles_per_matchup",
        2,
        "--output_dir",
        league,
    )
    assert made["settings"]["seed"] == HUGE
    assert json.loads((league / "tournament_results.json").read_text()) == made
    call(
        "gate",
        "--candidate",
        *players[:1],
        "--base",
        *players[1:],
        "--max_battles",
        2,
        "--output_dir",
        gate,
    )
    assert json.loads((gate / "tournament_results.json").read_text())["settings"]["seed"] == HUGE
    call("play", "--p1", "random", "--p2", "random", "--battles", 1, "--output_dir", tmp_path / "p")
    common = ["--seed", str(HUGE), "--json", "--workers", "1"]
    made = call(
        "filter",
        "--input_dir",
        played,
        "--output_dir",
        tmp_path / "out",
        "--min_turns",
        1,
        "--balance_outcomes",
    )
    assert made["balance_seed"] == HUGE
    assert json.loads((tmp_path / "out" / "filtering_stats.json").read_text()) == made


def test_training_takes_large_seeds_and_leaves_small_ones_as_they_are(tmp_path: Path) -> None:
    try:
        for name, seed in (("a", HUGE), ("again", HUGE), ("b", HUGE + 1)):
            config = TrainConfig(data_dir=DATA, output_dir=tmp_path / name, gin=SMALL, seed=seed)
            train(replace(config, steps=1))
        for name in ("a", "again"):
            train(replace(config, output_dir=tmp_path / name, steps=2, seed=HUGE))
    finally:
        gin.clear_config()
    assert_same_state(tmp_path / "a", tmp_path / "again")
    one, other = (load_checkpoint(tmp_path / name)["order"] for name in ("a", "b"))
    assert not torch.equal(one, other)
    assert f"train.seed = {HUGE}" in (tmp_path / "a" / "config.gin").read_text()
    for seed in (0, 7, 2**63, 2**64 - 1):
        assert TrainSettings(seed=seed).torch_seed == seed


def test_json_of_large_integers_is_that_of_small_ones() -> None:
    content = {"a": [1, {"é": None}], "b": {}, "c": []}
    for indented in (False, True):
        small = to_json(content | {"seed": 5}, indented).decode()
        assert json.loads(to_json(content | {"seed": HUGE}, indented)) == content | {"seed": HUGE}
        assert json.loads(small) == content | {"seed": 5}
