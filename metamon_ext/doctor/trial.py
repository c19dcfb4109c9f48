"""The comprehensive part: use everything once, on a small scale, in a folder that is removed."""

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
    """Import Metamon; a battle, a training step on it, and a battle of the checkpoint."""
    if env.has_metamon:
        yield import_metamon()
    steps: dict[str, tuple[Callable[[Path], str], str]] = {
        "One battle": (play_a_battle, "see Node, Simulator and poke-env above"),
        "One training step": (train_a_step, "see torch and metamon_ext above"),
        "Checkpoint": (use_the_checkpoint, "see torch and Write access above"),
    }
    failed = ""
    with tempfile.TemporaryDirectory(prefix="metamon-ext-doctor-") as folder:
        for name, (trial, cure) in steps.items():
            if failed:
                yield Check(name, "absent", f"not tried after: {failed}")
                continue
            try:
                yield Check(name, "ok", trial(Path(folder)))
            except UserError as error:
                failed = name
                yield Check(name, "broken", str(error).splitlines()[0], cure)
            except Exception as error:
                failed = name
                yield Check(name, "broken", f"{type(error).__name__}: {error}", cure)


def import_metamon() -> Check:
    """In a process of its own: it prints, is slow, and may raise."""
    name = "Import of Metamon"
    command = [sys.executable, "-c", f"import {', '.join(IMPORTS)}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if answer.returncode == 0:
        return Check(name, "ok", ", ".join(IMPORTS))
    last = (answer.stderr.strip() or "no message").splitlines()[-1]
    return Check(name, "broken", last, "see METAMON_CACHE_DIR and the versions above")


def play_a_battle(folder: Path) -> str:
    """Two random players; both points of view become trajectory files."""
    return _play("random", "random", folder / "trajectories")


def _play(p1: str, p2: str, trajectories: Path | None = None) -> str:
    """One battle, in words. Raises UserError if it does not come to its end."""
    from metamon_ext.arena.conditions import Conditions
    from metamon_ext.arena.executors.local import LocalExecutor
    from metamon_ext.arena.executors.protocol import Recording
    from metamon_ext.arena.play import play_battles
    from metamon_ext.arena.schedule import matchup

    specs = matchup(p1, p2, 1, Conditions.load(FORMAT), seed=0)
    with LocalExecutor(1, Recording(trajectories) if trajectories else None) as executor:
        (result,) = play_battles(specs, executor)
    if result.score is None:
        raise UserError(f"the battle ended early: {result.reason}")
    return f"{FORMAT}, {result.turns} turns"


SMALL = ("train.batch_size = 2", "train.length = 8")


def train_a_step(folder: Path) -> str:
    """The built-in learner, on the battle that was just played."""
    from metamon_ext.training.lite.train import train

    train(folder / "trajectories", folder / "run", steps=1, overrides=SMALL)
    return "the built-in learner, on that battle"


def use_the_checkpoint(folder: Path) -> str:
    """What was written is read again, tensor for tensor, and plays."""
    import torch

    from metamon_ext.training.lite.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint

    content = load_checkpoint(folder / "run")
    save_checkpoint(folder / CHECKPOINT, content)
    again = load_checkpoint(folder / CHECKPOINT)
    before, after = content["learner"]["model"], again["learner"]["model"]
    if any(not torch.equal(before[key], after[key]) for key in before):
        raise UserError("a checkpoint read back differs from what was written")
    return f"read back equal; plays {_play(str(folder / 'run'), 'random')}"
