"""`metamon-ext train`: the small built-in learner."""

from __future__ import annotations

from pathlib import Path

from metamon_ext.cli.flags import Functions
from metamon_ext.errors import UserError
from metamon_ext.settings import check_at_least, check_run_name, check_seed


def train_command(
    run_name: str,
    data_dir: Path | None = None,
    cached: tuple[str, ...] = (),
    cached_weights: tuple[float, ...] | None = None,
    save_dir: Path = Path("runs"),
    gin_config: str = "binary_advantage",
    gin: tuple[str, ...] = (),
    finetune_from: Path | None = None,
    reward_function: str | None = None,
    obs_space: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    log: bool = False,
) -> int:
    """Exit code 0 when the last step is made and saved.

    Args:
        run_name: a folder of this name is made
        data_dir: a folder of filtered trajectory files
        cached: caches of such folders instead, each with a filter if wanted:
            x.mmap?wins_losses_both=wins
        cached_weights: how often each is drawn from
        save_dir: runs are in {save_dir}/{run_name}
        gin_config: a path, or a file of gin_configs/lite
        gin: overrides, e.g. 'train.steps = 100'
        finetune_from: begin with the weights of another run
        reward_function: a registered name; default: that of the cache, or WinLossReward
        obs_space: a registered name; default: that of the cache, or the built-in one
        steps: in all, those of an interrupted run included
        seed: of the initial weights and of the order of the data
        resume: accepted and ignored; a run is always resumed
        log: log to Weights & Biases (WANDB_MODE=offline works)
    """
    check_run_name(run_name)
    check_at_least(1, steps=steps)
    if seed is not None:
        check_seed(seed)
    if (data_dir is None) == (not cached):
        raise UserError("Pass either --data_dir or --cached.")
    from metamon_ext.training.lite.train import TrainConfig, train

    config = TrainConfig(
        output_dir=save_dir / run_name,
        data_dir=data_dir,
        cached=cached,
        cached_weights=cached_weights,
        gin_config=gin_config,
        gin=gin,
        steps=steps,
        seed=seed,
        reward_function=reward_function,
        obs_space=obs_space,
        finetune_from=finetune_from,
        log=log,
    )
    train(config)
    return 0


FUNCTIONS: Functions = {"train": train_command}
