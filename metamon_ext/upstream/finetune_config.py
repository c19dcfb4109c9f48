"""What `metamon-ext finetune` takes: Metamon's flags with Metamon's defaults, and a few more."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from metamon_ext.arguments import positive, run_name
from metamon_ext.errors import UserError, did_you_mean

DESCRIPTION = """Finetune a Metamon model, with the chosen reward in the training data.

Metamon's own command gives --reward_function to the environments of its evaluation, and builds the
dataset with the base model's reward. The same command again resumes the run."""


@dataclass(frozen=True)
class FinetuneConfig:
    """A finetuning run.

    Args:
        run_name: the run's folder in save_dir, and the first part of its checkpoints' names.
        save_dir: a folder of runs.
        finetune_from_model: a model of Metamon's, a checkpoint of a run, or a run's folder.
        finetune_from_checkpoint: its epoch; by default the model's own choice.
        epochs: how many, those before an interruption included.
        steps_per_epoch: gradient updates of an epoch.
        batch_size_per_gpu: sequences.
        grad_accum: batches for a gradient update.
        train_gin_config: a path, or the name of one of Metamon's files or of ours; by default the
            base model's.
        reward_function: by default the base model's.
        parsed_replay_dir: human battles; by default Metamon's, which are downloaded.
        self_play_subsets: Metamon's self-play datasets.
        custom_replay_dir: a folder of trajectories.
        replay_weight, self_play_weights, custom_replay_weight: how often each is drawn from.
        formats: battle formats; by default all that Metamon supports.
        cached: caches in the place of all of these, each with a filter if wanted.
        cached_weights: how often each is drawn from; equal by default.
        eval_gens: generations to play against heuristics between epochs; empty for none.
        ckpt_interval: epochs between checkpoints. The last epoch always has one.
        overwrite: remove the run of this name and begin anew.
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
    async_env_mp_context: str = "forkserver"
    eval_gens: Sequence[int] = (1, 2, 3, 4, 9)
    ckpt_interval: int = 1
    log: bool = False
    overwrite: bool = False

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


def parse_config(argv: Sequence[str]) -> FinetuneConfig:
    """The config that these words ask for. Raises UserError for a wrong flag or value."""
    namespace = build_parser().parse_args(argv)
    return FinetuneConfig(
        **{field.name: getattr(namespace, field.name) for field in fields(FinetuneConfig)}
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage of two dozen flags."""

    def error(self, message: str) -> None:  # type: ignore[override]
        _, _, unknown = message.partition("unrecognized arguments: ")
        flags = [option for action in self._actions for option in action.option_strings]
        hint = did_you_mean(unknown.split()[0], flags) if unknown else ""
        message = message.rstrip(".")
        raise UserError(f"finetune: {message}.{hint} See metamon-ext finetune --help.")


def build_parser() -> argparse.ArgumentParser:
    """Metamon's flags and ours."""
    parser = _Parser(
        prog="metamon-ext finetune",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run = parser.add_argument_group("run")
    run.add_argument("--run_name", required=True, type=run_name, help="a name for the run")
    run.add_argument("--save_dir", required=True, type=Path, help="a folder of runs")
    run.add_argument("--overwrite", action="store_true", help="remove the old run of this name")
    run.add_argument(
        "--ckpt_interval",
        type=positive,
        default=1,
        metavar="N",
        help="a checkpoint every N epochs, and after the last; default: every epoch",
    )
    run.add_argument("--log", action="store_true", help="log to Weights & Biases")

    base = parser.add_argument_group("base model")
    base.add_argument(
        "--finetune_from_model",
        required=True,
        metavar="MODEL",
        help="a model of Metamon's, a checkpoint RUN_EpochK, or the folder of a run",
    )
    base.add_argument(
        "--finetune_from_checkpoint",
        type=_at_least(0),
        metavar="EPOCH",
        help="default: the model's own choice, or the latest of a run",
    )

    learning = parser.add_argument_group("learning")
    learning.add_argument("--epochs", type=positive, default=10)
    learning.add_argument("--steps_per_epoch", type=positive, default=25_000)
    learning.add_argument("--batch_size_per_gpu", type=positive, default=12)
    learning.add_argument("--grad_accum", type=positive, default=1, help="batches for an update")
    learning.add_argument(
        "--train_gin_config",
        metavar="GIN",
        help="a path, or a name of Metamon's or of `metamon-ext gin`; default: the base model's",
    )
    learning.add_argument(
        "--reward_function", metavar="REWARD", help="default: that of the base model"
    )

    data = parser.add_argument_group("data")
    data.add_argument("--parsed_replay_dir", type=Path, help="default: downloaded by Metamon")
    data.add_argument("--replay_weight", type=_weight, default=1.0)
    data.add_argument("--self_play_subsets", nargs="+", metavar="SUBSET")
    data.add_argument("--self_play_weights", nargs="+", type=_weight, metavar="WEIGHT")
    data.add_argument("--custom_replay_dir", type=Path, help="a folder of trajectories")
    data.add_argument("--custom_replay_weight", type=_weight, default=0.25)
    data.add_argument("--formats", nargs="+", help="default: all that Metamon supports")
    data.add_argument(
        "--cached",
        nargs="+",
        metavar="CACHE[?FILTER]",
        help="train on these caches of `metamon-ext cache build` and nothing else, each with a "
        "filter if wanted: human.mmap?min_rating=1500&formats=gen1ou",
    )
    data.add_argument(
        "--cached_weights",
        nargs="+",
        type=_weight,
        metavar="WEIGHT",
        help="how often each is drawn from; default: equal",
    )
    data.add_argument(
        "--use_cached_filenames", action="store_true", help="trust Metamon's index of the files"
    )
    data.add_argument("--dloader_workers", type=_at_least(0), default=10, metavar="N")

    evaluation = parser.add_argument_group("evaluation between epochs")
    evaluation.add_argument(
        "--eval_gens",
        type=int,
        nargs="*",
        default=(1, 2, 3, 4, 9),
        choices=(1, 2, 3, 4, 9),
        metavar="GEN",
        help="generations to play against heuristics, on a Showdown server; nothing after it: none",
    )
    evaluation.add_argument(
        "--async_env_mp_context", default="forkserver", choices=("forkserver", "fork", "spawn")
    )
    return parser


def _at_least(lowest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isdecimal() and int(text) >= lowest:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {lowest}")

    return parse


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if 0 <= weight < float("inf"):
        return weight
    raise argparse.ArgumentTypeError(f"{text!r} is not a weight: a number of at least 0")
