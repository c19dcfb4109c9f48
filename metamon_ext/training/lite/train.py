"""Offline training of the built-in learner, resumable.

A run is a folder with `checkpoint.pt`, `training_log.csv` (a row for each step) and `config.gin`
(every setting that took part; a gin file that trains the same again). With held-out battles it has
`test_log.csv` too (a row for each checkpoint).
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gin
import torch

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.schedule import derive
from metamon_ext.data.cache.filter import split_name
from metamon_ext.data.split import Split
from metamon_ext.errors import RunStopped, UserError, first_few, in_one_line
from metamon_ext.files import atomic_write, lock_folder
from metamon_ext.learning.losses import discounted_returns
from metamon_ext.settings import check_seed
from metamon_ext.training.lite.checkpoint import (
    CHECKPOINT,
    CHECKPOINTS,
    load_checkpoint,
    save_checkpoint,
    weights_of,
)
from metamon_ext.training.lite.config import (
    OBS_SPACE,
    REWARD_FUNCTION,
    TrainConfig,
    read_gin_config,
)
from metamon_ext.training.lite.dataset import Dataset, load_data
from metamon_ext.training.lite.extraction import Distiller, ExtractionSettings
from metamon_ext.training.lite.featurizer import LiteFeaturizer
from metamon_ext.training.lite.held_out import HeldOut
from metamon_ext.training.lite.learner import Learner
from metamon_ext.training.lite.policy import LitePolicy
from metamon_ext.training.lite.training_log import TrainingLog

CONFIG = "config.gin"


@gin.configurable("train", module="metamon_ext")
@dataclass
class TrainSettings:
    """What a gin file sets under `train`.

    Attributes:
        steps: gradient updates, without those of `extraction`.
        batch_size: slices for an update.
        length: decisions of a slice.
        seed: of the initial weights and of the order of the data.
        checkpoint_every: steps between checkpoints; the last step always has one.
        reward_function, obs_space: registered names.
        test_fraction: the share of battles that are held out: see `Split`.
    """

    steps: int = 2000
    batch_size: int = 16
    length: int = 32
    seed: int = 0
    checkpoint_every: int = 500
    reward_function: str = REWARD_FUNCTION
    obs_space: str = OBS_SPACE
    test_fraction: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "length", "checkpoint_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"train.{name} = {value!r} is not an integer above 0")
        check_seed(self.seed)
        Split(test_fraction=self.test_fraction)  # raises for an invalid share

    @property
    def torch_seed(self) -> int:
        """The seed itself, or a hash of one that is too large for torch."""
        return self.seed if self.seed < 2**64 else derive(self.seed)


def train(config: TrainConfig) -> PolicyRef:
    """Train until the run has made all its steps, resuming it from its checkpoint if there is one.

    Returns:
        The policy of the run's checkpoint.

    Raises:
        UserError: settings, data or a folder that cannot be used.
        RunStopped: a file of the run cannot be written.
    """
    torch.set_num_threads(1)  # the matrices are small: a second core serves a second run better
    run_dir = config.output_dir
    bindings, settings, learner, extraction, featurizer = read_settings(config)
    with lock_folder(run_dir):
        run = _Run(run_dir, bindings, settings, extraction, learner, config.keep_checkpoints)
        if (run_dir / CHECKPOINT).exists():
            run.resume()
        elif config.finetune_from is not None:
            start_from(learner, config.finetune_from)
        if run.step < run.steps:
            data = load_data(config, featurizer, Split("train", settings.test_fraction))
            if settings.test_fraction:
                run.held_out = HeldOut(config, featurizer, Split("test", settings.test_fraction))
            with (
                _stopping_if_unwritable(run_dir),
                TrainingLog(run_dir, run.step, run.steps, config.log) as log,
            ):
                run.train(data, log)
    return policy_of(run_dir)


def policy_of(checkpoint: Path) -> PolicyRef:
    """The policy of a checkpoint."""
    return PolicyRef(str(checkpoint), LitePolicy, {"checkpoint": str(checkpoint)})


def read_settings(
    config: TrainConfig,
) -> tuple[str, TrainSettings, Learner, ExtractionSettings, LiteFeaturizer]:
    """What the gin file and the config say, checked; and the learner with its initial weights.

    The first are the bindings that must not change when a run is resumed. Raises UserError.
    """
    bindings = _bind(config)
    try:
        settings = TrainSettings()
        torch.manual_seed(settings.torch_seed)
        learner = Learner(obs_space=settings.obs_space, steps=settings.steps)
        extraction = ExtractionSettings()
        extraction.check(learner)
        return bindings, settings, learner, extraction, _featurizer(config, settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"gin: {' '.join(str(error).split())}") from None


def _bind(config: TrainConfig) -> str:
    """Bind the settings of a config. Returns those that must not change when a run is resumed."""
    read_gin_config(config.gin_config, config.gin)
    names = ("seed", "reward_function", "obs_space", "test_fraction")
    given = {name: getattr(config, name) for name in names}
    if config.cached:
        cache = LiteFeaturizer.of_cache(split_name(config.cached[0])[0]).definition
        defaults = {"reward_function": REWARD_FUNCTION, "obs_space": OBS_SPACE}
        for name, default in defaults.items():
            if given[name] is None and _bound(f"train.{name}") is None and cache[name] != default:
                given[name] = cache[name]
    for name, value in given.items():
        if value is not None:
            gin.bind_parameter(f"train.{name}", value)
    bindings = gin.config_str()
    if config.steps is not None:
        gin.bind_parameter("train.steps", config.steps)
    # the last step is fixed where an extraction follows it or the learning rate falls towards it
    ends = _bound("extraction.steps") or _bound("Learner.final_learning_rate") is not None
    return gin.config_str() if ends else bindings


def _bound(name: str) -> Any:
    """What a gin file binds; None if it binds nothing."""
    try:
        return gin.query_parameter(name)
    except ValueError:
        return None


def _featurizer(config: TrainConfig, settings: TrainSettings) -> LiteFeaturizer:
    """The featurizer of the settings; with the cache's reward unless another one is asked for."""
    if config.cached and config.reward_function is None:
        featurizer = LiteFeaturizer.of_cache(split_name(config.cached[0])[0])
        names = (settings.obs_space, settings.reward_function)
        if names == tuple(featurizer.definition[n] for n in ("obs_space", "reward_function")):
            return featurizer
    return LiteFeaturizer.named(settings.obs_space, settings.reward_function)


