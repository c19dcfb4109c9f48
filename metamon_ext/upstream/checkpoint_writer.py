"""Writes the checkpoints of a finetuning run, and takes up a run from the latest of them."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import torch
from amago import Experiment

from metamon_ext.about import __version__
from metamon_ext.errors import NO_ROOM, RunStopped, UserError, in_one_line
from metamon_ext.files import atomic_write
from metamon_ext.upstream.models import load_weights
from metamon_ext.upstream.preflight import STATE_SIZE, Plan
from metamon_ext.upstream.run_folder import PARTIAL, latest_epoch


def versions() -> dict[str, str]:
    """Of what took part in the training."""
    found = {"metamon_ext": __version__}
    for name in ("metamon", "amago", "poke-env", "torch", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


class CheckpointWriter:
    """Called by AMAGO in the place of `Experiment.save_checkpoint`, at the end of every epoch.

    First the state of Accelerate (weights, optimizer, schedule, random states) is written, then
    the weights, then the record, which makes the checkpoint complete. Then older states are
    removed; weights are all kept.

    Args:
        experiment: a started experiment.
        plan: its run.
        terminal: where a line for each checkpoint is printed.
    """

    def __init__(self, experiment: Experiment, plan: Plan, terminal: TextIO) -> None:
        self._experiment, self._plan, self._terminal = experiment, plan, terminal

    def __call__(self) -> None:
        epoch, run = self._experiment.epoch, self._plan.run
        if not self._plan.config.is_saved(epoch):
            return
        try:
            self._write(epoch)
        except Exception as error:  # torch and safetensors hide why a file cannot be written
            if self._experiment.accelerator.is_main_process:
                self._remove(epoch)
            reason = error.strerror if isinstance(error, OSError) else in_one_line(error)
            room = "Make room, then give" if _is_room(error, run.folder) else "Give"
            raise RunStopped(
                f"Cannot save checkpoint {epoch} in {run.folder}: {reason}. {self._kept()} "
                f"{room} the same command again."
            ) from error

    def _write(self, epoch: int) -> None:
        accelerator, policy, run = (
            self._experiment.accelerator,
            self._experiment.policy,
            self._plan.run,
        )
        partial = run.states_folder / PARTIAL
        if accelerator.is_main_process:
            size = sum(tensor.nbytes for tensor in policy.state_dict().values())
            reserve(run.states_folder, (1 + STATE_SIZE) * size)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial), safe_serialization=True)
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            return
        os.replace(partial, run.state(epoch))
        buffer = io.BytesIO()
        torch.save(policy.state_dict(), buffer)
        with atomic_write(run.weights(epoch)) as temporary:
            temporary.write_bytes(buffer.getvalue())
        run.write_record(epoch, self._plan.settings | {"versions": versions()})
        for state in run.states_folder.iterdir():
            if state != run.state(epoch):
                shutil.rmtree(state)
        print(f"checkpoint {epoch}: {run.weights(epoch)}", file=self._terminal)

    def _remove(self, epoch: int) -> None:
        """Remove what was written of a checkpoint that did not become complete."""
        run = self._plan.run
        if not run.record_file(epoch).exists():
            run.weights(epoch).unlink(missing_ok=True)
            shutil.rmtree(run.state(epoch), ignore_errors=True)
        shutil.rmtree(run.states_folder / PARTIAL, ignore_errors=True)

    def _kept(self) -> str:
        epochs = self._plan.run.epochs
        return f"Checkpoint {epochs[-1]} is complete." if epochs else "There is no checkpoint yet."


def reserve(folder: Path, size: int) -> None:
    """Raise OSError if so many bytes do not fit into a folder."""
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def _is_room(error: Exception, folder: Path) -> bool:
    """Whether it was the disk that was full."""
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return shutil.disk_usage(folder).free < 2**20


def is_of_reference(name: str) -> bool:
    """Whether a weight is of a reference policy, or of the schedule of its regularization."""
    return name.startswith(("reference.", "_extra_state"))


def start_or_resume(experiment: Experiment, plan: Plan) -> None:
    """Load the latest checkpoint of the run, or the base model where there is none.

    A new run takes the policy that it starts from as its reference, whatever reference the base
    had been trained with. A resumed run keeps its own.

    Raises UserError for weights or a state that do not fit.
    """
    epoch = latest_epoch(plan.run)
    if epoch is None:
        what = f"checkpoint {plan.base.epoch} of {plan.base.name}"
        load_weights(experiment.policy, plan.base_weights, what, is_of_reference)
        return
    policy: Any = experiment.policy
    if hasattr(policy, "keep_reference"):
        policy.keep_reference = True  # the run's own, whatever a new run would take
    for tensor in (*policy.parameters(), *policy.buffers()):
        tensor.data = tensor.data.clone()  # safetensors loads no views, as SigmaReparam has them
    state = plan.run.state(epoch)
    try:
        experiment.load_checkpoint_from_path(str(state), is_accelerate_state=True)
    except Exception as error:  # a file gone or damaged
        raise UserError(
            f"Cannot resume from {state}: {in_one_line(error)}. "
            "Restore it, or begin anew with --overwrite."
        ) from error
    experiment.epoch = epoch + 1
    experiment.grad_update_counter = (epoch + 1) * plan.config.steps_per_epoch
