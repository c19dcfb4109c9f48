"""Settings of the built-in learner: a run's config, and the gin files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gin

from metamon_ext.about import GIN_CONFIGS
from metamon_ext.errors import UserError
from metamon_ext.settings import check_at_least, check_seed

LITE_CONFIGS = GIN_CONFIGS / "lite"
OBS_SPACE = "MatchupObservationSpace"
REWARD_FUNCTION = "WinLossReward"
"""What the learner is trained with unless other names are given."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run of the built-in learner.

    Attributes:
        output_dir: the run's folder; a run in it is resumed.
        data_dir: a folder of filtered trajectories.
        cached: caches in the place of `data_dir`, each with a filter after a question mark if
            wanted.
        cached_weights: how often each cache is drawn from; by default as often as it has decisions.
        gin_config: a gin file, or the name of one in gin_configs/lite.
        gin: bindings that replace those of the file, like "Learner.gammas = (0.99,)".
        steps: in all, those before an interruption included; None: as the gin file says.
        seed: of the initial weights and of the order of the data; None: as the gin file says.
        reward_function: a registered name; None: that of the cache, or as the gin file says.
        obs_space: a registered name; None: that of the cache, or as the gin file says.
        test_fraction: the share of battles that are held out and not trained on; their figures are
            written to test_log.csv. None: as the gin file says, which is 0 by default.
        finetune_from: the run or checkpoint whose weights a new run starts from.
        keep_checkpoints: keep every checkpoint as `checkpoints/step_{N}.pt` too.
        log: also log to Weights & Biases (WANDB_MODE=offline works).
        workers: processes that read `data_dir`; training itself takes one.
    """

    output_dir: Path = Path("runs/lite")
    data_dir: Path | None = None
    cached: Sequence[str] = ()
    cached_weights: Sequence[float] | None = None
    gin_config: str = "binary_advantage"
    gin: Sequence[str] = ()
    steps: int | None = None
    seed: int | None = None
    reward_function: str | None = None
    obs_space: str | None = None
    test_fraction: float | None = None
    finetune_from: Path | None = None
    keep_checkpoints: bool = False
    log: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, workers=self.workers)
        if self.seed is not None:
            check_seed(self.seed)


def find_gin_config(name: str) -> Path:
    """The gin file of this path, or of this name in gin_configs/lite."""
    for path in (Path(name), LITE_CONFIGS / f"{name}.gin"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in LITE_CONFIGS.glob("*.gin")))
    raise UserError(f"no gin config {name!r}: use a path, or one of {known}")


def read_gin_config(name: str, overrides: Sequence[str] = ()) -> None:
    """Replace all settings by those of a gin file, and then by bindings like "a.b = 1"."""
    path = find_gin_config(name)
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings([str(path)], overrides, finalize_config=False)
    except (ValueError, SyntaxError, TypeError, OSError) as error:
        raise UserError(f"gin: {' '.join(str(error).split())}") from None
