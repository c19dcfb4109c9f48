"""Training runs on disk: their checkpoints, and the record that each checkpoint has.

    {save_dir}/{run}/
      finetune.json                       the settings of the run
      model.gin, train.gin                the gin files it is trained with, includes inlined
      ckpts/policy_weights/policy_epoch_{k}.pt     weights, as AMAGO names them
      ckpts/policy_weights/policy_epoch_{k}.json   their record, written last
      ckpts/training_states/                       the optimizer and schedule of the latest one

A checkpoint exists once its record does. The record has the SHA-256 of the weights, so it cannot
describe other weights. `metamon-ext finetune` writes records; `metamon-ext adopt` writes them for
runs that were trained otherwise. Checkpoint k is called `{run}_Epoch{k}`.

Runs are looked for in `runs`, or in the folders that a file `metamon_ext_models.yaml` in the
working directory (or the one that METAMON_EXT_MODELS names) lists: `save_dirs: [runs, elsewhere]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from metamon_ext.errors import UserError
from metamon_ext.files import file_sha256, write_json

SETTINGS = "finetune.json"
"""In a run's folder: what it was begun with."""
GIN_FILES = {"model_gin_config": "model.gin", "train_gin_config": "train.gin"}
"""In a run's folder: part of a model -> file."""


@dataclass(frozen=True)
class Run:
    """A training run: a folder with checkpoints."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the run: that of its folder."""
        return self.folder.name

    @property
    def weights_folder(self) -> Path:
        """Where AMAGO writes the weights of each epoch."""
        return self.folder / "ckpts" / "policy_weights"

    @property
    def states_folder(self) -> Path:
        """Where AMAGO writes the training state."""
        return self.folder / "ckpts" / "training_states"

    def weights(self, epoch: int) -> Path:
        """The weights of a checkpoint."""
        return self.weights_folder / f"policy_epoch_{epoch}.pt"

    def record_file(self, epoch: int) -> Path:
        """The record of an epoch, beside its weights."""
        return self.weights(epoch).with_suffix(".json")

    def state(self, epoch: int) -> Path:
        """The state of Accelerate at the end of an epoch: optimizer, schedule, random states."""
        return self.states_folder / f"{self.name}_epoch_{epoch}"

    @property
    def is_ours(self) -> bool:
        """Whether `metamon-ext finetune` began it."""
        return (self.folder / SETTINGS).is_file()

    @property
    def weights_found(self) -> list[int]:
        """The epochs that have a file of weights, ascending."""
        names = [path.name for path in self.weights_folder.glob("policy_epoch_*.pt")]
        found = [re.fullmatch(r"policy_epoch_(\d+)\.pt", name) for name in names]
        return sorted(int(match[1]) for match in found if match)

    @property
    def epochs(self) -> list[int]:
        """The epochs of its checkpoints, which are those with a record, ascending."""
        return [epoch for epoch in self.weights_found if self.record_file(epoch).is_file()]

    @property
    def unrecorded(self) -> list[int]:
        """The epochs of weights that nothing is known of. In a run of ours there are none: weights
        without a record are the rest of a checkpoint that was being written."""
        return [] if self.is_ours else sorted(set(self.weights_found) - set(self.epochs))

    def record(self, epoch: int) -> dict[str, Any]:
        """How a checkpoint was trained. Raises UserError for a damaged record."""
        file = self.record_file(epoch)
        try:
            record = orjson.loads(file.read_bytes())
            if isinstance(record, dict) and isinstance(record.get("sha256"), str):
                return record
        except ValueError:
            pass
        raise UserError(f"{file} is damaged. Write it again: {adopt_command(self)}")

    def settings(self) -> dict[str, Any] | None:
        """The settings of the run, None if it has none. Raises UserError if they are damaged."""
        file = self.folder / SETTINGS
        try:
            settings = orjson.loads(file.read_bytes())
            if isinstance(settings, dict):
                return settings
        except FileNotFoundError:
            return None
        except ValueError:
            pass
        raise UserError(f"{file} is damaged. Train the run again with --overwrite.")

    def write_record(self, epoch: int, content: dict[str, Any]) -> None:
        """Declare a checkpoint complete."""
        digest = {"checkpoint": epoch, "sha256": file_sha256(self.weights(epoch))}
        write_json(self.record_file(epoch), digest | content)

    def gin_file(self, part: str, record: dict[str, Any]) -> str:
        """The run's copy of a gin file. Raises UserError if it is not the one of the record."""
        file = self.folder / GIN_FILES[part]
        try:
            if file.read_text(encoding="utf-8") == record["gin"][part]:
                return str(file.resolve())
        except (OSError, UnicodeDecodeError):
            pass
        raise UserError(
            f"{file} is not the file that {self.name} was trained with. "
            f"Restore it from 'gin' in {self.record_file(record['checkpoint'])}."
        )


def read_runs(save_dirs: Iterable[Path] | None = None) -> dict[str, Run]:
    """The runs of all folders by name. Raises UserError for two of one name."""
    runs: dict[str, Run] = {}
    for folder in save_dirs if save_dirs is not None else read_save_dirs():
        for weights in sorted(folder.glob("*/ckpts/policy_weights")):
            run = Run(weights.parents[1])
            if run.name in runs:
                raise UserError(
                    f"Two runs are called {run.name}: {runs[run.name].folder} and {run.folder}. "
                    "Rename one of them."
                )
            runs[run.name] = run
    return runs


def read_save_dirs() -> list[Path]:
    """The folders in which runs are looked for. Raises UserError for a bad YAML file."""
    named = os.environ.get("METAMON_EXT_MODELS")
    file = Path(named or "metamon_ext_models.yaml")
    if not file.is_file():
        if named:
            raise UserError(f"METAMON_EXT_MODELS={file}: no such file. Name a YAML file.")
        return [Path("runs")]
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        unknown = sorted(set(content) - {"save_dirs"})
        folders = [file.parent / folder for folder in content.get("save_dirs", ["runs"])]
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        raise UserError(f"{file} is not a list of folders. Write: save_dirs: [runs]") from None
    if unknown:
        raise UserError(
            f"{file}: unknown key {unknown[0]!r}. Only save_dirs is read; "
            "metamon-ext adopt records how a run was trained."
        )
    return folders


def adopt_command(run: Run) -> str:
    """The command that records how a run was trained, as far as its files say."""
    from metamon_ext.upstream.adopt import guess_flags

    return f"metamon-ext adopt {run.folder} {guess_flags(run)}"
