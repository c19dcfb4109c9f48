"""Every gin file says what it is for, is read by the real packages, and builds its agent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from amago.agent import Agent, MultiTaskAgent
from metamon.rl import MODEL_CONFIG_DIR

from metamon_ext import cli
from metamon_ext.errors import UserError
from metamon_ext.upstream.attention import SDPAttention
from metamon_ext.upstream.damping import DampedAgent, DampedMultiTaskAgent
from metamon_ext.upstream.extraction import ExtractionAgent, ExtractionMultiTaskAgent
from metamon_ext.upstream.gin_files import GIN_CONFIGS, gin_files
from tests.upstream.helpers import make_batch, make_experiment

TRAINING = sorted(path.stem for path in (GIN_CONFIGS / "training").glob("*.gin"))
MODELS = sorted(path.stem for path in (GIN_CONFIGS / "models").glob("*.gin"))
RELEASED = sorted(path.stem for path in Path(MODEL_CONFIG_DIR).glob("*.gin"))


pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize("path", gin_files(), ids=lambda path: path.stem)
def test_the_head_says_what_it_is_for_and_what_it_follows(path: Path) -> None:
    head = path.read_text().split("\n\n", 1)[0]
    assert all(line.startswith("#") for line in head.split("\n"))
    assert "# For " in head or ". For " in head
    assert "arXiv" in head


@pytest.mark.parametrize("model", ["minikazam", "small_multitaskagent"])
@pytest.mark.parametrize("name", TRAINING)
def test_a_training_file_builds_the_agent_and_takes_a_step(
    name: str, model: str, tmp_path: Path
) -> None:
    files = ["binary_advantage", name] if name == "bf16_sdpa" else [name, "bf16_sdpa"]
    experiment = make_experiment(tmp_path, model, *files)
    base, damped, extraction = {
        "minikazam": (Agent, DampedAgent, ExtractionAgent),
        "small_multitaskagent": (
            MultiTaskAgent,
            DampedMultiTaskAgent,
            ExtractionMultiTaskAgent,
        ),
    }[model]
    special = {"damped": damped, "policy": extraction}
    assert type(experiment.policy) is special.get(name.partition("_")[0], base)
    filter_ = experiment.policy.fbc_filter_func
    rejected = {"psro_oracle": 0.0, "binary_advantage_selfplay": 0.1, "damped_schedule": 0.1}
    advantages = torch.tensor([[[[1.0]], [[-1.0]]]])
    assert filter_(advantages).flatten().tolist() == pytest.approx([1.0, rejected.get(name, 0.2)])
    assert experiment.policy.online_coeff == 0.0 and experiment.policy.offline_coeff == 1.0
    losses = experiment.train_step(make_batch(tmp_path), log_step=True)
    assert torch.isfinite(losses["Actor Loss"])
    if name == "policy_extraction":
        assert losses["Critic Loss"] == 0.0
    else:
        assert torch.isfinite(losses["Critic Loss"])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_file_builds_and_takes_a_step(name: str, tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path, name, "binary_advantage")
    assert sum(p.numel() for p in experiment.policy.trainable_params) < 1e6
    losses = experiment.train_step(make_batch(tmp_path), log_step=True)
    assert torch.isfinite(losses["Actor Loss"])


@pytest.mark.parametrize("model", RELEASED)
def test_every_architecture_of_metamons_gets_its_own_damped_agent(
    model: str, tmp_path: Path
) -> None:
    """Also those that want a flash-attn wheel: bf16_sdpa.gin takes the attention's place."""
    plain = "MultiTaskAgent" in Path(MODEL_CONFIG_DIR, f"{model}.gin").read_text()
    experiment = make_experiment(tmp_path, model, "damped_conservative", "bf16_sdpa")
    assert type(experiment.policy) is (DampedMultiTaskAgent if plain else DampedAgent)
    windows = {m.left for m in experiment.policy.modules() if isinstance(m, SDPAttention)}
    released = {"alakazam2", "alakazam4", "superkazam"}
    assert windows <= ({96} if model in released else {-1})


def command(*arguments: str) -> int:
    return cli.run(["gin", *arguments])


def test_gin_prints_where_a_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("binary_advantage") == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.is_absolute() and path == GIN_CONFIGS / "training" / "binary_advantage.gin"


def test_gin_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (*TRAINING, *MODELS))


def test_an_unknown_gin_file_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'binary'.*binary_advantage") as refusal:
        command("binary")
    assert "\n" not in str(refusal.value)
