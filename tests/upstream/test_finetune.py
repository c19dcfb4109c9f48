"""Training by Metamon's own commands and by ours: offline, for real, a few steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path

import gin
import pytest
import torch
from amago.loading import RLData_pad_collate
from metamon import interface
from metamon.rl.pretrained import LocalPretrainedModel, Minikazam, PretrainedModel

from metamon_ext.data.trajectory import read_trajectory
from metamon_ext.spaces.registry import REWARDS
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.upstream import catalog
from metamon_ext.upstream.finetune import make_experiment
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.gin_files import find_gin_file, read_gin_file
from metamon_ext.upstream.models import find_model
from metamon_ext.upstream.preflight import make_plan
from metamon_ext.upstream.register import register
from metamon_ext.upstream.run_folder import open_run
from metamon_ext.upstream.runs import Run
from tests.support.flags import parse_config
from tests.upstream.finetuning import base_weights, flags, run
from tests.upstream.helpers import same_weights

CLI = ("-m", "metamon_ext.cli")


def trained(workplace: Path, run_name: str, train_gin_config: Path) -> dict[str, torch.Tensor]:
    """The weights of the finetuned model, after Metamon has loaded them as its own.

    Its LocalFinetunedModel forgets the gin overrides of the base, without which Minikazam has no
    tokenizer.
    """
    model = LocalPretrainedModel(
        amago_ckpt_dir=str(workplace / "runs"),
        model_name=run_name,
        model_gin_config="minikazam.gin",
        train_gin_config=str(train_gin_config),
        default_checkpoint=2,
        **{name: getattr(Minikazam(), name) for name in ("tokenizer", "gin_overrides")},
        observation_space=Minikazam().observation_space.base_obs_space,
    )
    return load(model, 2)


def load(model: PretrainedModel, epoch: int) -> dict[str, torch.Tensor]:
    """The weights in the agent that Metamon makes, which are those in the file."""
    gin.clear_config()
    weights = model.initialize_agent(epoch).policy.state_dict()
    saved = torch.load(model.get_path_to_checkpoint(epoch), weights_only=True)
    assert same_weights(weights, saved)
    return weights


def has_learned(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> bool:
    assert all(torch.isfinite(value).all() for value in new.values())
    return any(not torch.equal(new[key], old[key]) for key in old if key.startswith("actor"))


@pytest.mark.parametrize("name", ["binary_advantage", "kl_conservative"])
def test_metamons_own_finetuning_takes_our_gin_file(workplace: Path, name: str) -> None:
    path = find_gin_file(name)
    arguments = flags(workplace, f"theirs-{name}", train_gin_config=path, epochs=3)
    answer = run(workplace, "-m", "metamon.rl.finetune_from_hf", *arguments)
    assert answer.returncode == 0, answer.stderr
    assert "Path not found" not in answer.stderr  # what gin says of an include that it looks for
    old, new = base_weights(workplace), trained(workplace, f"theirs-{name}", path)
    assert has_learned(old, new)
    for key in new:
        if key.startswith("reference.") and name == "kl_conservative":
            assert torch.equal(new[key], old[key.removeprefix("reference.")])


def test_metamons_own_training_takes_our_model(workplace: Path) -> None:
    """Metamon's train has no flag for the length of an epoch, so that there is none here."""
    arguments = ["--run_name", "scratch", "--save_dir", str(workplace / "runs")]
    arguments += ["--model_gin_config", str(find_gin_file("laptop"))]
    arguments += ["--train_gin_config", str(find_gin_file("binary_advantage"))]
    arguments += ["--custom_replay_dir", str(workplace / "battles"), "--replay_weight", "0"]
    arguments += ["--formats", "gen1ou", "--epochs", "0", "--dloader_workers", "0", "--eval_gens"]
    answer = run(workplace, "-m", "metamon.rl.train", *arguments)
    assert answer.returncode == 0, answer.stderr
    assert "TformerTrajEncoder" in answer.stdout
    arguments += ["--reward_function", "WinLossReward"]
    arguments += ["--obs_space", "ExpandedMatchupObservationSpace"]
    answer = run(workplace, *CLI, "run", "-m", "metamon.rl.train", *arguments)
    assert answer.returncode == 0, answer.stderr


