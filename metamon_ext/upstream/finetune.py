"""`metamon-ext finetune`: Metamon's finetuning, with the chosen reward in the training data.

Metamon's own command gives `--reward_function` to the environments of its evaluation, and builds
the data set with the base model's (1.5.1; `finetune` of 1.6.0 alike).
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import metamon
import wandb
from amago import Experiment
from amago.loading import RLDataset
from metamon import interface
from metamon.rl import finetune_from_hf
from metamon.rl.pretrained import PretrainedModel, get_pretrained_model
from metamon.rl.train import (
    WANDB_ENTITY,
    WANDB_PROJECT,
    create_offline_dataset,
    create_offline_rl_trainer,
)

import metamon_ext
from metamon_ext.data.cache_files import ARCHIVE
from metamon_ext.data.trajectory import EXTENSIONS, trajectory_files, write_json
from metamon_ext.errors import UserError, in_one_line
from metamon_ext.locks import lock_folder
from metamon_ext.upstream.cached_dataset import cached_dataset
from metamon_ext.upstream.gin_files import find_training_file
from metamon_ext.upstream.models import RECORD, checkpoint_file
from metamon_ext.upstream.register import make_reward, register, registered_name
from metamon_ext.upstream.weights import load_policy_weights

FILES = ("parsed_replay_dir", "self_play_subsets", "custom_replay_dir", "formats")
DATA = (
    *FILES,
    "replay_weight",
    "self_play_weights",
    "custom_replay_weight",
    "cached",
    "cached_weights",
)
LENGTH = ("epochs", "steps_per_epoch", "batch_size_per_gpu", "grad_accum")


def build_parser() -> argparse.ArgumentParser:
    """Metamon's own flags; `--train_gin_config` takes the names of our files too."""
    register()
    parser = argparse.ArgumentParser(prog="metamon-ext finetune", description=__doc__)
    parser.add_argument(
        "--cached",
        nargs="+",
        metavar="CACHE[?FILTER]",
        help="train on these caches of `metamon-ext cache build` and nothing else, each with a "
        "filter if wanted: human.mmap?min_rating=1500&formats=gen1ou",
    )
    parser.add_argument(
        "--cached_weights", nargs="+", type=float, help="how often each is drawn from; equal else"
    )
    return finetune_from_hf.add_cli(parser)


def finetune(args: argparse.Namespace) -> None:
    """Say what is trained on what, record it, and train."""
    pretrained = get_pretrained_model(args.finetune_from_model)
    plan = describe_run(args, pretrained)
    print(_table(plan), file=sys.stderr)
    checkpoint = checkpoint_file(args.finetune_from_model, pretrained, plan["base_checkpoint"])
    folder = Path(args.save_dir, args.run_name)
    first = os.environ.get("RANK", "0") == "0"  # `accelerate launch` starts a process for each GPU
    with lock_folder(folder) if first else nullcontext():
        experiment = make_experiment(args, pretrained)
        experiment.start()
        load_policy_weights(experiment, checkpoint)
        if experiment.accelerator.is_main_process:
            write_json(folder / RECORD, plan)
        experiment.learn()
        wandb.finish()


def make_experiment(args: argparse.Namespace, pretrained: PretrainedModel) -> Experiment:
    """Metamon's data set and trainer, both with the same reward function."""
    reward = reward_function(args, pretrained)
    return create_offline_rl_trainer(
        ckpt_dir=args.save_dir,
        run_name=args.run_name,
        model_gin_config=pretrained.model_gin_config_path,
        train_gin_config=train_gin_config(args, pretrained),
        obs_space=pretrained.observation_space,
        action_space=pretrained.action_space,
        reward_function=reward,
        amago_dataset=make_dataset(args, pretrained, reward),
        eval_gens=args.eval_gens,
        async_env_mp_context=args.async_env_mp_context,
        dloader_workers=args.dloader_workers,
        epochs=args.epochs,
        steps_per_epoch=args.steps_per_epoch,
        grad_accum=args.grad_accum,
        batch_size_per_gpu=args.batch_size_per_gpu,
        log=args.log,
        wandb_project=WANDB_PROJECT,
        wandb_entity=WANDB_ENTITY,
        manual_gin_overrides=pretrained.gin_overrides,
    )


