"""Real Metamon experiments, as small and as quick to build as they get."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gin
import torch
from amago.agent import Agent, MultiTaskAgent
from amago.cli_utils import use_config
from amago.loading import Batch, RLData_pad_collate
from metamon.interface import (
    DefaultActionSpace,
    RewardFunction,
    TeamPreviewObservationSpace,
    TokenizedObservationSpace,
    get_reward_function,
)
from metamon.rl import MODEL_CONFIG_DIR
from metamon.rl.metamon_to_amago import MetamonAMAGOExperiment, make_placeholder_experiment
from metamon.rl.train import create_offline_dataset
from metamon.tokenizer import get_tokenizer

from metamon_ext.upstream.gin_files import find_gin_file

torch.set_num_threads(1)  # these models are too small for more

MODELS = {"minikazam": Agent, "small_multitaskagent": MultiTaskAgent}
"""A small model of either kind of agent."""
ARENA = Path(__file__).parents[1] / "data" / "arena"
SMALL = {  # a small model of either agent, over Metamon's own files
    "MetamonTstepEncoder.d_model": 16,
    "MetamonTstepEncoder.n_heads": 2,
    "MetamonTstepEncoder.n_layers": 1,
    "MetamonPerceiverTstepEncoder.d_model": 16,
    "MetamonPerceiverTstepEncoder.n_heads": 2,
    "MetamonPerceiverTstepEncoder.n_layers": 1,
    "TformerTrajEncoder.d_model": 32,
    "TformerTrajEncoder.d_ff": 64,
    "TformerTrajEncoder.n_heads": 2,
    "TformerTrajEncoder.n_layers": 2,
    "GRUTrajEncoder.d_hidden": 32,
    "MetamonAMAGOExperiment.max_seq_len": 32,
}


def spaces() -> tuple[TokenizedObservationSpace, DefaultActionSpace]:
    tokenizer = get_tokenizer("DefaultObservationSpace-v1")
    return (
        TokenizedObservationSpace(TeamPreviewObservationSpace(), tokenizer),
        DefaultActionSpace(),
    )


def make_experiment(
    folder: Path, model: str, *files: str | Path, small: bool = True, **bindings: Any
) -> MetamonAMAGOExperiment:
    """A started experiment of one of our models or of Metamon's, with our files over it.

    Args:
        folder: where its checkpoints go.
        model: a name of ours, or the name of a file of Metamon's.
        files: names or paths, parsed in this order after the model.
        bindings: gin parameters, `__` for the dots, bound last.
    """
    gin.clear_config()
    observations, actions = spaces()
    theirs = Path(MODEL_CONFIG_DIR) / f"{model}.gin"
    paths = [theirs if theirs.exists() else find_gin_file(model)]
    paths += [file if isinstance(file, Path) else find_gin_file(file) for file in files]
    use_config(
        {
            "MetamonTstepEncoder.tokenizer": observations.tokenizer,
            "MetamonPerceiverTstepEncoder.tokenizer": observations.tokenizer,
        },
        [str(path) for path in paths],
        finalize=False,
    )
    overrides = SMALL if small and theirs.exists() else {}
    for name, value in overrides.items():
        gin.bind_parameter(name, value)
    for name, value in bindings.items():
        gin.bind_parameter(name.replace("__", "."), value)
    experiment = make_placeholder_experiment(
        ckpt_base_dir=str(folder),
        run_name="run",
        log=False,
        observation_space=observations,
        action_space=actions,
    )
    experiment.verbose = False
    experiment.start()
    return experiment


def make_batch(folder: Path, size: int = 4, reward: RewardFunction | None = None) -> Batch:
    """Slices of the recorded battles, padded, as AMAGO's data loader makes them."""
    data = copy_battles(folder)
    observations, actions = spaces()
    dataset = create_offline_dataset(
        obs_space=observations,
        action_space=actions,
        reward_function=reward or get_reward_function("DefaultShapedReward"),
        replay_weight=0,
        custom_replay_dir=str(data),
        formats=["gen1ou"],
        verbose=False,
    )
    dataset.configure(size, max_seq_len=32, padded_sampling="none", has_edit_rights=False)
    return RLData_pad_collate([dataset[i] for i in range(size)])


def copy_battles(folder: Path) -> Path:
    """A copy of the recorded battles: Metamon leaves an index beside what it reads."""
    return Path(shutil.copytree(ARENA, folder / "battles", dirs_exist_ok=True))


def same_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
