"""The comprehensive checks: use everything once on a small scale, in a temporary folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from metamon_ext.doctor.environment import Check, Environment
from metamon_ext.errors import UserError

FORMAT = "gen1ou"
IMPORTS = ("metamon.rl.train", "metamon.rl.pretrained", "amago")


def trials(env: Environment) -> Iterator[Check]:
    """Import Metamon, play a battle, train a step on it, and play with the checkpoint."""
    if env.has_metamon:
        yield import_metamon()
    steps: dict[str, tuple[Callable[[Path], str], str]] = {
        "One battle": (play_a_battle, "see Node, Simulator and poke-env above"),
        "One training step": (train_a_step, "see torch and metamon_ext above"),
        "Checkpoint": (use_the_checkpoint, "see torch and Write access above"),
    }
    failed = ""
    with tempfile.TemporaryDirectory(prefix="metamon-ext-doctor-") as folder:
        for name, (trial, fix) in steps.items():
            if failed:
                yield Check(name, "absent", f"skipped after: {failed}")
                continue
            try:
                yield Check(name, "ok", trial(Path(folder)))
            except Exception as error:
                failed = name
                kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
                yield Check(name, "broken", kind + str(error).partition("\n")[0], fix)


def import_metamon() -> Check:
    """Import Metamon in another process: it prints, is slow, and may raise."""
    name = "Import of Metamon"
    command = [sys.executable, "-c", f"import {', '.join(IMPORTS)}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if answer.returncode == 0:
        return Check(name, "ok", ", ".join(IMPORTS))
    last = (answer.stderr.strip() or "no message").splitlines()[-1]
    return Check(name, "broken", last, "see METAMON_CACHE_DIR and the versions above")


def play_a_battle(folder: Path) -> str:
    """Play two random policies, and save the trajectories of both."""
    return _play("random", "random", folder / "trajectories")


def _play(p1: str, p2: str, trajectories: Path | None = None) -> str:
    """Play one battle and describe it. Raises UserError if it is unfinished."""
    from metamon_ext.arena.conditions import Conditions
    from metamon_ext.arena.executors.local import LocalExecutor
    from metamon_ext.arena.executors.protocol import Recording
    from metamon_ext.arena.play import play_battles
    from metamon_ext.arena.schedule import matchup

    specs = matchup(p1, p2, 1, Conditions.load(FORMAT), seed=0)
    with LocalExecutor(1, Recording(trajectories) if trajectories else None) as executor:
        (result,) = play_battles(specs, executor)
    if result.score is None:
        raise UserError(f"the battle is unfinished: {result.reason}")
    return f"{FORMAT}, {result.turns} turns"


SMALL = ("train.batch_size = 2", "train.length = 8")


def train_a_step(folder: Path) -> str:
    """Train the built-in learner for a step on that battle."""
    from metamon_ext.training.lite.train import TrainConfig, train

    data, run = folder / "trajectories", folder / "run"
    train(TrainConfig(data_dir=data, output_dir=run, steps=1, gin=SMALL))
    return "the built-in learner, on that battle"


def use_the_checkpoint(folder: Path) -> str:
    """Save and load the checkpoint again, compare all tensors, and play with it."""
    import torch

    from metamon_ext.training.lite.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint

    content = load_checkpoint(folder / "run")
    save_checkpoint(folder / CHECKPOINT, content)
    again = load_checkpoint(folder / CHECKPOINT)
    before, after = content["learner"]["model"], again["learner"]["model"]
    if any(not torch.equal(before[key], after[key]) for key in before):
        raise UserError("a checkpoint differs after saving and loading it")
    return f"equal after saving and loading; plays {_play(str(folder / 'run'), 'random')}"