def test_our_finetuning_says_and_records_what_it_trains(workplace: Path, here: Path) -> None:
    """In a process of its own, whose streams must have nothing but our lines."""
    asked = {"train_gin_config": "psro_oracle", "reward_function": "MarginReward"}
    arguments = flags(workplace, "ours", save_dir="runs", **asked)
    answer = run(workplace, *CLI, "finetune", *arguments, cwd=here)
    assert answer.returncode == 0, answer.stderr
    expected = {
        "base_model": "Minikazam",
        "base_checkpoint": 40,
        "reward_function": "MarginReward",
        "observation_space": "PAC-OpponentMoveObservationSpace",
        "action_space": "DefaultActionSpace",
        "tokenizer": "DefaultObservationSpace-v1",
        "battle_backend": "pokeagent",
        "model_gin_config": "minikazam.gin",
        "train_gin_config": str(find_gin_file("psro_oracle")),
    }
    said = answer.stderr.splitlines()
    assert all(str(value) in answer.stderr for value in expected.values())
    weights = "runs/ours/ckpts/policy_weights/policy_epoch_{}.pt"
    assert said[-2:] == [f"checkpoint {k}: {weights.format(k)}" for k in (0, 1)]
    assert all(line.startswith("  ") for line in said[:-2]), "nothing but the settings"
    assert answer.stdout.splitlines() == [
        "Checkpoints of runs/ours: ours_Epoch0, ours_Epoch1",
        "play:      metamon-ext play --p1 ours_Epoch1 --p2 Minikazam --pairs",
        "evaluate:  metamon-ext evaluate --agent ours_Epoch1",
        "gate:      metamon-ext gate --candidate ours_Epoch1 --base Minikazam "
        "--output_dir gates/ours",
    ]
    assert "TRAINING DATASET SUMMARY" in (here / "runs/ours/log.txt").read_text()
    for epoch in (0, 1):
        record = Run(Path("runs/ours")).record(epoch)
        assert {key: record[key] for key in expected} == expected
        assert record["checkpoint"] == epoch
        assert record["versions"].keys() >= {"metamon_ext", "metamon", "amago", "torch"}
        assert record["gin"]["train_gin_config"] == read_gin_file(find_gin_file("psro_oracle"))
        data = record["data"]["sources"]["custom replays"]
        battles = workplace / "battles"
        assert data["path"] == str(battles)
        assert data["files"] == len(list((battles / "gen1ou").iterdir())) > 0
    register()
    for epoch in (0, 1):  # Metamon itself would leave the weights of epoch 0 at random
        model = find_model(f"ours_Epoch{epoch}")
        assert type(model.reward_function).__name__ == "MarginReward"
        new = load(model, epoch)
    assert has_learned(base_weights(workplace), new)


@pytest.mark.parametrize("name", [*REWARDS.names(), "BinaryReward", None])
def test_the_reward_that_is_asked_for_reaches_the_training_data(
    workplace: Path, here: Path, name: str | None
) -> None:
    more = {} if name is None else {"reward_function": name}
    plan = make_plan(parse_config(*flags(workplace, "rewards", save_dir="runs", **more)))
    with open_run(plan):
        dataset = make_experiment(plan).dataset
    register()
    expected = interface.get_reward_function(name or "AggressiveShapedReward")
    battles = dataset.parsed_replay_dset
    by_length: dict[int, list[torch.Tensor]] = {}
    for i, filename in enumerate(battles.filenames):
        states = [UniversalState.from_dict(s) for s in read_trajectory(Path(filename)).states]
        rewards = torch.tensor([expected(*pair) for pair in pairwise(states)])
        torch.testing.assert_close(torch.as_tensor(battles[i][2]), rewards, check_dtype=False)
        by_length.setdefault(len(rewards), []).append(rewards)
    dataset.configure(8, max_seq_len=None, padded_sampling="none", has_edit_rights=False)
    batch = RLData_pad_collate([dataset[i] for i in range(8)])
    for rewards, dones in zip(batch.rews, batch.dones, strict=True):
        length = int(dones.squeeze(-1).eq(1).nonzero()[0]) + 1
        known = by_length[length]
        assert any(torch.allclose(rewards[:length, 0].float(), one.float()) for one in known)