class _Run:
    """A run in its folder: the steps of the learner, then those of the extraction."""

    def __init__(
        self,
        run_dir: Path,
        bindings: str,
        settings: TrainSettings,
        extraction: ExtractionSettings,
        learner: Learner,
        keep_checkpoints: bool,
    ) -> None:
        self._run_dir, self._bindings = run_dir, bindings
        self._keep_checkpoints = keep_checkpoints
        self._settings, self._extraction = settings, extraction
        self._learner: Learner | Distiller = learner
        self._gammas = learner.gammas
        self._data_rng = torch.Generator().manual_seed(settings.torch_seed)
        self.held_out: HeldOut | None = None
        self.step = 0
        self.steps = settings.steps + extraction.steps

    def resume(self) -> None:
        """Restore the checkpoint, of either stage."""
        content = load_checkpoint(self._run_dir)
        if has_teacher(content):
            self._begin_extraction()
        self.step = resume(self._run_dir, content, self._learner, self._data_rng, self._bindings)

    def _begin_extraction(self) -> None:
        assert isinstance(self._learner, Learner)
        self._learner = Distiller(self._learner, self._extraction)

    def train(self, data: Dataset, log: TrainingLog) -> None:
        """Make the steps after `step`."""
        settings = self._settings
        returns = discounted_returns(data.reward, data.done, self._gammas)
        while self.step < self.steps:
            if self.step == settings.steps:
                self._begin_extraction()
            self.step += 1
            began = time.perf_counter()
            indices = data.slices(settings.batch_size, settings.length + 1, self._data_rng)
            metrics = self._learner.update(data.take(indices), returns[indices[:, :-1]])
            speed = settings.batch_size * settings.length / (time.perf_counter() - began)
            if not math.isfinite(metrics["grad_norm"]):
                raise UserError(
                    f"{self._run_dir}: the gradient of step {self.step} is not finite: lower "
                    "Learner.learning_rate"
                )
            log.record(self.step, metrics | {"samples_per_second": speed})
            if self.step % settings.checkpoint_every == 0 or self.step in (
                settings.steps,
                self.steps,
            ):
                if self.held_out is not None:
                    self.held_out.record(self.step, self._learner.model, self._learner.discounts)
                self._save()

    def _save(self) -> None:
        """Write the settings that took part and, last, the checkpoint."""
        with atomic_write(self._run_dir / CONFIG) as path:
            path.write_text(gin.operative_config_str())
        content = {
            "step": self.step,
            "learner": self._learner.state_dict(),
            "order": self._data_rng.get_state(),
            "model_sizes": self._learner.model.sizes,
            "gammas": self._learner.discounts,
            "bindings": self._bindings,
        }
        if self._keep_checkpoints:
            kept = self._run_dir / CHECKPOINTS
            kept.mkdir(exist_ok=True)
            save_checkpoint(kept / f"step_{self.step}.pt", content)
        save_checkpoint(self._run_dir / CHECKPOINT, content)


