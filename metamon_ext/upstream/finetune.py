"""Metamon's finetuning, with the chosen reward in the training data, and resumable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TextIO

import wandb
from accelerate.utils import set_seed
from amago import Experiment
from amago.loading import RLDataset
from metamon.rl.pretrained import PretrainedModel
from metamon.rl.train import (
    WANDB_ENTITY,
    WANDB_PROJECT,
    create_offline_dataset,
    create_offline_rl_trainer,
)
from rich.progress import TaskProgressColumn, TimeRemainingColumn
from torch.distributions import Distribution

from metamon_ext.errors import UserError, in_one_line
from metamon_ext.terminal import progress_bar
from metamon_ext.upstream.cached_dataset import cached_dataset
from metamon_ext.upstream.checkpoint_writer import CheckpointWriter, start_or_resume
from metamon_ext.upstream.finetune_config import FinetuneConfig
from metamon_ext.upstream.models import build_model
from metamon_ext.upstream.preflight import Plan
from metamon_ext.upstream.register import make_reward, register_spaces


def finetune(plan: Plan, terminal: TextIO) -> None:
    """Train a run until it has made all its epochs.

    Args:
        plan: a checked run, whose folder is open.
        terminal: for progress.

    Raises UserError for a base model or data that do not fit, and RunStopped where a checkpoint
    cannot be written.
    """
    register_spaces()
    # AMAGO pads short battles with actions that are none. torch.compile switches this check off,
    # but not where TORCHDYNAMO_DISABLE is set.
    Distribution.set_default_validate_args(False)
    if plan.config.seed is not None:
        set_seed((plan.config.seed + int(os.environ.get("RANK", "0"))) % 2**32)
    experiment = make_experiment(plan)
    try:
        experiment.start()
    except (AssertionError, ImportError, TypeError, ValueError) as error:
        # a gin file's mistake, or an attention that is not installed: see bf16_sdpa.gin
        raise UserError(
            f"Cannot build {plan.base.name} for training: {in_one_line(error)}"
        ) from error
    start_or_resume(experiment, plan)
    experiment.save_checkpoint = CheckpointWriter(experiment, plan, terminal)
    with _progress(experiment, plan.config, terminal):
        experiment.learn()
    wandb.finish()


def make_experiment(plan: Plan) -> Experiment:
    """Metamon's dataset and trainer, both with the same reward function."""
    config, model = plan.config, build_model(plan.base)
    train_gin = str((config.folder / "train.gin").resolve())
    reward = make_reward(plan.settings["reward_function"], train_gin)
    experiment = create_offline_rl_trainer(
        ckpt_dir=str(config.save_dir),
        run_name=config.run_name,
        model_gin_config=str((config.folder / "model.gin").resolve()),
        train_gin_config=train_gin,
        obs_space=model.observation_space,
        action_space=model.action_space,
        reward_function=reward,
        amago_dataset=make_dataset(config, model, reward),
        eval_gens=list(config.eval_gens),
        async_env_mp_context=config.async_env_mp_context,
        dloader_workers=config.dloader_workers,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        grad_accum=config.grad_accum,
        batch_size_per_gpu=config.batch_size_per_gpu,
        log=config.log,
        wandb_project=WANDB_PROJECT,
        wandb_entity=WANDB_ENTITY,
        manual_gin_overrides=model.gin_overrides,
    )
    experiment.ckpt_interval = 1  # the writer leaves epochs out
    experiment.always_save_latest = False  # a copy of the latest checkpoint
    experiment.verbose = False
    if not config.eval_gens:
        experiment.env_mode = "sync"  # the placeholder needs no process of its own
    return experiment


def make_dataset(config: FinetuneConfig, model: PretrainedModel, reward: Any) -> RLDataset:
    """Metamon's, which reads files, or that of the caches where there are some."""
    spaces = model.observation_space, model.action_space
    if config.cached is not None:
        return cached_dataset(config.cached, config.cached_weights, *spaces, reward)
    try:
        return create_offline_dataset(
            *spaces,
            reward_function=reward,
            parsed_replay_dir=config.parsed_replay_dir and str(config.parsed_replay_dir),
            replay_weight=config.replay_weight,
            self_play_subsets=config.self_play_subsets and list(config.self_play_subsets),
            self_play_weights=config.self_play_weights and list(config.self_play_weights),
            custom_replay_dir=config.custom_replay_dir and str(config.custom_replay_dir),
            custom_replay_weight=config.custom_replay_weight,
            formats=config.formats and list(config.formats),
            use_cached_filenames=config.use_cached_filenames,
        )
    except OSError as error:  # Metamon downloads its own sets: no internet, or a full disk
        raise UserError(
            "Metamon's data cannot be downloaded (--replay_weight 0 does without): "
            + in_one_line(error)
        ) from error


@contextlib.contextmanager
def _progress(experiment: Experiment, config: FinetuneConfig, terminal: TextIO) -> Iterator[None]:
    """A progress bar of training steps, where somebody can see it."""
    if not terminal.isatty() or not experiment.accelerator.is_main_process:
        yield
        return
    steps = config.steps_per_epoch * config.grad_accum
    train_step = experiment.train_step
    with progress_bar(TaskProgressColumn(), TimeRemainingColumn(), file=terminal) as bar:
        task = bar.add_task(config.run_name, total=config.epochs * steps)
        bar.update(task, completed=experiment.epoch * steps)

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = train_step(*args, **kwargs)
            bar.advance(task)
            return result

        experiment.train_step = counted
        yield
