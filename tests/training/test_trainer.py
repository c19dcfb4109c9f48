"""Trainers, rewards and observation spaces by name: ours and other packages'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import metamon_ext as mx
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.data.cache.build import build
from metamon_ext.errors import UserError
from metamon_ext.registry import Registry
from metamon_ext.spaces.registry import OBSERVATION_SPACES, REWARDS, make_reward
from metamon_ext.training.lite.checkpoint import load_checkpoint, load_model
from metamon_ext.training.lite.featurizer import LiteFeaturizer
from metamon_ext.training.lite.policy import LitePolicy
from metamon_ext.training.trainer import find_trainer
from tests.support.third_party import install
from tests.training.lite.test_train import DATA, SMALL, assert_same_state

CONFIG = mx.TrainConfig(gin=SMALL, steps=2)


def test_the_built_in_trainer_resumes_and_names_its_checkpoint(tmp_path: Path) -> None:
    trainer, folder = find_trainer("lite"), tmp_path / "run"
    (first,) = trainer.train(DATA, None, CONFIG, folder)
    assert first == PolicyRef.resolve(str(folder))
    assert trainer.train(DATA, None, CONFIG, folder) == [first]
    trainer.train(DATA, None, replace(CONFIG, steps=4), folder)
    mx.train(replace(CONFIG, data_dir=DATA, output_dir=tmp_path / "other", steps=4))
    assert_same_state(folder, tmp_path / "other")


def test_every_checkpoint_is_a_policy_if_all_are_kept(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=12, keep_checkpoints=True)  # one each 5 steps, and the last
    refs = find_trainer("lite").train(DATA, None, config, tmp_path / "run")
    kept = [tmp_path / "run" / "checkpoints" / f"step_{step}.pt" for step in (5, 10, 12)]
    assert refs == [PolicyRef.resolve(str(path)) for path in kept]
    assert [load_checkpoint(path)["step"] for path in kept] == [5, 10, 12]
    assert len({ref.fingerprint for ref in refs}) == 3
    assert_same_state(kept[-1], tmp_path / "run")


def test_a_trainer_takes_a_cache_and_a_policy_to_start_from(tmp_path: Path) -> None:
    trainer, cache = find_trainer("lite"), tmp_path / "c.mmap"
    build(DATA, cache, LiteFeaturizer())
    frozen = replace(CONFIG, gin=[*SMALL, "Learner.learning_rate = 0.0"], steps=1)
    (start,) = trainer.train(f"{cache}?wins_losses_both=wins", None, CONFIG, tmp_path / "start")
    trainer.train(cache, start, frozen, tmp_path / "next")
    one, other = (load_model(tmp_path / name).state_dict() for name in ("start", "next"))
    assert all(one[key].equal(other[key]) for key in one)
    with pytest.raises(UserError, match="cannot start from 'random'"):
        trainer.train(cache, PolicyRef.resolve("random"), CONFIG, tmp_path / "no")


def test_an_unknown_trainer_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^Unknown trainer 'light'. Did you mean 'lite'\? Known: "):
        find_trainer("light")


def test_training_without_data_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No data to train on"):
        mx.train(replace(CONFIG, output_dir=tmp_path / "run"))


def test_parts_of_other_packages_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    assert "FaintReward" in REWARDS.names() and "HealthSpace" in OBSERVATION_SPACES.names()
    assert type(make_reward("FaintReward")).__module__ == "third_party"
    random = PolicyRef.resolve("random")
    assert find_trainer("none").train(tmp_path, random, None, tmp_path) == [random]


def test_a_registered_part_goes_before_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    rewards: Registry[Callable[[], Any]] = Registry("reward function", "metamon_ext.rewards")
    assert rewards.names() == ["FaintReward"]
    rewards.register("FaintReward", mx.WinLossReward)
    assert rewards.names() == ["FaintReward"] and rewards.find("FaintReward") is mx.WinLossReward


def test_the_commands_take_the_parts_of_other_packages(
    tmp_path: Path, cli: Callable[..., Any]
) -> None:
    there = {"PYTHONPATH": str(install(tmp_path / "site"))}
    cache, overrides = tmp_path / "c.mmap", [w for one in SMALL for w in ("--gin", one)]
    names = ("--obs_space", "HealthSpace", "--reward_function", "FaintReward")
    built = cli("cache", "build", DATA, "--output", cache, *names, **there)
    assert built.returncode == 0, built.stderr
    run = ("--save_dir", tmp_path, "--steps", 2, *overrides)
    cached = cli("train", "--cached", cache, "--run_name", "cached", *run, **there)
    assert cached.returncode == 0, cached.stderr
    plain = cli("train", "--data_dir", DATA, "--run_name", "plain", *run, *names, **there)
    assert plain.returncode == 0, plain.stderr
    assert_same_state(tmp_path / "cached", tmp_path / "plain")
    sizes = load_checkpoint(tmp_path / "plain")["model_sizes"]
    assert sizes["obs_space"] == "HealthSpace"
    played = cli("play", "--p1", tmp_path / "plain", "--p2", "random", "--battles", 1, **there)
    assert played.returncode == 0, played.stderr
    lost = cli("play", "--p1", tmp_path / "plain", "--p2", "random", "--battles", 1)
    assert lost.returncode == 2 and "'HealthSpace'" in lost.stderr


def test_checkpoints_that_name_no_observation_space_still_play(tmp_path: Path) -> None:
    from metamon_ext.training.lite.checkpoint import CHECKPOINT, save_checkpoint

    mx.train(replace(CONFIG, data_dir=DATA, output_dir=tmp_path))
    content = load_checkpoint(tmp_path)
    del content["model_sizes"]["obs_space"]
    save_checkpoint(tmp_path / CHECKPOINT, content)
    assert isinstance(PolicyRef.resolve(str(tmp_path)).build(), LitePolicy)
