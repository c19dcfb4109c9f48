"""A finetuning run keeps what it was, and goes on where it was interrupted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metamon_ext.errors import UserError
from metamon_ext.upstream.checkpoint_writer import CheckpointWriter
from metamon_ext.upstream.checkpoints import find_checkpoint
from metamon_ext.upstream.models import find_model
from metamon_ext.upstream.runs import Run
from tests.upstream.finetuning import flags, run
from tests.upstream.helpers import same_weights

Finetune = Callable[..., int]
Output = pytest.CaptureFixture[str]


def weights(folder: str, epoch: int) -> dict[str, torch.Tensor]:
    return torch.load(Run(Path(folder)).weights(epoch), weights_only=True)


def schedule_steps(folder: str, epoch: int) -> int:
    """The steps that the learning rate's schedule has made."""
    return torch.load(Run(Path(folder)).state(epoch) / "scheduler.bin", weights_only=False)[
        "last_epoch"
    ]


@pytest.mark.parametrize("gin_file", ["binary_advantage", "kl_schedule"])
def test_an_interrupted_run_ends_with_the_same_weights(finetune: Finetune, gin_file: str) -> None:
    """Optimizer, schedule, random states and the reference policy are all taken up."""
    asked = {"train_gin_config": gin_file, "steps_per_epoch": 2}
    assert finetune("straight", **asked, epochs=1) == 0
    shutil.copytree("runs/straight", "elsewhere/interrupted")
    state = Run(Path("elsewhere/interrupted")).states_folder
    (state / "straight_epoch_0").rename(state / "interrupted_epoch_0")
    assert finetune("straight", **asked, epochs=3) == 0
    for epochs in (2, 3):
        assert finetune("interrupted", **asked, save_dir="elsewhere", epochs=epochs) == 0
    assert same_weights(weights("runs/straight", 2), weights("elsewhere/interrupted", 2))
    assert not same_weights(weights("runs/straight", 1), weights("runs/straight", 2))
    assert schedule_steps("runs/straight", 2) == 6
    assert schedule_steps("elsewhere/interrupted", 2) == 6


def test_a_seed_decides_what_a_run_becomes(finetune: Finetune) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        assert finetune(name, seed=seed, epochs=1, dloader_workers=0) == 0
    one, two, three = (weights(f"runs/{name}", 0) for name in ("one", "two", "three"))
    assert same_weights(one, two) and not same_weights(one, three)


def test_a_killed_run_resumes_after_the_last_complete_epoch(
    workplace: Path, here: Path, finetune: Finetune, capsys: Output
) -> None:
    """Killed when the weights of epoch 1 are written and their record is not."""
    script = f"""
import os, signal, sys
from metamon_ext.upstream.runs import Run
write = Run.write_record
def killed(self, epoch, content):
    if epoch == 1:
        os.kill(os.getpid(), signal.{signal.SIGKILL.name})
    write(self, epoch, content)
Run.write_record = killed
from metamon_ext.cli import main
main({["finetune", *flags(workplace, "killed", save_dir="runs", epochs=3)]!r})
"""
    assert run(workplace, "-c", script, cwd=here).returncode == -signal.SIGKILL
    left = Run(Path("runs/killed"))
    assert (left.weights_found, left.epochs) == ([0, 1], [0])
    (left.states_folder / ".partial").mkdir()
    (left.weights_folder / ".0123.tmp").touch()
    first = left.weights(0).read_bytes()

    assert finetune("killed", epochs=3) == 0
    assert "Resuming after checkpoint 0." in capsys.readouterr().err
    assert left.epochs == [0, 1, 2]
    assert left.weights(0).read_bytes() == first
    assert schedule_steps("runs/killed", 2) == 3
    names = {f"policy_epoch_{k}.{end}" for k in (0, 1, 2) for end in ("pt", "json")}
    assert set(os.listdir(left.weights_folder)) == names
    assert os.listdir(left.states_folder) == ["killed_epoch_2"]


