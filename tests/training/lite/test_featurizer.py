"""The built-in learner gets the same from a cache as from the files."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metamon_ext.benchmarks import data as cache_benchmark
from metamon_ext.cli import main
from metamon_ext.data.cache.arrays import ROWS
from metamon_ext.data.cache.build import build
from metamon_ext.data.cache.verify import verify
from metamon_ext.data.trajectory import trajectory_files
from metamon_ext.errors import UserError
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.spaces.shaped_rewards import MarginReward, PotentialShapedReward
from metamon_ext.training.lite.dataset import load_caches, load_folder
from metamon_ext.training.lite.featurizer import Decisions, LiteFeaturizer
from metamon_ext.training.lite.train import CONFIG, TrainConfig, train
from tests.conftest import ROOT

BATTLES = ROOT / "tests" / "data" / "arena"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite") / "c.mmap"
    build(BATTLES, folder, LiteFeaturizer())
    return folder


def assert_same(a: Decisions, b: Decisions) -> None:
    for field in fields(Decisions):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), field.name


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_the_same_batches_as_from_the_files(cache: Path) -> None:
    plain = load_folder(BATTLES)
    cached = load_caches([str(cache)], None, LiteFeaturizer())
    assert len(cached) == len(plain)
    for name in ("reward", "done"):
        assert torch.equal(getattr(cached, name), getattr(plain, name))
    everything = torch.arange(len(plain))
    assert_same(cached.take(everything), plain.take(everything))
    indices = plain.slices(20, 33, generator())
    assert torch.equal(cached.slices(20, 33, generator()), indices)
    assert_same(cached.take(indices), plain.take(indices))


def test_training_on_a_cache_is_training_on_its_files(cache: Path, tmp_path: Path) -> None:
    weights = []
    for name, data in (("plain", {"data_dir": BATTLES}), ("cached", {"cached": [str(cache)]})):
        train(TrainConfig(output_dir=tmp_path / name, steps=3, seed=1, **data))
        content = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        weights.append(content["learner"]["model"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_caches_are_mixed_by_weight_and_a_slice_stays_in_its_own(cache: Path) -> None:
    names = [f"{cache}?formats=gen1ou", f"{cache}?formats=gen9ou"]
    mixed = load_caches(names, [1.0, 4.0], LiteFeaturizer())
    first = load_caches(names[:1], None, LiteFeaturizer())
    indices = mixed.slices(1000, 8, generator())
    in_first = indices < len(first)
    assert (in_first.all(1) | ~in_first.any(1)).all()
    assert 130 < in_first.all(1).sum() < 270
    gen = mixed.take(indices).state[..., 0] * 9
    assert torch.equal(gen.round(), torch.where(in_first, 1.0, 9.0))


def test_verify_finds_a_wrong_value_and_names_it(cache: Path, tmp_path: Path) -> None:
    featurizer = LiteFeaturizer.of_cache(cache)
    report = verify(cache, featurizer, every=1)
    assert report.faults == [] and report.compared == report.trajectories > 12

    class Wrong(LiteFeaturizer):
        def restore(self, rows: Any) -> dict[str, Any]:
            arrays = LiteFeaturizer.restore(rows)
            arrays["legal"][-1, 12] ^= True
            return arrays

    faults = verify(cache, Wrong(), every=1).faults
    assert len(faults) == report.trajectories and "legal[" in faults[0]


def test_another_reward_or_scale_is_refused(cache: Path) -> None:
    for reward in (PotentialShapedReward(), WinLossReward(scale=2.0)):
        with pytest.raises(UserError, match="reward"):
            load_caches([str(cache)], None, LiteFeaturizer(reward))


def test_the_reward_is_a_setting_of_training(tmp_path: Path) -> None:
    folder, margin = tmp_path / "c.mmap", "MarginReward"
    build(BATTLES, folder, LiteFeaturizer(MarginReward()))
    plain: dict[str, Any] = {"data_dir": BATTLES, "reward_function": margin}
    cached: dict[str, Any] = {"cached": [str(folder)]}  # with the reward that the cache has
    weights = []
    for name, where in (("plain", plain), ("cached", cached)):
        train(TrainConfig(output_dir=tmp_path / name, steps=3, seed=1, **where))
        assert f"train.reward_function = '{margin}'" in (tmp_path / name / CONFIG).read_text()
        content = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        weights.append(content["learner"]["model"])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])

    train(TrainConfig(data_dir=BATTLES, output_dir=tmp_path / "default", steps=3, seed=1))
    content = torch.load(tmp_path / "default" / "checkpoint.pt", weights_only=True)
    other = content["learner"]["model"]
    assert any(not torch.equal(weights[0][key], other[key]) for key in other)

    with pytest.raises(UserError, match=r"MarginReward, not WinLossReward.*--reward"):
        other = TrainConfig(output_dir=tmp_path / "refused", steps=3, **cached)
        train(replace(other, reward_function="WinLossReward"))
    with pytest.raises(UserError, match=r"other settings: train.reward_function = 'MarginReward'"):
        train(TrainConfig(data_dir=BATTLES, output_dir=tmp_path / "plain", steps=4, seed=1))


def test_training_takes_the_parameters_of_a_caches_reward_too(tmp_path: Path) -> None:
    folder = tmp_path / "c.mmap"
    build(BATTLES, folder, LiteFeaturizer(WinLossReward(scale=5.0)))
    train(TrainConfig(output_dir=tmp_path / "run", steps=1, cached=[str(folder)]))
    with pytest.raises(UserError, match="reward"):
        train(TrainConfig(output_dir=tmp_path / "x", cached=[str(folder)],
                          reward_function="WinLossReward"))  # fmt: skip


def test_an_unknown_reward_names_the_nearest(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"'marginreward'\. Did you mean 'MarginReward'"):
        config = TrainConfig(data_dir=BATTLES, output_dir=tmp_path / "run")
        train(replace(config, reward_function="marginreward"))
    with pytest.raises(UserError, match=r"Unknown reward function 'Elo'\. Known: WinLossReward"):
        LiteFeaturizer.named("MatchupObservationSpace", "Elo")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weights", [[1.0, 2.0], [-1.0], [0.0], [float("nan")]])
def test_weights_that_do_not_fit_are_refused(cache: Path, weights: list[float]) -> None:
    with pytest.raises(UserError, match="one each, not negative"):
        load_caches([str(cache)], weights, LiteFeaturizer())


def test_the_benchmark_answers_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache_benchmark, "SECONDS", 0.02)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    words = ["--files", "4", "--rounds", "1", "--json"]
    assert main(["benchmark", "data", str(BATTLES), *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["compared_with"] == "plain_loader"
    ratio = answer["steps_per_second"] / answer["plain_loader_steps_per_second"]
    assert answer["ratio_to_plain_loader"] == pytest.approx(ratio, rel=0.02, abs=0.06)
    assert answer["trajectories"] == len(list(trajectory_files(BATTLES)))


def test_a_large_index_is_opened_without_its_files(tmp_path: Path) -> None:
    answer = cache_benchmark.lazy_start(tmp_path, 20_000)
    assert answer["trajectories"] == 20_000
    assert answer["peak_memory_mb"] < (tmp_path / ROWS).stat().st_size / 2**20
