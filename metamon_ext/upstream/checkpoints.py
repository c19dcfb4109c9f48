"""Checkpoints of Metamon models by name: which file has the weights, and whether it is sound.

Nothing here imports Metamon or torch, so that a wrong name is an error at once.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamon_ext.arena.policy import HEURISTICS
from metamon_ext.errors import UserError, did_you_mean, in_one_line
from metamon_ext.files import file_sha256
from metamon_ext.upstream import catalog
from metamon_ext.upstream.catalog import ReleasedModel
from metamon_ext.upstream.runs import Run, adopt_command, read_runs

REPOSITORY = "jakegrigsby/metamon"
"""Metamon's models on the Hugging Face hub."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a released model, or of a training run."""

    name: str
    epoch: int
    source: ReleasedModel | Run

    @property
    def parts(self) -> dict[str, Any]:
        """What the model is built from, by name: see `catalog.PARTS`."""
        if isinstance(self.source, Run):
            record = self.source.record(self.epoch)
            return {part: record.get(part) for part in catalog.PARTS}
        return self.source.parts

    def weights(self) -> Path:
        """The file of the weights, downloaded if it is not here yet.

        Raises UserError where there is none, or where it is damaged or not the one of its record.
        """
        if isinstance(self.source, ReleasedModel):
            path = _released_weights(self.source, self.epoch)
            refuse_damage(path)
            return path
        path = self.source.weights(self.epoch)
        refuse_damage(path)
        if file_sha256(path) != self.source.record(self.epoch)["sha256"]:
            raise UserError(
                f"{path} is not the file that its record describes: its SHA-256 differs. "
                f"Restore it, or record what it is: {adopt_command(self.source)}"
            )
        return path


def find_checkpoint(name: str, epoch: int | None = None) -> Checkpoint:
    """The checkpoint of this name.

    Args:
        name: a released model, `{run}_Epoch{k}`, or the path of a run's folder.
        epoch: instead of the model's default, the one in the name, or the run's latest.

    Raises UserError that says what is missing.
    """
    run_name, _, digits = name.rpartition("_Epoch")
    if run := run_at(name):
        return _checkpoint_of(run, name, epoch)
    if digits.isdecimal() and (run := read_runs().get(run_name)):
        return _checkpoint_of(run, name, int(digits) if epoch is None else epoch)
    released = catalog.released_models().get(name)
    if released is None:
        raise UserError(unknown_policy(name))
    return Checkpoint(name, released.default_checkpoint if epoch is None else epoch, released)


def run_at(path: str) -> Run | None:
    """The run in a folder, None if there is none."""
    run = Run(Path(path))
    return run if path and run.weights_folder.is_dir() else None


def checkpoint_names() -> list[str]:
    """`{run}_Epoch{k}` for every checkpoint of every run."""
    return [f"{name}_Epoch{epoch}" for name, run in read_runs().items() for epoch in run.epochs]


def unknown_policy(name: str) -> str:
    """What to say of a name that no policy has."""
    checkpoints = checkpoint_names()
    hint = next((f" Did you mean {one!r}?" for one in checkpoints[::-1] if is_of(one, name)), "")
    known = [*catalog.released_models(), *catalog.baselines(), *checkpoints, *HEURISTICS]
    return (
        f"Unknown policy {name!r}.{hint or did_you_mean(name, known)} "
        "Run metamon-ext models for the full list."
    )


def is_of(checkpoint: str, run_name: str) -> bool:
    """Whether a checkpoint's name is that of a checkpoint of this run."""
    return checkpoint.rpartition("_Epoch")[0] == run_name


def _checkpoint_of(run: Run, name: str, epoch: int | None) -> Checkpoint:
    epochs = run.epochs
    if epoch is None and epochs:
        epoch = epochs[-1]
    if epoch in epochs:
        assert epoch is not None
        return Checkpoint(name, epoch, run)
    if run.unrecorded and (epoch is None or epoch in run.unrecorded):
        raise UserError(
            f"{run.folder} has no record of how it was trained. Write one: {adopt_command(run)}"
        )
    if not epochs:
        raise UserError(f"{run.folder} has no complete checkpoint yet.")
    raise UserError(f"{run.folder} has no checkpoint {epoch}. It has {_list(epochs)}.")


def _released_weights(model: ReleasedModel, epoch: int) -> Path:
    """The file of a released model in Metamon's cache, else from the hub."""
    local = cached_weights(model)
    if epoch in local:
        return local[epoch]
    from huggingface_hub import hf_hub_download

    cache = model_cache()
    file = f"{model.folder}/ckpts/policy_weights/policy_epoch_{epoch}.pt"
    try:
        return Path(hf_hub_download(repo_id=REPOSITORY, filename=file, cache_dir=str(cache)))
    except Exception as error:  # no network, no such file on the hub, a full disk
        here = f"Here: {_list(sorted(local))}." if local else f"There are none in {cache}."
        raise UserError(
            f"Checkpoint {epoch} of {model.name} is not here and cannot be downloaded "
            f"({_reason(error)}). {here}"
        ) from error


def model_cache() -> Path:
    """Where Metamon keeps the models that it downloads."""
    return Path(os.environ["METAMON_CACHE_DIR"], "pretrained_models")


def cached_weights(model: ReleasedModel) -> dict[int, Path]:
    """The checkpoints of a released model that are in Metamon's cache, by epoch."""
    repository = model_cache() / f"models--{REPOSITORY.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text().strip()
    except OSError:
        return {}
    folder = repository / "snapshots" / revision / str(model.folder) / "ckpts" / "policy_weights"
    files = folder.glob("policy_epoch_*.pt")
    return {int(file.stem.rpartition("_")[2]): file for file in files}


def _reason(error: Exception) -> str:
    """Why the hub did not give a file."""
    kind = type(error).__name__
    if kind in ("LocalEntryNotFoundError", "OfflineModeIsEnabled") or "onnect" in kind:
        return "offline"
    if kind == "EntryNotFoundError" or kind == "RemoteEntryNotFoundError":
        return "the hub has no such file"
    return in_one_line(error)


def refuse_damage(path: Path) -> None:
    """Raise UserError for a file that cannot be one of `torch.save`: empty, cut off, or other."""
    try:
        with zipfile.ZipFile(path) as archive:  # its directory is at the end of the file
            if any(name.endswith("data.pkl") for name in archive.namelist()):
                return
        problem = "is not a file of weights"
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except zipfile.BadZipFile:
        size = path.stat().st_size
        problem = "is empty" if size == 0 else f"is damaged or cut off ({size:,} bytes)"
    raise UserError(f"{path} {problem}. Delete it and get it again.")


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
