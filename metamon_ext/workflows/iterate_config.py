"""Settings of `iterate`, and those that it shares with `psro`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlencode

from metamon_ext.arena.conditions import TURN_LIMIT
from metamon_ext.arena.config import BattleConfig
from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.errors import UserError
from metamon_ext.evaluation.sprt import Sprt
from metamon_ext.settings import split_options
from metamon_ext.training.trainer import check_training

AUTO = "auto"
CHECKPOINTS = 6
"""Of a training run whose steps the config sets."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig(BattleConfig):
    """Settings of `iterate` and of `psro`, beside those of every workflow that plays battles.

    Attributes:
        output_dir: gets everything; a run in it is resumed.
        iterations: in all, those before included: a finished run can be given more.
        num_battles: played for data in an iteration; ties come on top.
        trainer: lite, metamon, or an entry point of `metamon_ext.trainers`.
        train_gin_config: a gin file of the trainer's, by path or name. Default: iterate for lite;
            for metamon binary_advantage_selfplay in `iterate` and psro_oracle in `psro`.
        gin: bindings for the built-in learner, like "Learner.learning_rate = 3e-4".
        steps: of training in an iteration; None: as the gin file or the trainer says.
        epochs: of Metamon's training, each with a checkpoint; of the built-in learner, which needs
            `steps` then, the number of checkpoints. None: 6 with `steps`, else the trainer's own.
        batch_size: sequences, on each GPU; None: as the gin file or the trainer says.
        log: also log training to Weights & Biases.
        data_dir: folders of filtered trajectories, which count as old data.
        new_data_share: the share of an iteration's own battles in what it trains on. It is larger
            where there are too few old ones.
        gate: (elo0, elo1). A candidate passes when a sequential test accepts that it is elo1
            stronger rather than elo0, at error rates of 5 %.
        num_gate_battles: the test is undecided after so many.
        num_race_battles: at most, of the candidates of an iteration.
        team_set: the training teams: team sets of Metamon's, folders of Showdown exports, or
            `sample` (ours). Data is generated on each set in turn, all other battles are played
            on all of their teams.
        checkpoint_options: options of a policy, like "beta=100&temperature=0.5", with each of
            which every checkpoint is a candidate. "" is the plain policy.
        generate_options: options with each of which a checkpoint plays for data in turn, in the
            place of its own. Heuristics have none.
        keep_iterations: delete the data of older iterations, and their checkpoints that did not
            pass the gate; training uses no older data. None: keep everything.
        turn_limit: a longer battle ends as unfinished.
        executor: where battles are played: `local`, or an entry point of `metamon_ext.executors`.
    """

    GIN_CONFIGS: ClassVar[Mapping[str, str]] = {}
    """Trainer -> the gin file that it uses unless another one is named."""

    output_dir: Path
    iterations: int = 3
    num_battles: int = 2000
    trainer: str = "lite"
    train_gin_config: str | None = None
    gin: Sequence[str] = ()
    steps: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    log: bool = False
    data_dir: Sequence[Path] = ()
    new_data_share: float = 0.5
    gate: tuple[float, float] = (0.0, 30.0)
    num_gate_battles: int = 1000
    num_race_battles: int = 1000
    team_set: Sequence[str] = ("sample",)
    checkpoint_options: Sequence[str] = ("",)
    generate_options: Sequence[str] = ("",)
    keep_iterations: int | None = None
    turn_limit: int = TURN_LIMIT
    executor: str = "local"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.new_data_share <= 1:
            raise UserError(f"new_data_share must be above 0 and at most 1: {self.new_data_share}.")
        for name in ("team_set", "checkpoint_options", "generate_options"):
            if not getattr(self, name):
                raise UserError(f"--{name} needs at least one value.")
        if twice := [one for one in self.team_sets if self.team_sets.count(one) > 1]:
            raise UserError(f"Team set {twice[0]!r} is named twice. Name each set once.")
        for folder in self.data_dir:
            if not folder.is_dir():
                raise UserError(f"There is no folder {folder}. Check --data_dir.")
        for text in [*self.checkpoint_options, *self.generate_options]:
            parse_options(text)
        Sprt(*self.gate)  # raises for what is no test
        if self.gin and self.trainer != "lite":
            raise UserError("--gin is for the built-in learner. Use --train_gin_config.")
        if self.epochs and not self.steps and self.trainer == "lite":
            raise UserError("--epochs needs --steps for the built-in learner.")

    @property
    def team_sets(self) -> list[str]:
        """All that battles are played on."""
        return [*self.team_set]

    @property
    def test(self) -> Sprt:
        """The sequential test of a candidate."""
        return Sprt(*self.gate)

    def check_training(self, base: str) -> None:
        """Raise UserError for a trainer, its settings, or options that cannot be used.

        Args:
            base: the policy that training starts from.
        """
        start = PolicyRef.resolve(base)
        has_weights = start.weights is not None
        check_training(
            self.trainer,
            start if has_weights else None,
            self.trainer_config(self.seed, base, has_weights),
            [parse_options(text) for text in [*self.checkpoint_options, *self.generate_options]],
        )

    @property
    def gin_config(self) -> str | None:
        """The gin file of the trainer; None: its own default."""
        return self.train_gin_config or self.GIN_CONFIGS.get(self.trainer)

    def trainer_config(self, seed: int, base: str, from_weights: bool) -> Any:
        """The trainer's own config; None for a trainer of another package.

        Without weights to start from there is no policy to be regularized to.

        Args:
            seed: of the training.
            base: the policy that it starts from.
            from_weights: whether that one has weights.
        """
        epochs = self.epochs or CHECKPOINTS
        if self.trainer == "lite":
            from metamon_ext.training.lite.config import TrainConfig

            gin = [] if from_weights else ["Learner.kl_coeff = None"]
            if self.steps:
                gin += [f"train.checkpoint_every = {-(-self.steps // epochs)}"]
            if self.batch_size:
                gin += [f"train.batch_size = {self.batch_size}"]
            return TrainConfig(
                gin_config=self.gin_config or "",
                gin=[*gin, *self.gin],
                steps=self.steps,
                seed=seed,
                keep_checkpoints=True,
                workers=self.workers,
                log=self.log,
            )
        if self.trainer == "metamon":
            from metamon_ext.upstream.finetune_config import FinetuneConfig

            given: dict[str, Any] = {"epochs": self.epochs, "batch_size_per_gpu": self.batch_size}
            if self.steps:
                epochs = min(epochs, self.steps)
                given |= {"epochs": epochs, "steps_per_epoch": -(-self.steps // epochs)}
            return FinetuneConfig(
                "model",
                Path(),
                base,
                train_gin_config=self.gin_config,
                seed=seed,
                dloader_workers=self.workers,
                eval_gens=(),
                log=self.log,
                **{name: value for name, value in given.items() if value},
            )
        return None


@dataclass(frozen=True, kw_only=True)
class IterateConfig(LoopConfig):
    """Settings of `iterate`, beside those of every loop.

    Attributes:
        base: the first champion: see `metamon-ext models`.
        population: the champion's opponents: a JSON file {"policy": weight, ...}, or auto: all
            champions, candidates that were not promoted, and heuristics, the harder the more often.
        start: training starts from the champion or from the base; from new weights where that is
            a heuristic.
        num_table_battles: of a candidate against each heuristic on each team set.
        held_out_team_set: teams of the table only.
    """

    GIN_CONFIGS: ClassVar[Mapping[str, str]] = {
        "lite": "iterate",
        "metamon": "binary_advantage_selfplay",
    }

    base: str
    population: str = AUTO
    start: Literal["champion", "base"] = "champion"
    num_table_battles: int = 200
    held_out_team_set: Sequence[str] = ()

    @property
    def team_sets(self) -> list[str]:
        """Those of the training, and held-out ones."""
        return [*self.team_set, *self.held_out_team_set]


def parse_options(text: str) -> dict[str, str]:
    """`beta=100&temperature=0.5` as a table. Raises UserError for what is not of this form."""
    try:
        return dict(parse_qsl(text, strict_parsing=bool(text)))
    except ValueError:
        raise UserError(f"Options {text!r} must have the form name=value&name=value.") from None


def with_options(name: str, text: str) -> str:
    """The name of a policy with these options in the place of its own ones of the same name."""
    path, own = split_options(name)
    options = parse_options(own) | parse_options(text)
    return f"{path}?{urlencode(options)}" if options else path
