"""A training run: what it leaves on disk, and how it goes on."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gin
import pytest
import torch

from metamon_ext.cli import main
from metamon_ext.errors import RunStopped, UserError
from metamon_ext.files import lock_folder
from metamon_ext.training.lite.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from metamon_ext.training.lite.config import LITE_CONFIGS, read_gin_config
from metamon_ext.training.lite.train import CONFIG, TrainConfig, train
from metamon_ext.training.lite.training_log import LOG
from tests.conftest import ROOT
from tests.support.interruptions import disk_full

DATA = ROOT / "tests" / "data" / "arena" / "gen1ou"
SMALL = [
    "LiteModel.action_dim = 8",
    "LiteModel.context_dim = 16",
    "LiteModel.hidden_dim = 8",
    "train.batch_size = 4",
    "train.length = 8",
    "train.checkpoint_every = 5",
]


@pytest.fixture(autouse=True)
def _no_settings_left() -> Any:
    yield
    gin.clear_config()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    def run(name: str, steps: int | None, overrides: list[str] = SMALL, **options: Any) -> Path:
        where = {"data_dir": DATA, "output_dir": tmp_path / name}
        train(TrainConfig(gin=overrides, steps=steps, **where, **options))
        return tmp_path / name

    return run


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Every tensor and number in nested containers, by its place."""
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list | tuple):
        items = list(enumerate(tree))
    else:
        return {path: tree}
    return {k: v for key, sub in items for k, v in leaves(sub, f"{path}/{key}").items()}


def assert_same_state(a: Path, b: Path) -> None:
    """Weights, targets, optimizer, schedule and order of the data, bit for bit."""
    one, other = leaves(load_checkpoint(a)), leaves(load_checkpoint(b))
    assert one.keys() == other.keys()
    for place, value in one.items():
        if place.endswith("/bindings"):
            continue
        same = torch.equal(value, other[place]) if torch.is_tensor(value) else value == other[place]
        assert same, place


def steps_logged(run_dir: Path) -> list[int]:
    with (run_dir / LOG).open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("config", ["binary_advantage", "behavior_cloning"])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(
    run: Callable[..., Path], config: str
) -> None:
    whole = run("whole", 20, gin_config=config)
    run("resumed", 10, gin_config=config)
    resumed = run("resumed", 20, gin_config=config)
    assert_same_state(whole, resumed)
    assert steps_logged(resumed) == list(range(1, 21))