def test_a_gin_file_sets_the_parameters_of_the_reward(
    here: Path, finetune: Callable[..., int]
) -> None:
    """In training, and of the model that comes of it, also when the file has changed since."""
    tuned = here / "tuned.gin"
    tuned.write_text(
        f'include "{find_gin_file("binary_advantage")}"\nimport metamon_ext.spaces.rewards\n'
        "metamon_ext.WinLossReward.scale = 7.0\n"
    )
    more = {"reward_function": "WinLossReward", "train_gin_config": tuned, "epochs": 1}
    assert finetune("scaled", **more) == 0
    tuned.write_text("")
    assert find_model("scaled_Epoch0").reward_function.scale == 7.0


def test_a_model_is_finetuned_from_a_checkpoint_of_a_run(finetune: Callable[..., int]) -> None:
    assert finetune("first", reward_function="WinLossReward", epochs=1) == 0
    assert finetune("second", finetune_from_model="first_Epoch0", epochs=1) == 0
    record = Run(Path("runs/second")).record(0)
    assert record["reward_function"] == "WinLossReward"
    assert record["base_sha256"] == Run(Path("runs/first")).record(0)["sha256"]
    assert find_model("second_Epoch0").gin_overrides.keys() == Minikazam().gin_overrides.keys()


def test_our_flags_have_metamons_defaults() -> None:
    from argparse import ArgumentParser

    from metamon.rl import finetune_from_hf

    parser = finetune_from_hf.add_cli(ArgumentParser())
    ours = {field.name: field for field in fields(FinetuneConfig)}
    for action in parser._actions:
        if action.dest == "help":
            continue
        default = tuple(action.default) if action.dest == "eval_gens" else action.default
        field = ours[action.dest]
        assert action.required == (field.default is MISSING), action.dest
        assert action.required or field.default == default, action.dest


def test_names_are_read_from_metamons_source_as_metamon_registers_them() -> None:
    from metamon.baselines import ALL_BASELINES
    from metamon.config import SUPPORTED_BATTLE_FORMATS
    from metamon.rl import pretrained

    register()
    models = catalog.released_models()
    known = {n for n, m in pretrained.ALL_PRETRAINED_MODELS.items() if not hasattr(m, "folder")}
    assert set(models) == known
    assert set(catalog.baselines()) == set(ALL_BASELINES)
    assert set(catalog.reward_functions()) == set(interface.ALL_REWARD_FUNCTIONS)
    assert set(catalog.battle_formats()) == set(SUPPORTED_BATTLE_FORMATS)
    for name, model in models.items():
        real = pretrained.get_pretrained_model(name)
        assert (model.folder, model.default_checkpoint) == (
            real.model_name,
            real.default_checkpoint,
        )
        space = interface.ALL_OBSERVATION_SPACES[model.parts["observation_space"]]
        assert type(real.observation_space.base_obs_space) is space
        reward = interface.ALL_REWARD_FUNCTIONS[model.parts["reward_function"]]
        assert type(real.reward_function) is reward
        action_space = interface.ALL_ACTION_SPACES[model.parts["action_space"]]
        assert type(real.action_space) is action_space
        for part in ("train_gin_config", "model_gin_config", "battle_backend"):
            assert model.parts[part] == getattr(real, part)
        assert model.parts["tokenizer"] == real.tokenizer.name


def test_a_reward_function_that_will_not_be_trained_on_is_warned_of(workplace: Path) -> None:
    module = "metamon.rl.finetune_from_hf"
    arguments = ["--reward_function", "WinLossReward", "--help"]
    answer = run(workplace, *CLI, "run", "-m", module, *arguments)
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in REWARDS.names())
    assert "metamon-ext finetune trains on yours" in answer.stderr
    assert "trains on yours" not in run(workplace, *CLI, "run", "-m", module, "-h").stderr


def test_registering_twice_does_no_harm() -> None:
    register()
    register()
    assert set(REWARDS.names()) <= set(interface.get_reward_function_names())
    spaces = {"ExpandedMatchupObservationSpace", "MatchupObservationSpace"}
    assert spaces <= set(interface.get_observation_space_names())


def test_the_record_is_json_that_people_can_read(finetune: Callable[..., int]) -> None:
    assert finetune("plain", epochs=1) == 0
    text = Path("runs/plain/ckpts/policy_weights/policy_epoch_0.json").read_text()
    assert json.loads(text)["reward_function"] == "AggressiveShapedReward"
    assert len(text.splitlines()) > 20
