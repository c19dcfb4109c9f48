"""What `metamon-ext finetune` takes: Metamon's flags with Metamon's defaults, and a few more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metamon_ext.settings import check_at_least, check_run_name, check_seed


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of a finetuning run. The same command again resumes it.

    Attributes:
        run_name: the run's folder in save_dir, and the first part of its checkpoints' names.
        save_dir: a folder of runs.
        finetune_from_model: a model of Metamon's, a checkpoint RUN_EpochK, or the folder of a run.
        finetune_from_checkpoint: its epoch; default: the model's own choice, or a run's latest.
        epochs: how many, those before an interruption included.
        steps_per_epoch: gradient updates of an epoch.
        batch_size_per_gpu: sequences.
        grad_accum: batches for a gradient update.
        train_gin_config: a path, or a name of Metamon's or of `metamon-ext gin`; default: the base
            model's.
        reward_function: default: the base model's. Metamon's own command trains on that one
            whatever this flag says.
        parsed_replay_dir: human battles; default: Metamon's, which are downloaded.
        replay_weight: how often human battles are drawn from.
        self_play_subsets: Metamon's self-play datasets.
        self_play_weights: how often each of these is drawn from.
        custom_replay_dir: a folder of trajectories.
        custom_replay_weight: how often this folder is drawn from.
        formats: battle formats; default: all that Metamon supports.
        cached: train on these caches of `metamon-ext cache build` and nothing else, each with a
            filter if wanted: human.mmap?min_rating=1500&formats=gen1ou
        cached_weights: how often each cache is drawn from; default: equal.
        use_cached_filenames: trust Metamon's index of the files.
        dloader_workers: processes that load data.
        async_env_mp_context: how the processes of Metamon's environments are started.
        eval_gens: generations to play against heuristics between epochs, on a Showdown server;
            nothing after it: none.
        ckpt_interval: epochs between checkpoints. The last epoch always has one.
        seed: of dropout, new layers and the order of the data; default: another one each time.
        log: log to Weights & Biases.
        overwrite: remove the run of this name and start again.
    """

    run_name: str
    save_dir: Path
    finetune_from_model: str
    finetune_from_checkpoint: int | None = None
    epochs: int = 10
    steps_per_epoch: int = 25_000
    batch_size_per_gpu: int = 12
    grad_accum: int = 1
    train_gin_config: str | None = None
    reward_function: str | None = None
    parsed_replay_dir: Path | None = None
    replay_weight: float = 1.0
    self_play_subsets: Sequence[str] | None = None
    self_play_weights: Sequence[float] | None = None
    custom_replay_dir: Path | None = None
    custom_replay_weight: float = 0.25
    formats: Sequence[str] | None = None
    cached: Sequence[str] | None = None
    cached_weights: Sequence[float] | None = None
    use_cached_filenames: bool = False
    dloader_workers: int = 10
    async_env_mp_context: Literal["forkserver", "fork", "spawn"] = "forkserver"
    eval_gens: Sequence[Literal[1, 2, 3, 4, 9]] = (1, 2, 3, 4, 9)
    ckpt_interval: int = 1
    seed: int | None = None
    log: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_run_name(self.run_name)
        if self.seed is not None:
            check_seed(self.seed)
        counts = ("epochs", "steps_per_epoch", "batch_size_per_gpu", "grad_accum", "ckpt_interval")
        check_at_least(1, **{name: getattr(self, name) for name in counts})
        check_at_least(
            0,
            finetune_from_checkpoint=self.finetune_from_checkpoint,
            dloader_workers=self.dloader_workers,
            replay_weight=self.replay_weight,
            custom_replay_weight=self.custom_replay_weight,
        )
        for name in ("self_play_weights", "cached_weights"):
            for weight in getattr(self, name) or ():
                check_at_least(0, **{name: weight})

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.save_dir / self.run_name

    @property
    def checkpoints(self) -> int:
        """How many there will be."""
        last_is_extra = (self.epochs - 1) % self.ckpt_interval != 0
        return len(range(0, self.epochs, self.ckpt_interval)) + last_is_extra

    def is_saved(self, epoch: int) -> bool:
        """Whether there is to be a checkpoint of this epoch."""
        return epoch % self.ckpt_interval == 0 or epoch == self.epochs - 1