def test_a_killed_run_loses_nothing_and_logs_nothing_twice(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metamon_ext.training.lite.learner import Learner

    whole = run("whole", 12)
    update, calls = Learner.update, iter(range(100))

    def killed(self: Learner, *args: Any) -> Any:
        if next(calls) == 8:  # three steps after the checkpoint
            raise KeyboardInterrupt
        return update(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "update", killed)
        run("killed", 12)
    resumed = run("killed", 12)
    assert_same_state(whole, resumed)
    assert steps_logged(resumed) == list(range(1, 13))


EXTRACTION = [*SMALL, "extraction.steps = 8", "extraction.beta = 10.0"]


@pytest.mark.parametrize("stop", [4, 8, 12, 15])
def test_a_run_that_is_killed_in_either_stage_ends_as_one_that_was_not(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    from metamon_ext.training.lite.extraction import Distiller
    from metamon_ext.training.lite.learner import Learner

    complete = run("complete", 10, EXTRACTION)
    assert "teacher" in load_checkpoint(complete)["learner"]
    calls = iter(range(100))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        for stage in (Learner, Distiller):

            def killed(self: Any, *args: Any, update: Any = stage.update) -> Any:
                if next(calls) == stop:
                    raise KeyboardInterrupt
                return update(self, *args)

            patch.setattr(stage, "update", killed)
        run("killed", 10, EXTRACTION)
    resumed = run("killed", 10, EXTRACTION)
    assert_same_state(complete, resumed)
    assert steps_logged(resumed) == list(range(1, 19))


def test_the_extraction_comes_after_the_last_step(run: Callable[..., Path]) -> None:
    """A run without one may get more steps later; with one, its actor is another already."""
    folder = run("run", 5, EXTRACTION)
    with pytest.raises(UserError, match=r"train\.steps = 5 there, train\.steps = 6 here"):
        run("run", 6, EXTRACTION)
    plain = run("plain", 5)
    networks = [load_checkpoint(each)["learner"]["model"] for each in (folder, plain)]
    changed = {name for name in networks[0] if not torch.equal(*(n[name] for n in networks))}
    assert {name.split(".")[1] for name in changed} == {"actor"}


def test_an_extraction_without_its_critic_is_refused_before_training(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"gin: there is no critic for gamma = 0\.5"):
        run("run", 5, [*EXTRACTION, "extraction.gamma = 0.5"])
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_the_seed_is_all_that_chance_depends_on(run: Callable[..., Path]) -> None:
    assert_same_state(run("one", 3, seed=5), run("same", 3, seed=5))
    with pytest.raises(AssertionError):
        assert_same_state(run("one", 3, seed=5), run("other", 3, seed=6))


def test_the_config_that_a_run_leaves_trains_the_same_again(run: Callable[..., Path]) -> None:
    first = run("first", 4, [*SMALL, "binary_advantage_filter.negative_weight = 0.5"], seed=3)
    assert_same_state(first, run("again", 4, [], gin_config=str(first / CONFIG)))


def test_the_log_has_every_figure_of_every_step(run: Callable[..., Path]) -> None:
    with (run("run", 3) / LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {
        "step", "actor_loss", "critic_loss", "positive_advantage", "accuracy", "grad_norm", "lr",
        "samples_per_second",
    } <= set(rows[0])  # fmt: skip
    assert all(float(value) == float(value) for row in rows for value in row.values())


def test_wandb_gets_the_figures_too_and_works_offline(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert list((run("run", 2, log=True) / "wandb").glob("offline-run-*"))


def test_a_run_is_not_continued_with_other_settings(run: Callable[..., Path]) -> None:
    folder = run("run", 2)
    rates = r"Learner\.learning_rate = 0\.001 there, Learner\.learning_rate = 1\.0 here"
    with pytest.raises(UserError, match=f"other settings: {rates}"):
        run("run", 4, [*SMALL, "Learner.learning_rate = 1.0"])
    assert steps_logged(folder) == [1, 2]
    run("run", 4)
    assert steps_logged(folder) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "override",
    ["Learner.lr = 1", "Lerner.gammas = ()", "train.steps = ", "Learner.gammas = 'x'", "nonsense"],
)
def test_a_setting_that_does_not_exist_is_one_line(run: Callable[..., Path], override: str) -> None:
    with pytest.raises(UserError, match="gin: ") as raised:
        run("run", 1, [override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "override",
    [
        "train.steps = -1",
        "train.batch_size = 0",
        "train.length = 0.5",
        "train.checkpoint_every = 0",
        "Learner.gammas = ()",
        "Learner.gammas = (2.0,)",
    ],
)
def test_a_setting_out_of_its_range_is_named(run: Callable[..., Path], override: str) -> None:
    with pytest.raises(UserError, match=override.split(".")[1].split()[0]):
        run("run", None if "steps" in override else 1, [*SMALL, override])


def test_a_run_that_diverges_stops_and_keeps_its_last_checkpoint(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"lower Learner\.learning_rate"):
        run("run", 20, [*SMALL, "Learner.learning_rate = 1e30", "train.checkpoint_every = 1"])
    assert load_checkpoint(tmp_path / "run")["step"] == 1


def test_a_run_goes_on_where_its_log_was_lost(run: Callable[..., Path]) -> None:
    folder = run("run", 5)
    (folder / LOG).unlink()
    run("run", 6)
    assert steps_logged(folder) == [6]


def test_a_folder_that_cannot_be_written_is_one_line(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Not a directory\. Choose another folder"):
        run("file/run", 1)

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(RunStopped, match="No space left on device; fix this, then run the same"):
        run("run", 1)


def test_a_folder_in_which_another_run_is_at_work_is_refused(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    with lock_folder(tmp_path / "run"), pytest.raises(UserError, match="in use by another run"):
        run("run", 1)
    assert steps_logged(run("run", 1)) == [1]


def test_an_unknown_config_lists_the_known_ones(run: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="behavior_cloning, binary_advantage"):
        run("run", 1, gin_config="psro")


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"step": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, {"step": 2, "unpicklable": lambda: None})
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Trojan:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"format": Trojan()}, tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_foreign_and_missing_checkpoints_are_named(tmp_path: Path) -> None:
    for name, content in {"text": b"hello", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            load_checkpoint(tmp_path / name)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(UserError, match="not a checkpoint of"):
        load_checkpoint(tmp_path / "foreign")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "missing")


def test_a_model_of_another_observation_space_says_so(run: Callable[..., Path]) -> None:
    folder = run("run", 1)
    content = load_checkpoint(folder)
    content["learner"]["model"]["action_encoder.0.weight"] = torch.zeros(8, 3)
    save_checkpoint(folder / CHECKPOINT, content)
    with pytest.raises(UserError, match="train it again"):
        load_model(folder)


def test_the_two_configs_differ_in_the_filter_and_the_critic_weight_only() -> None:
    def bindings(name: str) -> set[str]:
        read_gin_config(name)
        lines = gin.config_str().splitlines()
        return {line for line in lines if " = " in line and "advantage_filter." not in line}

    differing = bindings("binary_advantage") ^ bindings("behavior_cloning")
    assert {line.split(" = ")[0] for line in differing} == {
        "Learner.filter_func",
        "Learner.critic_weight",
    }


def test_every_setting_of_the_shipped_configs_exists() -> None:
    for path in LITE_CONFIGS.glob("*.gin"):
        read_gin_config(str(path))
        head = path.read_text().splitlines()[0]
        assert head.startswith("# "), f"{path.name} does not say what it is for"


def test_the_command_trains_and_says_in_one_line_what_is_wrong(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    overrides = [word for setting in SMALL for word in ("--gin", setting)]
    args = ("train", "--data_dir", DATA, "--save_dir", tmp_path, "--run_name", "r", "--steps", 2)
    assert cli(*args, *overrides, "--seed", 1).returncode == 0
    assert steps_logged(tmp_path / "r") == [1, 2]
    again = cli(*args, *overrides)
    assert again.returncode == 2 and len(again.stderr.strip().splitlines()) == 1
    assert "train.seed = 1 there" in again.stderr
    assert cli(*args, *overrides, "--seed", 1, "--resume").returncode == 0
    assert steps_logged(tmp_path / "r") == [1, 2]


@pytest.mark.parametrize("name", ["..", "x?y", "", "a/b"])
def test_a_run_name_that_is_no_folder_of_its_own_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data_dir", str(DATA), "--save_dir", str(tmp_path / "runs")]
    assert main(["train", *folders, f"--run_name={name}"]) == 2
    assert f"Run name {name!r}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_finetuning_begins_with_the_weights_of_another_run(run: Callable[..., Path]) -> None:
    base = run("base", 5)
    nothing_learned = ["Learner.learning_rate = 0.0", *SMALL]
    tuned = run("tuned", 1, nothing_learned, seed=7, finetune_from=base)
    one, other = load_model(base).state_dict(), load_model(tuned).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    target = load_checkpoint(tuned)["learner"]["target"]
    assert all(torch.equal(target[key], other[f"heads.{key}"]) for key in target)
    with pytest.raises(UserError, match="has other sizes"):
        run("wider", 1, [*SMALL, "LiteModel.hidden_dim = 12"], finetune_from=base)
    with pytest.raises(UserError, match="no such checkpoint"):
        run("lost", 1, finetune_from=base / "nowhere")


def test_finetuning_begins_with_the_actor_before_an_extraction(run: Callable[..., Path]) -> None:
    nothing_learned = ["Learner.learning_rate = 0.0", *SMALL]
    plain, extracted = run("plain", 5), run("extracted", 5, EXTRACTION)
    tuned = run("tuned", 1, nothing_learned, finetune_from=extracted)
    one, other = load_model(plain).state_dict(), load_model(tuned).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