def test_a_complete_run_says_what_it_made_and_trains_nothing(
    finetune: Finetune, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finetune("done") == 0
    said = capsys.readouterr().out
    monkeypatch.setattr("metamon_ext.upstream.finetune.finetune", None)
    assert finetune("done") == 0
    assert capsys.readouterr() == (said, "")


def test_an_interval_between_checkpoints_leaves_the_last_one(finetune: Finetune) -> None:
    assert finetune("sparse", epochs=4, ckpt_interval=2) == 0
    assert Run(Path("runs/sparse")).epochs == [0, 2, 3]


@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        ({"reward_function": "BinaryReward"}, "reward_function is AggressiveShapedReward there "),
        ({"train_gin_config": "psro_oracle"}, "train_gin_config is binary_rl there and psro_orac"),
        ({"batch_size_per_gpu": 3}, "training.batch_size_per_gpu is 2 there and 3 here"),
        (
            {"formats": ["gen1ou", "gen2ou"]},
            "data.formats is ['gen1ou'] there and ['gen1ou', 'gen2ou",
        ),
    ],
)
def test_other_settings_under_one_name_are_refused(
    finetune: Finetune, capsys: Output, asked: dict[str, object], difference: str
) -> None:
    assert finetune("one", epochs=1) == 0
    before = Run(Path("runs/one")).record(0)
    capsys.readouterr()
    assert finetune("one", **asked) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert difference in line and "--overwrite" in line
    assert Run(Path("runs/one")).record(0) == before


def test_other_data_and_another_gin_text_are_other_settings(
    workplace: Path, here: Path, finetune: Finetune, capsys: Output
) -> None:
    shutil.copytree(workplace / "battles" / "gen1ou", "mine/gen1ou")
    Path("own.gin").write_text("MetamonAMAGOExperiment.grad_clip = 1.0\n")
    asked = {"custom_replay_dir": "mine", "train_gin_config": "own.gin", "epochs": 1}
    assert finetune("one", **asked) == 0
    shutil.move("mine", "moved")
    assert finetune("one", **asked | {"custom_replay_dir": "moved"}) == 0, "the same files"
    next(Path("moved/gen1ou").iterdir()).unlink()
    Path("own.gin").write_text("MetamonAMAGOExperiment.grad_clip = 2.0\n")
    capsys.readouterr()
    assert finetune("one", **asked | {"custom_replay_dir": "moved"}) == 2
    said = capsys.readouterr().err
    assert "the text of train_gin_config own has changed; " in said
    assert "the files of the custom replays have changed" in said


def test_overwrite_removes_the_old_run_and_nothing_else(finetune: Finetune) -> None:
    assert finetune("one", epochs=2) == 0
    Path("runs/one/notes.txt").write_text("mine")
    assert finetune("one", reward_function="BinaryReward", epochs=1, overwrite=True) == 0
    assert Run(Path("runs/one")).epochs == [0]
    assert Run(Path("runs/one")).record(0)["reward_function"] == "BinaryReward"
    assert Path("runs/one/notes.txt").read_text() == "mine"


def test_a_record_is_never_taken_for_that_of_other_weights(
    finetune: Finetune, capsys: Output
) -> None:
    assert finetune("one") == 0
    one = Run(Path("runs/one"))
    shutil.copy(one.weights(1), one.weights(0))
    with pytest.raises(UserError, match="is not the file that its record describes"):
        find_checkpoint("one_Epoch0").weights()
    with pytest.raises(UserError, match="is not the file that its record describes"):
        find_model("one_Epoch0").get_path_to_checkpoint(0)
    Path("runs/one/train.gin").write_text("")
    with pytest.raises(UserError, match=r"train.gin is not the file that one was trained with"):
        find_model("one_Epoch1")


def test_a_full_disk_while_saving_is_one_line_and_keeps_what_was(
    workplace: Path, here: Path, finetune: Finetune, capsys: Output
) -> None:
    assert finetune("full", epochs=1) == 0
    one = Run(Path("runs/full"))
    before = sorted(path for path in Path("runs/full/ckpts").rglob("*"))
    capsys.readouterr()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 2**20, limit[1]))
    try:
        assert finetune("full", epochs=2) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "metamon-ext: Cannot save checkpoint 1 in runs/full: File too large. Checkpoint 0 is "
        "complete. Make room, then give the same command again."
    )
    assert sorted(path for path in Path("runs/full/ckpts").rglob("*")) == before
    assert finetune("full", epochs=2) == 0
    assert one.epochs == [0, 1]


def test_what_torch_says_of_a_full_disk_is_one_line_too(
    finetune: Finetune, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: CheckpointWriter, epoch: int) -> None:
        partial = Run(Path("runs/full")).states_folder / ".partial"
        partial.mkdir()
        raise RuntimeError("[enforce fail at inline_container.cc:664]\n" * 50)

    monkeypatch.setattr(CheckpointWriter, "_write", fail)
    assert finetune("full", epochs=1) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("metamon-ext: Cannot save checkpoint 0 in runs/full: [enforce fail at")
    assert len(line) < 2500 and line.endswith("Give the same command again.")
    assert os.listdir("runs/full/ckpts/training_states") == []
