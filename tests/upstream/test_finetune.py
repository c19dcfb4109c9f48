"""Training by Metamon's own commands and by ours: offline, for real, a few steps."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import gin
import pytest
import torch
from amago.loading import RLData_pad_collate
from metamon import interface
from metamon.rl.metamon_to_amago import make_placeholder_experiment
from metamon.rl.pretrained import LocalPretrainedModel, Minikazam, PretrainedModel

from metamon_ext.cli import main
from metamon_ext.data.trajectory import read_trajectory
from metamon_ext.spaces.reward_functions import REWARD_FUNCTIONS
from metamon_ext.spaces.universal import UniversalState
from metamon_ext.upstream.finetune import (
    build_parser,
    describe_run,
    make_experiment,
    reward_function,
)
from metamon_ext.upstream.gin_files import find_gin_file
from metamon_ext.upstream.models import RECORD, find_model
from metamon_ext.upstream.register import OBSERVATION_SPACES, register
from tests.conftest import ROOT
from tests.upstream.helpers import copy_battles, same_weights

COMMAND = (
    "import sys; from metamon_ext.cli import build_parser; "
    "args = build_parser('finetune').parse_args(); sys.exit(args.run(args))"
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Battles, and a cache of Metamon's that holds a Minikazam nobody has trained."""
    folder = tmp_path_factory.mktemp("finetune")
    copy_battles(folder)
    hub = folder / "cache" / "pretrained_models" / "models--jakegrigsby--metamon"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text("0" * 40)
    weights = hub / "snapshots" / ("0" * 40) / "minikazam" / "ckpts" / "policy_weights"
    weights.mkdir(parents=True)
    gin.clear_config()
    model = Minikazam()
    model.get_path_to_checkpoint = lambda _: str(weights / "policy_epoch_40.pt")
    gin.parse_config_files_and_bindings(
        [model.model_gin_config_path, model.train_gin_config_path], [], finalize_config=False
    )
    gin.bind_parameter("MetamonPerceiverTstepEncoder.tokenizer", model.tokenizer)
    experiment = make_placeholder_experiment(
        str(folder), "fresh", False, model.observation_space, model.action_space
    )
    experiment.verbose = False
    experiment.start()
    torch.save(experiment.policy.state_dict(), weights / "policy_epoch_40.pt")
    return folder


def flags(workplace: Path, run_name: str, **more: Any) -> list[str]:
    settings = {
        "finetune_from_model": "Minikazam",
        "run_name": run_name,
        "save_dir": workplace / "runs",
        "custom_replay_dir": workplace / "battles",
        "replay_weight": 0,
        "formats": "gen1ou",
        "epochs": 3,  # AMAGO saves 0 and 2, and Metamon never loads a checkpoint 0
        "steps_per_epoch": 1,
        "batch_size_per_gpu": 2,
        "dloader_workers": 0,
    } | more
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [*words, "--eval_gens"]


def run(workplace: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """In another process, without the internet; uncompiled, which is quicker for so few steps."""
    environment = os.environ | {
        "METAMON_CACHE_DIR": str(workplace / "cache"),
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, *command], cwd=workplace, env=environment, capture_output=True, text=True
    )


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
    return load(model)


def load(model: PretrainedModel) -> dict[str, torch.Tensor]:
    """The weights in the agent that Metamon makes, which are those in the file."""
    gin.clear_config()
    weights = model.initialize_agent().policy.state_dict()
    saved = torch.load(model.get_path_to_checkpoint(2), weights_only=True)
    assert same_weights(weights, saved)
    return weights


def base(workplace: Path) -> dict[str, torch.Tensor]:
    (path,) = (workplace / "cache").rglob("policy_epoch_40.pt")
    return torch.load(path, weights_only=True)


