"""Training from recorded battles: the loop, and how it goes on after an interruption.

A run is the folder `{save_dir}/{run_name}/` with `checkpoint.pt`, `training_log.csv` (one row a
step) and `config.gin` (every setting that took part; a gin file that trains the same again).
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gin
import torch

from metamon_ext.arena.schedule import derive
from metamon_ext.errors import RunStopped, UserError, in_one_line
from metamon_ext.files import atomic_write, lock_folder
from metamon_ext.learning.losses import discounted_returns
from metamon_ext.settings import check_seed
from metamon_ext.spaces.reward_functions import make_reward
from metamon_ext.training.lite.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    save_checkpoint,
    weights_of,
)
from metamon_ext.training.lite.config import read_gin_config
from metamon_ext.training.lite.dataset import Decisions, load_decisions
from metamon_ext.training.lite.featurizer import CachedDecisions
from metamon_ext.training.lite.learner import Learner
from metamon_ext.training.lite.training_log import TrainingLog

CONFIG = "config.gin"
Data = Decisions | CachedDecisions


@gin.configurable("train", module="metamon_ext")
@dataclass
class TrainSettings:
    """How long, on how much at once, from which seed, and for which reward.

    `steps` counts those before a resumption; a step learns from `batch_size` slices of `length`
    decisions. `seed` is that of the initial weights and of the order of the data. There is a
    checkpoint every `checkpoint_every` steps and after the last. `reward_function` is one of
    `REWARD_FUNCTIONS`; caches must have been built with the same one.
    """

    steps: int = 2000
    batch_size: int = 16
    length: int = 32
    seed: int = 0
    checkpoint_every: int = 500
    reward_function: str = "WinLossReward"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "length", "checkpoint_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"train.{name} = {value!r} is not a whole number above 0")
        check_seed(self.seed)

    @property
    def torch_seed(self) -> int:
        """The seed itself, or a hash of one that is too large for torch."""
        return self.seed if self.seed < 2**64 else derive(self.seed)


def train(
    data_dir: Path | None,
    run_dir: Path,
    config: str = "binary_advantage",
    overrides: Sequence[str] = (),
    steps: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    log: bool = False,
    cached: Sequence[str] = (),
    cached_weights: Sequence[float] | None = None,
    finetune_from: Path | None = None,
    reward_function: str | None = None,
) -> None:
    """Train on the trajectories of a folder until the run has made all its steps.

    Args:
        data_dir: a folder of filtered trajectory files.
        run_dir: where the run lies; the folder's name is the run's.
        config: a gin file, or the name of one of gin_configs/lite.
        overrides: gin bindings that go before those of the file, like "Learner.gammas = (0.99,)".
        steps, seed, reward_function: instead of those in the config.
        resume: go on from the run's checkpoint, if there is one.
        log: log to Weights & Biases as well (WANDB_MODE=offline works).
        finetune_from: another run, or its checkpoint, whose weights are the first ones.
        cached, cached_weights: caches instead of the folder, as `CachedDecisions` takes them.

    Raises UserError for settings, data or a folder that cannot be used.
    """
    torch.set_num_threads(1)  # the matrices are small: a second core serves a second run better
    read_gin_config(config, overrides)
    if seed is not None:
        gin.bind_parameter("train.seed", seed)
    if reward_function is not None:
        gin.bind_parameter("train.reward_function", reward_function)
    bindings = gin.config_str()
    if steps is not None:
        gin.bind_parameter("train.steps", steps)
    try:
        settings = TrainSettings()
        torch.manual_seed(settings.torch_seed)
        learner, reward = Learner(), make_reward(settings.reward_function)
    except (TypeError, ValueError) as error:
        raise UserError(f"gin: {' '.join(str(error).split())}") from None
    with lock_folder(run_dir):
        order = torch.Generator().manual_seed(settings.torch_seed)
        made = 0
        if (run_dir / CHECKPOINT).exists():
            if not resume:
                raise UserError(f"{run_dir}: there is a run already; --resume it, or name another")
            made = take_up(run_dir, learner, order, bindings)
        elif finetune_from is not None:
            start_from(learner, finetune_from)
        if made >= settings.steps:
            return

        if data_dir is None:
            data: Data = CachedDecisions(cached, cached_weights, reward)
        else:
            data = load_decisions(data_dir, reward)
        returns = discounted_returns(data.reward, data.done, learner.gammas)
        with writing(run_dir), TrainingLog(run_dir, made, settings.steps, log) as training_log:
            for step in range(made + 1, settings.steps + 1):
                began = time.perf_counter()
                indices = data.slices(settings.batch_size, settings.length + 1, order)
                figures = learner.update(data.take(indices), returns[indices[:, :-1]])
                speed = settings.batch_size * settings.length / (time.perf_counter() - began)
                if not math.isfinite(figures["grad_norm"]):
                    raise UserError(
                        f"{run_dir}: the gradient of step {step} is not finite: "
                        "lower Learner.learning_rate"
                    )
                training_log.record(step, figures | {"samples_per_second": speed})
                if step % settings.checkpoint_every == 0 or step == settings.steps:
                    save(run_dir, step, learner, order, bindings)


def save(run_dir: Path, step: int, learner: Learner, order: torch.Generator, bindings: str) -> None:
    """Write the settings that took part and, last, what `take_up` reads."""
    with atomic_write(run_dir / CONFIG) as path:
        path.write_text(gin.operative_config_str())
    content = {
        "step": step,
        "learner": learner.state_dict(),
        "order": order.get_state(),
        "model_sizes": learner.model.sizes,
        "bindings": bindings,
    }
    save_checkpoint(run_dir / CHECKPOINT, content)


def take_up(run_dir: Path, learner: Learner, order: torch.Generator, bindings: str) -> int:
    """Go on from where `save` was called last; returns the steps made until then.

    Raises UserError where the run was begun with other settings.
    """
    content = load_checkpoint(run_dir)
    if content.get("bindings") != bindings:
        raise UserError(f"{run_dir}: begun with other settings than these; see its {CONFIG}")
    model = weights_of(run_dir, content, learner.model)
    target = weights_of(run_dir, content, learner.target, "target")
    try:
        learner.load_state_dict(content["learner"] | {"model": model, "target": target})
        order.set_state(content["order"])
        return operator.index(content["step"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{run_dir / CHECKPOINT}: cannot be resumed ({in_one_line(error)}). Train a new run "
            "that begins with its weights: --finetune_from"
        ) from None


@contextmanager
def writing(run_dir: Path) -> Iterator[None]:
    """Raise RunStopped, with the path and the reason, where a file of a run cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write {run_dir}: {error.strerror}; fix this, then add --resume"
        ) from None


def start_from(learner: Learner, path: Path) -> None:
    """Give the learner the weights of another run. Raises UserError if they do not fit."""
    learner.start_from(weights_of(path, load_checkpoint(path), learner.model))
