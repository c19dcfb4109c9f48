"""Every checkpoint of a run has a name; a name that misses something says what."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from metamon.rl.pretrained import ALL_PRETRAINED_MODELS, get_pretrained_model

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.cli import main
from metamon_ext.errors import UserError
from metamon_ext.spaces.rewards import WinLossReward
from metamon_ext.upstream.adopt import describe as describe_adopted
from metamon_ext.upstream.checkpoints import find_checkpoint
from metamon_ext.upstream.models import find_model, load_weights, register_checkpoints
from metamon_ext.upstream.policy import load_agent
from metamon_ext.upstream.runs import Run
from metamon_ext.upstream.seats import describe
from tests.upstream.fresh_runs import RNN, empty_run, fresh_run

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and Metamon's registry as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    known = dict(ALL_PRETRAINED_MODELS)
    yield tmp_path
    ALL_PRETRAINED_MODELS.clear()
    ALL_PRETRAINED_MODELS.update(known)


def test_every_checkpoint_is_a_model_of_metamons(working_directory: Path) -> None:
    empty_run(Path("runs/first"), RNN, 2, 10)
    empty_run(Path("runs/second"), RNN, 4)
    names = ["first_Epoch2", "first_Epoch10", "second_Epoch4"]
    assert register_checkpoints() == names == register_checkpoints()
    assert set(names) <= set(ALL_PRETRAINED_MODELS)
    model = get_pretrained_model("first_Epoch10")
    assert model.default_checkpoint == 10
    assert type(model.reward_function).__name__ == "AggressiveShapedReward"
    assert describe(None)["checkpoints"] == names


def test_the_weights_are_those_of_the_file() -> None:
    """Of epoch 0 too, whose weights Metamon would leave at random."""
    folder = fresh_run(Path("runs"), "run", RNN, epochs=(0, 2))
    for epoch in (0, 2):
        saved = torch.load(folder / f"ckpts/policy_weights/policy_epoch_{epoch}.pt")
        loaded = load_agent(find_checkpoint(f"run_Epoch{epoch}")).policy.state_dict()
        assert all(torch.equal(saved[key], loaded[key]) for key in saved)
        metamons = find_model(f"run_Epoch{epoch}").initialize_agent().policy.state_dict()
        assert all(torch.equal(saved[key], metamons[key]) for key in saved)


def test_the_path_of_a_run_is_a_policy(working_directory: Path) -> None:
    empty_run(Path("elsewhere/run"), RNN, 1, 2)
    for path in ("elsewhere/run", str(working_directory / "elsewhere" / "run")):
        assert find_checkpoint(path).epoch == 2
        assert find_checkpoint(path, 1).epoch == 1
        options = PolicyRef.resolve(f"{path}?checkpoint=1").options
        assert options == {"model": path, "checkpoint": "1"}
        with pytest.raises(UserError, match=r"elsewhere/run has no checkpoint 3\. It has 1, 2\."):
            PolicyRef.resolve(f"{path}?checkpoint=3")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_are_loaded_whatever_wrapped_the_policy(prefix: str, tmp_path: Path) -> None:
    fresh_run(Path("runs"), "run", RNN, epochs=(1,))
    policy = load_agent(find_checkpoint("run_Epoch1")).policy
    saved = {name: value.clone() for name, value in policy.state_dict().items()}
    torch.save({prefix + name: value for name, value in saved.items()}, tmp_path / "wrapped.pt")
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    load_weights(policy, tmp_path / "wrapped.pt", "a wrapped checkpoint")
    assert all(torch.equal(saved[name], value) for name, value in policy.state_dict().items())


def test_weights_that_cannot_be_loaded_are_named(tmp_path: Path) -> None:
    fresh_run(Path("runs"), "run", RNN, epochs=(1,))
    policy = load_agent(find_checkpoint("run_Epoch1")).policy
    weights = policy.state_dict()
    name = next(name for name, _ in policy.named_parameters())
    lacking = {other: value for other, value in weights.items() if other != name}
    for content, fault in (
        (lacking, "Missing key"),
        (weights | {"extra": torch.zeros(1)}, "Unexpected key"),
        (weights | {name: torch.zeros(1, 2, 3)}, "size mismatch"),
        ([weights], "not a table of tensors"),
        (Path("code"), "damaged, or not a checkpoint"),
    ):
        torch.save(content, tmp_path / "weights.pt")
        with pytest.raises(UserError, match=fault) as raised:
            load_weights(policy, tmp_path / "weights.pt", "checkpoint 1 of run")
        assert "weights.pt" in str(raised.value) and "\n" not in str(raised.value)


def test_what_a_record_leaves_out_comes_from_the_base_model() -> None:
    base = find_model("Minikazam")
    content = describe_adopted("Minikazam", {"reward_function": "WinLossReward"})
    run = empty_run(Path("runs/tuned"), None, 1)
    for part, file in (("model_gin_config", "model.gin"), ("train_gin_config", "train.gin")):
        (run.folder / file).write_text(content["gin"][part])
    run.write_record(1, content)
    again = describe_adopted("tuned_Epoch1", {})
    assert again["released_model"] == "Minikazam"
    model = find_model("tuned_Epoch1")
    assert model.battle_backend == base.battle_backend == "pokeagent"
    assert model.gin_overrides.keys() == base.gin_overrides.keys()
    assert model.tokenizer.name == base.tokenizer.name
    theirs = base.observation_space.base_obs_space
    assert type(model.observation_space.base_obs_space) is type(theirs)
    assert isinstance(model.reward_function, WinLossReward)


def test_a_yaml_file_lists_the_folders_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_run(Path("elsewhere/old"), RNN, 3)
    Path("metamon_ext_models.yaml").write_text("save_dirs: [elsewhere]")
    assert register_checkpoints() == ["old_Epoch3"]
    Path("my.yaml").write_text("save_dirs: [nowhere]\n")
    monkeypatch.setenv("METAMON_EXT_MODELS", "my.yaml")
    assert register_checkpoints() == []


@pytest.mark.parametrize("name", ["x?y", "x:y"])
def test_a_run_that_could_not_be_named_as_a_policy_is_an_error(name: str) -> None:
    empty_run(Path("runs", name), RNN, 1)
    with pytest.raises(UserError, match="Rename the run"):
        register_checkpoints()


def test_two_runs_of_one_name_are_an_error() -> None:
    empty_run(Path("a/run"), RNN, 1)
    empty_run(Path("b/run"), RNN, 2)
    Path("metamon_ext_models.yaml").write_text("save_dirs: [a, b]\n")
    with pytest.raises(UserError, match="Two runs are called run: a/run and b/run"):
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
    ("name", "says"),
    [
        ("run_Epoch9", r"runs/run has no checkpoint 9\. It has 1, 2\."),
        ("run", r"Unknown policy 'run'\. Did you mean 'run_Epoch2'\? Run metamon-ext models"),
        ("runn_Epoch2", r"Unknown policy 'runn_Epoch2'\. Did you mean 'run_Epoch2'\?"),
        ("minikazm", r"Unknown policy 'minikazm'\. Did you mean 'Minikazam'\?"),
        ("Gruntt", r"Unknown policy 'Gruntt'\. Did you mean 'Grunt'\?"),
        ("theirs_Epoch1", r"has no record .* metamon-ext adopt runs/theirs --base_model MODEL "),
        ("run_Epoch1?temp=1", r"has no option 'temp'. It takes checkpoint, temperature, battle_b"),
        ("run_Epoch1?temperature=-1", r"temperature must be a number of at least 0, not -1"),
        ("run_Epoch1?temperature=x", r"could not convert string to float"),
        ("run_Epoch1?checkpoint=x", r"checkpoint=x is not the number of an epoch"),
        ("run_Epoch1?battle_backend=x", r"battle_backend=x is none of metamon, pokeagent, poke-e"),
        ("Grunt?temperature=1", r"has no option 'temperature'. It takes none"),
        ("random?temperature=1", r"has no option 'temperature'. It takes epsilon"),
    ],
)
def test_a_name_that_misses_something_says_what(name: str, says: str) -> None:
    empty_run(Path("runs/run"), RNN, 1, 2)
    empty_run(Path("runs/theirs"), None, 1)
    with pytest.raises(UserError, match=says):
        PolicyRef.resolve(name)


@pytest.mark.parametrize("part", ["observation_space", "tokenizer", "action_space"])
def test_a_part_that_is_not_here_is_named(part: str) -> None:
    empty_run(Path("runs/run"), RNN | {part: "x"}, 1)
    with pytest.raises(UserError, match=f"runs/run was trained with the {part} x, which is not"):
        find_model("run_Epoch1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "is not a list of folders"),
        ("save_dirs: 3", "is not a list of folders"),
        ("runs: {run: {base_model: Minikazam}}", "unknown key 'runs'.*metamon-ext adopt"),
    ],
)
def test_a_yaml_file_with_a_mistake_is_one_line(text: str, says: str) -> None:
    Path("metamon_ext_models.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        register_checkpoints()


def test_a_broken_record_is_one_line() -> None:
    run = empty_run(Path("runs/run"), RNN, 1)
    run.record_file(1).write_text("{")
    with pytest.raises(UserError, match=r"policy_epoch_1.json is damaged. Write it again"):
        find_model("run_Epoch1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PK\3\4" + b"x" * 1000, r"is damaged or cut off \(1,004 bytes\)"),
        (b"hello", r"is damaged or cut off"),
    ],
)
def test_damaged_weights_are_named_before_anything_is_loaded(content: bytes, says: str) -> None:
    run = empty_run(Path("runs/run"), RNN, 1)
    run.weights(1).write_bytes(content)
    with pytest.raises(UserError, match=f"policy_epoch_1.pt {says}"):
        PolicyRef.resolve("run_Epoch1").describe()


def test_metamons_evaluation_knows_the_names(repository: Path) -> None:
    """`--agent` is checked against the registry when Metamon builds its parser."""
    empty_run(Path("runs/run"), RNN, 7)
    command = ["-m", "metamon_ext", "run", "-m", "metamon.rl.evaluate", "--help"]
    answer = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert "run_Epoch7" in answer.stdout, answer.stderr


def test_without_a_run_the_list_says_where_it_looked(capsys: Output) -> None:
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert "none: metamon-ext finetune --save_dir runs" in said
    assert "metamon_ext_models.yaml" in said


def test_the_list_looks_where_it_is_asked_to(capsys: Output) -> None:
    empty_run(Path("elsewhere/run"), RNN, 1)
    empty_run(Path("elsewhere/theirs"), None, 1)
    assert main(["models", "--save_dir", "elsewhere"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "  elsewhere/run?checkpoint=1" in said
    assert any(line.startswith("  metamon-ext adopt elsewhere/theirs ") for line in said)
    PolicyRef.resolve("elsewhere/run?checkpoint=1")


def test_weights_that_cannot_be_downloaded_are_one_line(here: Path) -> None:
    says = r"Checkpoint 41 of Minikazam is not here and cannot be downloaded \(offline\)\. Here: 40"
    with pytest.raises(UserError, match=says):
        PolicyRef.resolve("Minikazam?checkpoint=41").describe()


def test_a_run_of_metamons_own_is_adopted(
    workplace: Path, here: Path, finetune: Callable[..., int], capsys: Output
) -> None:
    """The command that the refusal prints does it."""
    assert finetune("theirs", epochs=1, train_gin_config="binary_advantage") == 0
    folder = Path("runs/theirs")  # as metamon.rl.finetune_from_hf leaves it
    for path in (*folder.glob("*.*"), *folder.rglob("policy_epoch_*.json")):
        path.unlink()
    with pytest.raises(UserError, match="has no record of how it was trained") as refused:
        PolicyRef.resolve("theirs_Epoch0").describe()
    command = str(refused.value).partition("metamon-ext ")[2].split()
    assert command == [
        *("adopt", "runs/theirs", "--base_model", "Minikazam"),
        *("--train_gin_config", "GIN", "--reward_function", "AggressiveShapedReward"),
    ]
    command[command.index("GIN")] = "binary_advantage"
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Recorded: theirs_Epoch0"
    policy = PolicyRef.resolve("theirs_Epoch0")
    assert policy.describe()["sha256"] == Run(folder).record(0)["sha256"]
    policy.build()


def test_a_run_is_adopted_only_as_what_its_weights_fit(
    here: Path, finetune: Callable[..., int], capsys: Output
) -> None:
    assert finetune("theirs", epochs=1, train_gin_config="kl_conservative") == 0
    for path in (*Path("runs/theirs").glob("*.*"), *Path("runs").rglob("policy_epoch_*.json")):
        path.unlink()
    capsys.readouterr()
    assert main(["adopt", "runs/theirs", "--base_model", "Minikazam"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "do not fit the network of its gin files, e.g. Unexpected key" in line
    assert Run(Path("runs/theirs")).epochs == []
    assert main(["adopt", "runs/theirs", "--base_model", "Minikazm"]) == 2
    assert "Did you mean 'Minikazam'?" in capsys.readouterr().err
    assert main(["adopt", "runs/theirs", "--model_gin_config", "minikazam"]) == 2
    assert "Without --base_model these are needed: --train_gin" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_adopted_by_its_record() -> None:
    run = empty_run(Path("runs/old"), None, 1)
    (run.folder / "metamon_ext.json").write_text(
        json.dumps({"base_model": "Minikazam", "reward_function": "BinaryReward", "run_name": "x"})
    )
    says = r"metamon-ext adopt runs/old --base_model Minikazam --reward_function BinaryReward$"
    with pytest.raises(UserError, match=says):
        find_checkpoint("old_Epoch1")
