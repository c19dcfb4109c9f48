"""`iterate --trainer metamon`, small: killed while it trains, resumed, and continued."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metamon_ext.arena.policy_ref import PolicyRef
from metamon_ext.arena.rows import read_results
from metamon_ext.cli import main
from metamon_ext.learning.weights import read_weights
from metamon_ext.training.lite.config import TrainConfig
from metamon_ext.training.lite.trainer import LiteTrainer
from metamon_ext.upstream.runs import Run
from tests.conftest import ROOT, cli_command
from tests.support.interruptions import kill_when
from tests.upstream.fresh_runs import RNN, TRANSFORMER, fresh_run, transformer_record
from tests.upstream.helpers import ARENA

ATTENTION = """
import metamon_ext.upstream.attention
traj_encoders.TformerTrajEncoder.attention_type = @metamon_ext.SDPAttention
metamon_ext.SDPAttention.dtype = None
"""
"""One that trains on a CPU."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that were never trained: `tiny`, and `cloned`, which has no critics."""
    folder = tmp_path_factory.mktemp("runs")
    record = transformer_record(folder)
    file = Path(record["model_gin_config"])
    file.write_text(TRANSFORMER + ATTENTION)
    fresh_run(folder, "tiny", record)
    fresh_run(folder, "cloned", RNN | {"train_gin_config": "il.gin"})
    return folder


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all processes of a run: nothing is compiled, which is quicker for a few steps."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def command(base: str, folder: Path, **more: object) -> list[str]:
    """Two iterations of two epochs of one step each; the gate is easy to pass."""
    flags: dict[str, object] = {
        **{"trainer": "metamon", "base": base, "output_dir": folder, "iterations": 2},
        **{"num_battles": 4, "steps": 2, "workers": 1, "keep_iterations": 1},
        **{"num_race_battles": 8, "num_gate_battles": 32, "num_table_battles": 2},
        **{"gate": [-800, -400], "checkpoint_options": ["", "beta=0.1&gamma=0.99"]},
    } | more
    words = ["iterate"]
    for name, value in flags.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        words += [f"--{name}", *map(str, values)]
    return words


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "iterations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()[1:]]


def test_two_iterations_resume_after_a_kill_and_start_from_the_champion(
    runs: Path, tmp_path: Path, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"{runs / 'tiny'}?checkpoint=1"
    words = command(base, tmp_path, train_gin_config="kl_conservative")
    first, second = (Run(tmp_path / f"iteration_{k}" / "model") for k in (1, 2))
    ended = kill_when(lambda: bool(first.epochs), cli_command(words))
    assert ended.killed, ended.stderr
    rows = read_results(tmp_path / "results.sqlite")
    weights = first.weights(0).read_bytes()

    answer = subprocess.run(cli_command(words), cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert set(rows) < set(read_results(tmp_path / "results.sqlite"))
    one, two = lines_of(tmp_path)
    assert one["champion_before"] == base and one["promoted"]
    assert len(one["checkpoints"]) == 4, "two candidates for each checkpoint"
    assert len(set(one["checkpoints"].values())) == 2
    assert one["training"]["iteration_1"] == two["training"]["iteration_2"] == 4

    champion = PolicyRef.resolve(f"{tmp_path}/{one['champion']}")
    epoch = int(champion.options["checkpoint"])
    assert [first.epochs, second.epochs] == [[epoch], [0, 1]], "others are deleted"
    assert epoch or first.weights(0).read_bytes() == weights
    assert not first.states_folder.exists()
    record = second.record(0)
    assert record["base_sha256"] == champion.describe()["sha256"]
    sources = record["data"]["sources"]
    assert list(sources) == ["custom replays"]
    assert sources["custom replays"]["path"] == str(tmp_path / "iteration_2" / "training")
    theirs, ours = read_weights(first.weights(epoch)), read_weights(second.weights(1))
    for name, value in ours.items():
        if name.startswith("reference.") and not name.endswith((".u", ".v")):
            assert value.equal(theirs[name.removeprefix("reference.")]), name

    assert main(words) == 0
    assert "Nothing to do" in capsys.readouterr().out


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of the built-in learner."""
    folder = tmp_path_factory.mktemp("lite")
    config = TrainConfig(steps=1, gin=["train.length = 8"])
    return LiteTrainer().train(ARENA / "gen1ou", None, config, folder)[0].name


@pytest.mark.parametrize(
    ("base", "flags", "says"),
    [
        ("random", {}, "Metamon cannot start from 'random'. Name a model of Metamon's"),
        ("lite", {}, "Metamon cannot start from"),
        ("tiny", {"train_gin_config": "binry_advantage"}, "Unknown gin file 'binry_advantage'."),
        ("cloned", {}, "does not fit the training config: one of the two has critics for several"),
        ("tiny", {"checkpoint_options": "betta=1"}, "A checkpoint has no option 'betta'. Use temp"),
        ("tiny", {"checkpoint_options": "checkpoint=0"}, "A checkpoint has no option 'checkpoint'"),
        ("tiny", {"checkpoint_options": "beta=much"}, "Option beta=much: give a number."),
        ("tiny", {"generate_options": "battle_backend=x"}, "battle_backend=x is none of metamon"),
        ("tiny", {"generate_options": "temperature=-1"}, "do not take temperature=-1: temperature"),
        (
            "tiny",
            {"checkpoint_options": "beta=1&gamma=0.5"},
            "no critic for gamma = 0.5. Known: ",
        ),
        (
            "cloned",
            {"train_gin_config": "il", "checkpoint_options": "beta=1"},
            "Checkpoints do not take beta=1: there is no critic. It was trained without critics.",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_battle(
    base: str,
    flags: dict[str, str],
    says: str,
    runs: Path,
    lite: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bases = {"lite": lite, "random": "random"}
    words = command(bases.get(base, str(runs / base)), tmp_path / "run", checkpoint_options="")
    words += [word for name, value in flags.items() for word in (f"--{name}", value)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()