def make_dataset(args: argparse.Namespace, pretrained: PretrainedModel, reward: Any) -> RLDataset:
    """Metamon's, which reads files, or that of the caches where there are some."""
    spaces = pretrained.observation_space, pretrained.action_space
    if args.cached is not None:
        if others := [key for key in FILES if getattr(args, key) is not None]:
            raise UserError(f"--cached takes the place of --{others[0]}, and filters by its name")
        return cached_dataset(args.cached, args.cached_weights, *spaces, reward)
    try:
        return create_offline_dataset(
            *spaces,
            reward_function=reward,
            parsed_replay_dir=args.parsed_replay_dir,
            replay_weight=args.replay_weight,
            self_play_subsets=args.self_play_subsets,
            self_play_weights=args.self_play_weights,
            custom_replay_dir=args.custom_replay_dir,
            custom_replay_weight=args.custom_replay_weight,
            formats=args.formats,
            use_cached_filenames=args.use_cached_filenames,
        )
    except OSError as error:  # Metamon fetches its own sets: no internet, or a full disk
        raise UserError(
            "Metamon's data cannot be had (--replay_weight 0 does without): " + in_one_line(error)
        ) from error


def reward_function(args: argparse.Namespace, pretrained: PretrainedModel) -> Any:
    """The one that is asked for, as the training's gin file sets it, else the base model's."""
    if args.reward_function is None:
        return pretrained.reward_function
    return make_reward(args.reward_function, train_gin_config(args, pretrained))


def train_gin_config(args: argparse.Namespace, pretrained: PretrainedModel) -> str:
    """The absolute path of a file, of one of ours by its name, else of the base model's."""
    if args.train_gin_config is None:
        return pretrained.train_gin_config_path
    return str(find_training_file(args.train_gin_config))


def describe_run(args: argparse.Namespace, pretrained: PretrainedModel) -> dict[str, Any]:
    """What is trained on what: all that is needed to build the model again, and to judge it."""
    if (custom := args.custom_replay_dir) is not None:
        if not Path(custom).is_dir():
            raise UserError(f"--custom_replay_dir {custom}: there is no such folder")
        if not any(trajectory_files(Path(custom), (*EXTENSIONS, ARCHIVE))):
            raise UserError(f"--custom_replay_dir {custom}: no trajectories in it or below")
    space = pretrained.observation_space
    reward = reward_function(args, pretrained)
    return {
        "run_name": args.run_name,
        "base_model": args.finetune_from_model,
        "base_checkpoint": args.finetune_from_checkpoint or pretrained.default_checkpoint,
        "model_gin_config": str(Path(pretrained.model_gin_config_path).resolve()),
        "train_gin_config": train_gin_config(args, pretrained),
        "reward_function": registered_name(interface.ALL_REWARD_FUNCTIONS, reward),
        "observation_space": registered_name(
            interface.ALL_OBSERVATION_SPACES, space.base_obs_space
        ),
        "action_space": registered_name(interface.ALL_ACTION_SPACES, pretrained.action_space),
        "tokenizer": pretrained.tokenizer.name,
        "battle_backend": pretrained.battle_backend,
        "data": {key: getattr(args, key) for key in DATA},
        "training": {key: getattr(args, key) for key in LENGTH},
        "metamon": metamon.__version__,
        "metamon_ext": metamon_ext.__version__,
    }


def _table(plan: dict[str, Any]) -> str:
    rows = {**plan, **plan["data"], **plan["training"]}
    shown = {key: value for key, value in rows.items() if not isinstance(value, dict)}
    return "\n".join(f"  {key:<22}{value}" for key, value in shown.items() if value is not None)
