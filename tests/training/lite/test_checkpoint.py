"""Checkpoints from elsewhere, wrapped, damaged or not ours."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.errors import UserError
from metamon_ext.training.lite.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from metamon_ext.training.lite.learner import Learner
from metamon_ext.training.lite.model import LiteModel
from metamon_ext.training.lite.train import resume, start_from

Content = dict[str, Any]


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    return Learner()


@pytest.fixture
def content(learner: Learner) -> Content:
    """What `train` saves."""
    return {
        "step": 3,
        "learner": learner.state_dict(),
        "order": torch.Generator().get_state(),
        "model_sizes": learner.model.sizes,
        "bindings": "",
    }


def prefixed(prefix: str) -> Callable[[Content], Content]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        prefixed("module.module."),
        lambda weights: {k.replace("heads.", "heads._orig_mod."): v for k, v in weights.items()},
    ],
    ids=["ddp", "compile", "compile in ddp", "ddp in compile", "ddp twice", "a part compiled"],
)
def test_weights_are_loaded_whatever_wrapped_the_network(
    content: Content, learner: Learner, tmp_path: Path, wrap: Callable[[Content], Content]
) -> None:
    weights = content["learner"]["model"]
    content["learner"] |= {"model": wrap(weights)}
    content["learner"]["target"] = prefixed("module.")(content["learner"]["target"])
    save_checkpoint(tmp_path / CHECKPOINT, content)
    other, resumed = Learner(), Learner()
    start_from(other, tmp_path)
    assert resume(tmp_path, load_checkpoint(tmp_path), resumed, torch.Generator(), "") == 3
    for model in (load_model(tmp_path), other.model, resumed.model):
        assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_the_wrappers_are_those_of_torch() -> None:
    model = LiteModel(gammas=1)
    names = {f"_orig_mod.{name}" for name in model.state_dict()}
    assert set(torch.compile(model).state_dict()) == names
    assert set(nn.DataParallel(model).state_dict()) == {f"module.{n}" for n in model.state_dict()}


WEIGHT = "memory.weight_ih"


def without(*keys: str) -> Callable[[Content], None]:
    return put(None, *keys, remove=True)


def put(value: Any, *keys: str, remove: bool = False) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for key in keys[:-1]:
            content = content[key]
        if remove:
            del content[keys[-1]]
        else:
            content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without("learner"), "has no 'learner'"),
        (without("learner", "model"), "weights are NoneType"),
        (without("model_sizes"), "has no 'model_sizes'"),
        (put(torch.zeros(2), "learner"), "has Tensor, not a table, as 'learner'"),
        (put([1], "learner", "model"), "weights are list, not a table"),
        (put({3: torch.zeros(2)}, "learner", "model"), "not a table of tensors"),
        (put([1], "model_sizes"), "has list, not a table, as 'model_sizes'"),
        (put("64", "model_sizes", "hidden_dim"), "'model_sizes' cannot be"),
        (put(-4, "model_sizes", "hidden_dim"), "'model_sizes' cannot be"),
        (put(2.5, "model_sizes", "hidden_dim"), "'model_sizes' cannot be"),
        (put(4, "model_sizes", "layers"), "'model_sizes' cannot be"),
        (without("model_sizes", "gammas"), "'model_sizes' cannot be"),
        (put(10**9, "model_sizes", "hidden_dim"), "not of shape"),
        (without("learner", "model", WEIGHT), f"weight '{WEIGHT}' is missing"),
        (put(torch.zeros(2), "learner", "model", "extra"), "has no weight 'extra'"),
        (put(torch.zeros(8, 3), "learner", "model", WEIGHT), r"of shape \(8, 3\), not of shape"),
        (put([1.0], "learner", "model", WEIGHT), f"'{WEIGHT}' is list, not of shape"),
        (put(torch.full((384, 128), float("nan")), "learner", "model", WEIGHT), "not finite"),
        (put("another", "format"), "not a checkpoint of"),
    ],
)
def test_what_a_checkpoint_lacks_is_named_before_a_battle_begins(
    content: Content, tmp_path: Path, change: Callable[[Content], None], fault: str
) -> None:
    file = tmp_path / CHECKPOINT
    content["format"] = "metamon_ext lite 1"
    change(content)
    torch.save(content, file)
    for policy in (str(tmp_path), f"{file}?temperature=0.5"):
        with pytest.raises(UserError, match=fault) as raised:
            PolicyRef.resolve(policy).describe()
        assert str(file) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without("learner"), "has no 'learner'"),
        (without("learner", "target"), "weights are NoneType"),
        (without("learner", "optimizer"), "cannot be resumed"),
        (put({}, "learner", "optimizer"), "cannot be resumed"),
        (put(torch.zeros(1), "learner", "schedule"), "cannot be resumed"),
        (without("order"), "cannot be resumed"),
        (put(torch.zeros(3), "order"), "cannot be resumed"),
        (without("step"), "cannot be resumed"),
        (put("3", "step"), "cannot be resumed"),
        (without("bindings"), "other settings"),
    ],
)
def test_what_a_run_cannot_be_resumed_from_is_named(
    content: Content, tmp_path: Path, change: Callable[[Content], None], fault: str
) -> None:
    change(content)
    save_checkpoint(tmp_path / CHECKPOINT, content)
    with pytest.raises(UserError, match=fault) as raised:
        resume(tmp_path, load_checkpoint(tmp_path), Learner(), torch.Generator(), "")
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


class Trojan:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("harm",))


def test_a_file_that_torch_cannot_read_is_named(
    content: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / CHECKPOINT
    save_checkpoint(file, content)
    complete = file.read_bytes()
    cut = [complete[:size] for size in (1, 100, len(complete) // 2, len(complete) - 1)]
    for damaged in [b"", b"a text file\n", pickle.dumps(Trojan()), pickle.dumps({}), *cut]:
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged, or not a checkpoint") as raised:
            PolicyRef.resolve(str(tmp_path)).describe()
        assert str(file) in str(raised.value)
    torch.save({"format": Trojan()}, file)
    with pytest.raises(UserError, match="damaged, or not a checkpoint"):
        PolicyRef.resolve(str(tmp_path)).describe()
    file.unlink()
    with pytest.raises(UserError, match="no such checkpoint"):
        PolicyRef.resolve(str(tmp_path)).describe()
    assert capsys.readouterr().out == ""


def test_play_refuses_a_checkpoint_in_one_line(
    cli: Callable[..., Any], content: Content, tmp_path: Path
) -> None:
    del content["model_sizes"]
    save_checkpoint(tmp_path / CHECKPOINT, content)
    answer = cli("play", "--p1", tmp_path, "--p2", "random", "--battles", 2)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert str(tmp_path / CHECKPOINT) in line and "model_sizes" in line