def has_teacher(content: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of a run's extraction."""
    learner = content.get("learner")
    return isinstance(learner, dict) and "teacher" in learner


def resume(
    run_dir: Path,
    content: Mapping[str, Any],
    learner: Learner | Distiller,
    data_rng: torch.Generator,
    bindings: str,
) -> int:
    """Restore what the checkpoint of a run holds. Returns the steps made until then.

    Raises UserError if the run was begun with other settings, or is damaged.
    """
    if content.get("bindings") != bindings:
        there, here = _settings(str(content.get("bindings"))), _settings(bindings)
        old, new = first_few(sorted(there - here)), first_few(sorted(here - there))
        raise UserError(
            f"{run_dir} was begun with other settings: {old or 'none'} there, {new or 'none'} "
            "here. Give the settings of the run, or name another one."
        )
    networks = {
        part: weights_of(run_dir, content, getattr(learner, part), part)
        for part in learner.networks
    }
    try:
        learner.load_state_dict(content["learner"] | networks)
        data_rng.set_state(content["order"])
        return operator.index(content["step"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{run_dir / CHECKPOINT}: cannot be resumed ({in_one_line(error)}). Train a new run "
            "that begins with its weights: --finetune_from"
        ) from None


def _settings(bindings: str) -> set[str]:
    return {line for line in bindings.splitlines() if " = " in line}


@contextmanager
def _stopping_if_unwritable(run_dir: Path) -> Iterator[None]:
    """Raise RunStopped, with the path and the reason, if a file of a run cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write {run_dir}: {error.strerror}; fix this, then run the same command again"
        ) from None


def start_from(learner: Learner, path: Path) -> None:
    """Give the learner the weights of another run. Raises UserError if they do not fit.

    Of a run that ends with an extraction it gets the actor before that: the critics learn the value
    of a policy that is like the recorded ones, which the extracted one is not.
    """
    content = load_checkpoint(path)
    weights = weights_of(path, content, learner.model)
    if has_teacher(content):
        teacher = weights_of(path, content, learner.model.heads, "teacher")
        weights |= {f"heads.{name}": value for name, value in teacher.items()}
    learner.start_from(weights)
