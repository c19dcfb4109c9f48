"""Every checkpoint of a run has a name; a name that misses something says what."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from metamon.rl.pretrained import ALL_PRETRAINED_MODELS, get_pretrained_model

from metamon_ext.arena.policy import identify
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.upstream.models import RECORD, find_model, register_checkpoints
from metamon_ext.upstream.policy import load_agent
from metamon_ext.upstream.seats import describe
from tests.upstream.fresh_runs import RNN, fresh_run


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and Metamon's registry as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    known = dict(ALL_PRETRAINED_MODELS)
    yield tmp_path
    ALL_PRETRAINED_MODELS.clear()
    ALL_PRETRAINED_MODELS.update(known)


def empty_run(folder: Path, record: dict[str, object] | None, *epochs: int) -> Path:
    """A run whose checkpoints are empty files."""
    weights = folder / "ckpts" / "policy_weights"
    weights.mkdir(parents=True)
    for epoch in epochs:
        (weights / f"policy_epoch_{epoch}.pt").touch()
    if record is not None:
        (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_every_checkpoint_is_a_model_of_metamons(working_directory: Path) -> None:
    empty_run(Path("runs/first"), RNN, 2, 10)
    empty_run(Path("runs/second"), RNN, 4)
    names = ["first_Epoch2", "first_Epoch10", "second_Epoch4"]
    assert register_checkpoints() == names == register_checkpoints()
    assert set(names) <= set(ALL_PRETRAINED_MODELS)
    model = get_pretrained_model("first_Epoch10")
    assert model.default_checkpoint == 10
    path = Path(model.get_path_to_checkpoint(10))
    assert path == working_directory / "runs/first/ckpts/policy_weights/policy_epoch_10.pt"
    assert type(model.reward_function).__name__ == "AggressiveShapedReward"
    assert describe()["checkpoints"] == names


def test_the_weights_are_those_of_the_file(working_directory: Path) -> None:
    folder = fresh_run(Path("runs"), "run", RNN, epochs=(1, 2))
    for epoch in (1, 2):
        saved = torch.load(folder / f"ckpts/policy_weights/policy_epoch_{epoch}.pt")
        model = find_model(f"run_Epoch{epoch}")
        loaded = load_agent("run", model, None, 1.0).policy.state_dict()
        assert all(torch.equal(saved[key], loaded[key]) for key in saved)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_loaded_whatever_wrapped_the_policy(prefix: str) -> None:
    file = (
        fresh_run(Path("runs"), "run", RNN, epochs=(1,)) / "ckpts/policy_weights/policy_epoch_1.pt"
    )
    saved = torch.load(file)
    torch.save({prefix + name: value for name, value in saved.items()}, file)
    loaded = load_agent("run", find_model("run_Epoch1"), None, 1.0).policy.state_dict()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_weights_that_cannot_be_loaded_are_named() -> None:
    file = (
        fresh_run(Path("runs"), "run", RNN, epochs=(1,)) / "ckpts/policy_weights/policy_epoch_1.pt"
    )
    weights = torch.load(file)
    name = next(iter(weights))
    lacking = {other: value for other, value in weights.items() if other != name}
    for content, fault in (
        (lacking, f"the weight '{name}' is missing"),
        (weights | {"extra": torch.zeros(1)}, "the network has no weight 'extra'"),
        (weights | {name: torch.zeros(1, 2, 3)}, f"'{name}' is of shape"),
        ([weights], "not a table of tensors"),
        (Path("code"), "damaged, or not a checkpoint"),
    ):
        torch.save(content, file)
        with pytest.raises(UserError, match=fault) as raised:
            load_agent("run", find_model("run_Epoch1"), None, 1.0)
        assert "policy_epoch_1.pt" in str(raised.value) and "\n" not in str(raised.value)


def test_what_a_record_leaves_out_comes_from_the_base_model() -> None:
    empty_run(Path("runs/tuned"), {"base_model": "Minikazam", "reward_function": None}, 1)
    again = {"base_model": "tuned_Epoch1", "reward_function": "WinLossReward"}
    empty_run(Path("runs/twice"), again, 1)
    base, tuned, twice = map(find_model, ("Minikazam", "tuned_Epoch1", "twice_Epoch1"))
    for model in (tuned, twice):
        assert model.model_gin_config_path == base.model_gin_config_path
        assert model.train_gin_config_path == base.train_gin_config_path
        assert model.battle_backend == base.battle_backend == "pokeagent"
        assert model.gin_overrides.keys() == base.gin_overrides.keys()
        assert model.tokenizer.name == base.tokenizer.name
        theirs = base.observation_space.base_obs_space
        assert type(model.observation_space.base_obs_space) is type(theirs)
    assert type(tuned.reward_function) is type(base.reward_function)
    assert isinstance(twice.reward_function, WinLossReward)


def test_a_yaml_file_tells_of_runs_that_have_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_run(Path("elsewhere/old"), None, 3)
    text = "save_dirs: [elsewhere]\nruns:\n  old:\n    base_model: Minikazam\n"
    Path("metamon_ext_models.yaml").write_text(text)
    assert register_checkpoints() == ["old_Epoch3"]
    Path("my.yaml").write_text("save_dirs: [nowhere]\n")
    monkeypatch.setenv("METAMON_EXT_MODELS", "my.yaml")
    assert register_checkpoints() == []


@pytest.mark.parametrize("name", ["x?y", "x:y"])
def test_a_run_that_could_not_be_named_as_a_policy_is_an_error(name: str) -> None:
    empty_run(Path("runs", name), RNN, 1)
    with pytest.raises(UserError, match="rename the run"):
        register_checkpoints()


def test_two_runs_of_one_name_are_an_error() -> None:
    empty_run(Path("a/run"), RNN, 1)
    empty_run(Path("b/run"), RNN, 2)
    Path("metamon_ext_models.yaml").write_text("save_dirs: [a, b]\n")
    with pytest.raises(UserError, match="two runs are called run: a/run and b/run"):
        register_checkpoints()


def test_a_run_that_took_the_place_of_another_is_an_error() -> None:
    empty_run(Path("a/run"), RNN, 1)
    Path("metamon_ext_models.yaml").write_text("save_dirs: [a]\n")
    register_checkpoints()
    shutil.move("a", "b")
    Path("metamon_ext_models.yaml").write_text("save_dirs: [b]\n")
    with pytest.raises(UserError, match="the name of another model"):
        register_checkpoints()


@pytest.mark.parametrize(
    ("record", "name", "says"),
    [
        (RNN, "run_Epoch9", r"no policy_epoch_9.pt, only epochs 1, 2"),
        (RNN, "other_Epoch1", r"nothing is called 'other_Epoch1'"),
        (None, "run_Epoch1", r"nothing says how runs/run was trained; it lacks metamon_ext.json"),
        ({"base_model": "Nobody"}, "run_Epoch1", r"nothing is called 'Nobody'"),
        ({"tokenizer": "x"}, "run_Epoch1", r"lacks model_gin_config, train_gin_config, reward"),
        (RNN | {"tokenizer": "x"}, "run_Epoch1", r"the tokenizer x, which is not here"),
        (RNN | {"reward_function": "x"}, "run_Epoch1", r"the reward_function x, which is not"),
        (RNN | {"model_gin_config": "x.gin"}, "run_Epoch1", r"the model_gin_config x.gin, which"),
    ],
)
def test_a_name_that_misses_something_says_what(
    record: dict[str, object] | None, name: str, says: str
) -> None:
    empty_run(Path("runs/run"), record, 1, 2)
    with pytest.raises(UserError, match=says):
        find_model(name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "is not a table of models"),
        ("runs: {lost: {base_model: Minikazam}}", "tells of lost, which has no checkpoints"),
        ("runs: {run: {base: Minikazam}}", "run has no field base: use base_model"),
    ],
)
def test_a_yaml_file_with_a_mistake_is_one_line(text: str, says: str) -> None:
    empty_run(Path("runs/run"), None, 1)
    Path("metamon_ext_models.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        register_checkpoints()


def test_a_broken_record_is_one_line() -> None:
    empty_run(Path("runs/run"), None, 1)
    (Path("runs/run") / RECORD).write_text("{")
    with pytest.raises(UserError, match="not a record of a run"):
        register_checkpoints()


def test_metamons_evaluation_knows_the_names(repository: Path) -> None:
    """`--agent` is checked against the registry when Metamon builds its parser."""
    empty_run(Path("runs/run"), RNN, 7)
    command = ["-m", "metamon_ext", "run", "-m", "metamon.rl.evaluate", "--help"]
    answer = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert "run_Epoch7" in answer.stdout, answer.stderr


def test_without_a_run_the_list_says_where_it_looked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "none in runs: metamon-ext finetune --save_dir runs" in said
    assert "metamon_ext_models.yaml" in said


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> str:
        raise LocalEntryNotFoundError("no\ninternet")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(UserError, match="checkpoint 40 of Minikazam cannot be fetched: no intern"):
        identify("Minikazam")