def has_learned(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> bool:
    assert all(torch.isfinite(value).all() for value in new.values())
    return any(not torch.equal(new[key], old[key]) for key in old if key.startswith("actor"))


@pytest.mark.parametrize("name", ["binary_advantage", "damped_conservative"])
def test_metamons_own_finetuning_takes_our_gin_file(workplace: Path, name: str) -> None:
    path = find_gin_file(name)
    arguments = flags(workplace, f"theirs-{name}", train_gin_config=path)
    answer = run(workplace, "-m", "metamon.rl.finetune_from_hf", *arguments)
    assert answer.returncode == 0, answer.stderr
    assert "Path not found" not in answer.stderr  # what gin says of an include that it looks for
    old, new = base(workplace), trained(workplace, f"theirs-{name}", path)
    assert has_learned(old, new)
    for key in new:
        if key.startswith("reference.") and name == "damped_conservative":
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
    answer = run(workplace, "-c", COMMAND, "run", "-m", "metamon.rl.train", *arguments)
    assert answer.returncode == 0, answer.stderr


def test_our_finetuning_says_and_records_what_it_trains(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = flags(
        workplace, "ours", train_gin_config="psro_oracle", reward_function="MarginReward"
    )
    answer = run(workplace, "-c", COMMAND, "finetune", *arguments)
    assert answer.returncode == 0, answer.stderr
    record = json.loads((workplace / "runs" / "ours" / RECORD).read_text())
    expected = {
        "run_name": "ours",
        "base_model": "Minikazam",
        "base_checkpoint": 40,
        "train_gin_config": str(find_gin_file("psro_oracle")),
        "reward_function": "MarginReward",
        "observation_space": "PAC-OpponentMoveObservationSpace",
        "action_space": "DefaultActionSpace",
        "tokenizer": "DefaultObservationSpace-v1",
        "battle_backend": "pokeagent",
    }
    assert {key: record[key] for key in expected} == expected
    assert Path(record["model_gin_config"]).name == "minikazam.gin"
    assert record["data"]["custom_replay_dir"] == str(workplace / "battles")
    assert record["training"]["steps_per_epoch"] == 1
    said = answer.stderr
    assert all(str(value) in said for value in expected.values())
    monkeypatch.chdir(workplace)
    register()
    model = find_model("ours_Epoch2")
    assert type(model.reward_function).__name__ == "MarginReward"
    assert has_learned(base(workplace), load(model))


@pytest.mark.parametrize("name", [*REWARD_FUNCTIONS, "BinaryReward", None])
def test_the_reward_that_is_asked_for_reaches_the_training_data(
    workplace: Path, name: str | None
) -> None:
    more = {} if name is None else {"reward_function": name}
    args = build_parser().parse_args(flags(workplace, "rewards", **more))
    pretrained = Minikazam()
    gin.clear_config()
    dataset = make_experiment(args, pretrained).dataset
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
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = workplace / "tuned.gin"
    ours = find_gin_file("binary_advantage")
    tuned.write_text(
        f'include "{ours}"\nimport metamon_ext.spaces.rewards\n'
        "metamon_ext.WinLossReward.scale = 7.0\n"
    )
    gin.clear_config()
    gin.bind_parameter("metamon_ext.WinLossReward.scale", 3.0)
    more = {"reward_function": "WinLossReward", "train_gin_config": tuned}
    args = build_parser().parse_args(flags(workplace, "scaled", **more))
    assert reward_function(args, Minikazam()).scale == 7.0
    assert gin.query_parameter("metamon_ext.WinLossReward.scale") == 3.0

    folder = workplace / "runs" / "scaled"
    (folder / "ckpts" / "policy_weights").mkdir(parents=True)
    (folder / "ckpts" / "policy_weights" / "policy_epoch_1.pt").touch()
    (folder / RECORD).write_text(json.dumps(describe_run(args, Minikazam())))
    monkeypatch.chdir(workplace)
    assert find_model("scaled_Epoch1").reward_function.scale == 7.0


def test_a_metamon_without_the_command_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As 1.6 is, which has `metamon.rl.finetune` in its place."""
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "metamon.rl.finetune_from_hf" else known(name, *more),
    )
    assert main(["finetune", "--help"]) == 2
    said = capsys.readouterr().err
    assert "metamon-ext run -m metamon.rl.finetune" in said and len(said.splitlines()) == 1


def test_a_reward_function_that_will_not_be_trained_on_is_warned_of(workplace: Path) -> None:
    module = "metamon.rl.finetune_from_hf"
    arguments = ["--reward_function", "WinLossReward", "--help"]
    answer = run(workplace, "-c", COMMAND, "run", "-m", module, *arguments)
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in REWARD_FUNCTIONS)
    assert "metamon-ext finetune trains on yours" in answer.stderr
    assert "trains on yours" not in run(workplace, "-c", COMMAND, "run", "-m", module, "-h").stderr


def test_registering_twice_does_no_harm() -> None:
    register()
    register()
    assert set(REWARD_FUNCTIONS) <= set(interface.get_reward_function_names())
    assert set(OBSERVATION_SPACES) <= set(interface.get_observation_space_names())


def test_the_plan_names_the_base_models_parts_where_nothing_is_asked_for(workplace: Path) -> None:
    plan = describe_run(build_parser().parse_args(flags(workplace, "plan")), Minikazam())
    assert plan["reward_function"] == "AggressiveShapedReward"
    assert Path(plan["train_gin_config"]).name == "binary_rl.gin"


def test_archives_are_data_of_your_own_too(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "gen1ou.tar").touch()
    args = build_parser().parse_args(flags(workplace, "plan", custom_replay_dir=tmp_path))
    assert describe_run(args, Minikazam())["data"]["custom_replay_dir"] == str(tmp_path)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"custom_replay_dir": "empty"}, "no trajectories in it or below"),
        ({"save_dir": "file"}, "Not a directory; name another folder"),
        ({"finetune_from_checkpoint": 41}, "checkpoint 41 of Minikazam cannot be fetched"),
        ({"replay_weight": 1}, "Metamon's data cannot be had (--replay_weight 0 does without)"),
    ],
)
def test_what_cannot_be_had_or_written_is_one_line(
    workplace: Path, more: dict[str, Any], says: str
) -> None:
    (workplace / "empty").mkdir(exist_ok=True)
    (workplace / "file").touch()
    answer = run(workplace, "-m", "metamon_ext", "finetune", *flags(workplace, "none", **more))
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert says in answer.stderr.splitlines()[-1]
